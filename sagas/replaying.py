"""Recorded histories held against code: would a host with this code go on with these runs?

Law: nothing is stored, dispatched or sent: a replay runs saga code in the calling thread, on the results that were
recorded, so that a debugger's breakpoints in it are hit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from sagas.engine import guard
from sagas.errors import HistoryError, InvalidArgument, NondeterminismError
from sagas.kernel.events import Event, RunStarted, decode_histories
from sagas.kernel.instance import Instance
from sagas.kernel.saga import SagaType, saga_type_of

Recorded = Sequence[Event] | bytes | str | os.PathLike[str]
"""A history: its events, or a downloaded file, or that file's path (which may hold many)."""


def replay(saga: Callable[..., Any], history: Recorded | Iterable[Recorded]) -> None:
    """Run a saga's code over a recorded history, or over many; returns when they agree.

    ``history``: the events from ``await handle.history()``, the path or the bytes of a file that
    ``sagas history ID --download FILE`` wrote, or an iterable of such; they are read one after the other.
    Raises: NondeterminismError where code and a single history part; an ExceptionGroup of one for each history that
    parts, where many were given; HistoryError when one cannot be read; InvalidArgument when it is of another saga.
    """
    saga_type = saga_type_of(saga)
    replayed, parted = 0, []
    for events in histories_in(history):
        replayed += 1
        try:
            replay_one(saga_type, events)
        except NondeterminismError as error:
            parted.append(error)
    if not replayed:
        raise InvalidArgument("there is no history to replay: an empty list would prove nothing")
    if parted and (replayed > 1 or not _is_one(history)):
        raise ExceptionGroup(f"{len(parted)} of {replayed} histories of {saga_type.name!r} part from the code", parted)
    if parted:
        raise parted[0]


def _is_one(recorded: Recorded | Iterable[Recorded]) -> bool:
    """Whether it was given as one history, or as one file."""
    return isinstance(recorded, bytes | str | os.PathLike) or (
        isinstance(recorded, Sequence) and len(recorded) > 0 and isinstance(recorded[0], Event)
    )


def replay_one(saga_type: SagaType, history: Sequence[Event]) -> None:
    """Raises: NondeterminismError, with a note which run it is; InvalidArgument when it is of another saga."""
    guard.install()  # or code that catches a refusal would go another way than it went
    started = started_of(history)
    if started.type != saga_type.name:
        raise InvalidArgument(
            f"run {started.run_id!r} of {started.id!r} is a history of saga {started.type!r}, not of {saga_type.name!r}"
        )
    try:
        Instance.replay(saga_type, history).evict()
    except NondeterminismError as error:
        error.add_note(f"in the history of saga {started.id!r}, run {started.run_id!r}")
        raise


def started_of(history: Sequence[Event]) -> RunStarted:
    """The event a history begins with. Raises: HistoryError when it begins with something else."""
    if not history or not isinstance(history[0], RunStarted):
        raise HistoryError("a history begins with RunStarted: this is not the whole of one")
    return history[0]


def histories_in(recorded: Recorded | Iterable[Recorded]) -> Iterable[Sequence[Event]]:
    """The histories, whatever they were given as. Raises: HistoryError, InvalidArgument."""
    if isinstance(recorded, bytes):
        yield from decode_histories(recorded)
    elif isinstance(recorded, str | os.PathLike):
        yield from decode_histories(_content(Path(recorded)))
    elif _is_one(recorded):
        yield cast("Sequence[Event]", recorded)
    else:
        for each in recorded:
            yield from histories_in(cast("Recorded", each))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidArgument(f"history file {str(path)!r} cannot be read: {error.strerror or error}") from error
