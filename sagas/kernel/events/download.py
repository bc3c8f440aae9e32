"""Histories as a file: what ``sagas history --download`` writes, ``sagas replay`` and ``sagas.testing.replay`` read.

Law: a file holds chunks as a store does, so that reading one proves what reading the other would. Layout: the line
``HEADER``, then for each history one msgpack array of chunks. A file of a newer layout is refused by its first line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import msgpack

from sagas.errors import HistoryError
from sagas.kernel.events.base import Event, decode_chunk, encode_chunk

HEADER = b"sagas history 1\n"


def encode_histories(histories: Iterable[Sequence[Event]]) -> bytes:
    """A file of these histories; events of one time make one chunk."""
    return HEADER + b"".join(msgpack.packb(_chunks(history)) for history in histories)


def decode_histories(data: bytes) -> list[list[Event]]:
    """The histories in a file.

    Raises: HistoryError when the bytes are no such file, are damaged, or were written by a newer version.
    """
    if not data.startswith(HEADER):
        raise HistoryError(
            f"this is no history file of a layout known here (its first line must be {HEADER.decode().strip()!r}): "
            "make one with `sagas history ID --download FILE`, and read it with the same version or a newer one"
        )
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(data[len(HEADER) :])
    histories: list[list[Event]] = []
    try:
        while unpacker.tell() < len(data) - len(HEADER):
            histories.append([event for chunk in unpacker.unpack() for event in decode_chunk(chunk)])
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise HistoryError(
            f"a history file is damaged after its history number {len(histories)} ({error or type(error).__name__}): "
            "download it again"
        ) from error
    return histories


def _chunks(history: Sequence[Event]) -> list[bytes]:
    return [encode_chunk(events, at_ms) for at_ms, events in groupby(history, key=lambda event: event.at_ms)]
