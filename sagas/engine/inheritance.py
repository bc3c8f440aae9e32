"""What a forked run takes over: the beginning of another run's history, with ids of its own. Pure.

Law: events, step numbers, dice and due times stay as they were, so that the code makes the same decisions again; only
whose history it is changes. Whoever asks has cut it where nothing but steps and timers was open (``sagas.forking``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sagas.engine.message import Start
from sagas.errors import HistoryError
from sagas.kernel.events import Event, RunForked, RunStarted, decode_chunk

Chunks = tuple[tuple[Event, ...], ...]
"""Events as they were written: those of one transition together."""


@dataclass(frozen=True, slots=True)
class Inheritance:
    """The history that a new run begins with, and the mark that follows it."""

    chunks: Chunks
    mark: RunForked

    @property
    def events(self) -> list[Event]:
        return [event for chunk in self.chunks for event in chunk]


def decode_prefix(message: Start) -> Chunks:
    """The history that a start brings along; () when it brings none.

    Raises: HistoryError when it is no beginning of a history.
    """
    chunks = tuple(tuple(decode_chunk(chunk)) for chunk in message.prefix)
    starts = [type(event) for chunk in chunks for event in chunk].count(RunStarted)
    if chunks and (starts != 1 or not all(chunks) or not isinstance(chunks[0][0], RunStarted)):
        raise HistoryError("what is to be forked is no beginning of a history: fork it again")
    return chunks


def inherit(chunks: Chunks, message: Start, id: str, now_ms: int) -> Inheritance:
    """What the run that ``message`` starts takes over. Of a timeout the new run has all the time again."""
    first, *rest = chunks[0]
    assert isinstance(first, RunStarted), "decode_prefix has seen to it"
    started = replace(
        first,
        id=id,
        run_id=message.run_id,
        trace=message.trace,
        message_id=message.message_id,
        deadline_ms=first.deadline_ms + now_ms - first.at_ms if first.deadline_ms else 0,
        chain=(),
        parent=tuple(message.parent),
        seed=first.seed or first.run_id,
    )
    mark = RunForked(first.id, first.run_id, sum(map(len, chunks)) - 1, at_ms=now_ms)
    return Inheritance(((started, *rest), *chunks[1:]), mark)
