"""How large a run's history is, in the store and against the limits; and how a chunk of it is written and read.

Law: a limit (``sagas.limits``) warns at its half, once a saga type and process, and parks at the whole. It never stands
in the way of an end: a run that is being undone goes on, and whoever resumes one that it has parked gives it as much
again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from compensations import Compensation
from sagas import limits
from sagas.kernel.events import Event, bind_chunks, decode_chunk, encode_chunk
from sagas.kernel.events.large import Blob, laid_aside, put_back
from sagas.kernel.state import OVERGROWN, RunState
from sagas.store.port import Loaded

log = logging.getLogger("sagas.engine")

_warned: set[tuple[str, str]] = set()


class Extent:
    """The stored history of one run, as its host keeps count of it."""

    __slots__ = ("blobs", "chunks", "size")

    def __init__(self) -> None:
        self.chunks = 0  # the version of what is stored
        self.size = 0  # bytes, with the payloads that lie beside it
        self.blobs = 0  # how many do

    def read(self, loaded: Loaded) -> list[Event]:
        """The events of what the store has. Raises: HistoryError."""
        history: list[Event] = []
        for chunk in loaded.chunks:
            history.extend(decode_chunk(chunk))
        self.chunks = len(loaded.chunks)
        self.size = sum(map(len, loaded.chunks)) + sum(map(len, loaded.blobs.values()))
        self.blobs = len(loaded.blobs)
        return put_back(history, loaded.blobs) if loaded.blobs else history

    def write(self, events: Sequence[Event], state: RunState, now_ms: int) -> tuple[bytes, tuple[Blob, ...]]:
        """The chunk of ``events``, the last that ``state`` has taken in, and the payloads to lie beside it."""
        chunk = encode_chunk(events, now_ms)
        blobs: tuple[Blob, ...] = ()
        if len(chunk) >= limits.LIMITS.blob_bytes:
            light, blobs = laid_aside(events, state.events - len(events), limits.LIMITS.blob_bytes)
            chunk = encode_chunk(light, now_ms)
            self._warn_of_payloads(blobs, state)
        self.chunks += 1
        self.size += len(chunk) + sum(len(data) for _, data in blobs)
        self.blobs += len(blobs)
        self._warn_of_history(state)
        return chunk, blobs

    def take_over(
        self, inherited: Sequence[Sequence[Event]], chunk: bytes, blobs: Sequence[Blob]
    ) -> tuple[bytes, tuple[Blob, ...]]:
        """``chunk`` bound behind those of a history that its run begins with, and the payloads of all of them."""
        first, chunks, large = 0, list[bytes](), list[Blob]()
        for events in inherited:
            light, aside = laid_aside(events, first, limits.LIMITS.blob_bytes)
            chunks.append(encode_chunk(light, events[0].at_ms))
            large += aside
            first += len(events)
        self.size += sum(map(len, chunks)) + sum(len(data) for _, data in large)
        self.blobs += len(large)
        return bind_chunks([*chunks, chunk]), (*large, *blobs)

    def too_large(self, state: RunState) -> str:
        """Why a run is to be parked before its code adds to its history; "" when it may go on."""
        most = limits.LIMITS
        if state.events < most.history_events and self.size < most.history_bytes:
            return ""
        times = 1 + state.overgrown
        over = state.events >= times * most.history_events or self.size >= times * most.history_bytes
        if not over or state.cancel_reason is not None or state.compensation is Compensation.RUNNING:
            return ""
        return (
            f"{OVERGROWN} {state.events:,} events and {self.size:,} bytes: begin a new one with "
            "continue_as_new(); resume() lets this one go on for as much again"
        )

    def _warn_of_history(self, state: RunState) -> None:
        most = limits.LIMITS
        if 2 * state.events >= most.history_events or 2 * self.size >= most.history_bytes:
            said = f"a history of {state.events:,} events and {self.size:,} bytes"
            at = f"{most.history_events:,} events or {most.history_bytes:,} bytes it parks: use continue_as_new()"
            _warn("history", state, said, at)

    def _warn_of_payloads(self, blobs: Sequence[Blob], state: RunState) -> None:
        most = limits.LIMITS.payload_bytes
        size = max((len(data) for _, data in blobs), default=0)
        if 2 * size >= most:
            at = f"more than {most:,} it is refused: store the value elsewhere, and pass what names it"
            _warn("payload", state, f"a payload of {size:,} bytes", at)


def _warn(what: str, state: RunState, said: str, at: str) -> None:
    started = state.started
    if started is not None and (what, started.type) not in _warned:
        _warned.add((what, started.type))
        log.warning("saga %r of type %r has %s; at %s", started.id, started.type, said, at)
