"""The head of an instance on disk: a msgpack array whose first items are ``status, run_id, type``.

Law: places are fixed for ever and only ever added at the end. A reader fills missing trailing items with their
defaults (an older writer, or a writer that left defaults out) and ignores items it does not know (a newer writer).
The admission script (``lua/enqueue.lua``) reads the first two items without decoding the rest.
"""

from __future__ import annotations

from typing import Any

import msgpack

from sagas.errors import HistoryError, PayloadError
from sagas.store.port import Head, Status

_ALWAYS = 3  # status, run_id, type: written whatever their values
_OPTIONAL: tuple[object, ...] = (0, 0, 0, 0, "none", "", 0, False, [], {}, 0, 0, 1, 0)
"""From ``version`` on: left out while they trail."""


def encode_head(head: Head) -> bytes:
    """The head as bytes; trailing defaults are left out, because every instance has one.

    Raises: PayloadError when an attribute is no msgpack value (None, bool, int, float, str, bytes, aware datetime,
    lists and dicts of them).
    """
    items: list[object] = [
        int(head.status),
        head.run_id,
        head.type,
        head.version,
        head.events,
        head.started_ms,
        head.closed_ms,
        head.compensation,
        head.parked,
        head.parked_timer_ms,
        head.paused,
        [list(wait) for wait in head.waiting] if head.waiting else [],
        dict(head.attributes) if head.attributes else {},
        head.lifts,
        head.blobs,
        head.attempt,
        head.letters,
    ]
    length = len(items)
    while length > _ALWAYS and items[length - 1] == _OPTIONAL[length - 1 - _ALWAYS]:
        length -= 1
    try:
        packed: bytes = msgpack.packb(items[:length], datetime=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise PayloadError(
            f"an attribute of run {head.run_id!r} cannot be stored ({error}): "
            "use None, bool, int, float, str, bytes, a datetime with a time zone, or lists and dicts of these"
        ) from error
    return packed


def decode_head(data: bytes) -> Head:
    """The head that ``encode_head`` wrote, in this version of the library or another.

    Raises: HistoryError when the bytes are no head, or hold a status this version does not know.
    """
    try:
        items: list[Any] = msgpack.unpackb(data, timestamp=3)
        return _head(items + list(_OPTIONAL[max(len(items) - _ALWAYS, 0) :]))
    except (ValueError, TypeError, IndexError, msgpack.UnpackException) as error:
        raise HistoryError(
            f"a stored head cannot be read ({error}): it is damaged, or a newer version of sagas wrote it; "
            "run the version that wrote it"
        ) from error


def readable_head(data: bytes | None) -> Head | None:
    """The stored head, for the run it is of; None when there is no head, or none that can be read."""
    try:
        return None if data is None else decode_head(data)
    except HistoryError:
        return None


def _head(items: list[Any]) -> Head:
    return Head(
        status=Status(items[0]),
        run_id=_text(items[1]),
        type=_text(items[2]),
        version=int(items[3]),
        events=int(items[4]),
        started_ms=int(items[5]),
        closed_ms=int(items[6]),
        compensation=_text(items[7]),
        parked=_text(items[8]),
        parked_timer_ms=int(items[9]),
        paused=bool(items[10]),
        waiting=tuple((_text(kind), _text(what), int(when)) for kind, what, when in items[11]),
        attributes=dict(items[12]),
        lifts=int(items[13]),
        blobs=int(items[14]),
        attempt=int(items[15]),
        letters=int(items[16]),
    )


def _text(item: object) -> str:
    if not isinstance(item, str):
        raise TypeError(f"expected text, found {type(item).__name__}")
    return item
