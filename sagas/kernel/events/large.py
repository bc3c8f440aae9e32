"""Large payloads: in a stored chunk a reference stands for them, and the bytes lie beside the history by its name.

Law: only what is stored knows of references; whoever reads a history to look at payloads gets them put back first.
A name is ``<event>:<field>``, the index of the event in its run's history, and so it is the same however often a chunk
is written.

Wire of a reference: the bytes 0xC1 0xC0 (no payload and no sealed one begins so), then msgpack ``[name, size]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import msgpack

from sagas.errors import HistoryError
from sagas.kernel.events.base import Event

_MARK = b"\xc1\xc0"

Blob = tuple[str, bytes]
"""A payload and its name."""


def laid_aside(events: Sequence[Event], first: int, least: int) -> tuple[list[Event], tuple[Blob, ...]]:
    """The events with a reference for each payload of ``least`` bytes or more, and those payloads.

    ``first`` is the index of the first event in its run's history.
    """
    light: list[Event] = []
    blobs: list[Blob] = []
    for index, event in enumerate(events, first):
        large: dict[str, bytes] = {name: data for name, data in _payloads(event) if len(data) >= least}
        for name, data in large.items():
            blobs.append((f"{index}:{name}", data))
        references: dict[str, Any] = {name: _reference(f"{index}:{name}", data) for name, data in large.items()}
        light.append(replace(event, **references))
    return light, tuple(blobs)


def refers(events: Iterable[Event]) -> bool:
    """Whether any of them holds a reference."""
    return any(data.startswith(_MARK) for event in events for _, data in _payloads(event))


def put_back(events: Iterable[Event], blobs: Mapping[str, bytes]) -> list[Event]:
    """The events with their payloads. Raises: HistoryError when one is missing."""
    return [_whole(event, blobs) for event in events]


def _whole(event: Event, blobs: Mapping[str, bytes]) -> Event:
    found: dict[str, Any] = {n: _found(data, blobs) for n, data in _payloads(event) if data.startswith(_MARK)}
    return replace(event, **found) if found else event


def _found(reference: bytes, blobs: Mapping[str, bytes]) -> bytes:
    try:
        name, size = msgpack.unpackb(reference[len(_MARK) :])
        data = blobs[name]
    except Exception as error:
        raise HistoryError(f"a large payload is missing beside its history ({error}); nothing was changed") from error
    if len(data) != size:
        raise HistoryError(f"the payload {name!r} beside a history has {len(data)} bytes, and should have {size}")
    return data


def _reference(name: str, data: bytes) -> bytes:
    packed: bytes = msgpack.packb((name, len(data)))
    return _MARK + packed


def _payloads(event: Event) -> list[Blob]:
    values = ((each.name, getattr(event, each.name)) for each in fields(event))
    return [(name, value) for name, value in values if type(value) is bytes]
