"""What telemetry needs to know of a turn that was made durable. The engine's ``Turn`` is one; so is a history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sagas.errors import HistoryError
from sagas.kernel.episode import Trail
from sagas.kernel.events import Event, RunStarted
from sagas.kernel.state import RunState


class Turn(Protocol):
    """Events that were appended to one run's history together. Never changed once it is durable."""

    @property
    def run(self) -> RunStarted | None:
        """The run's first event; None when the turn is of no run."""

    @property
    def position(self) -> int:
        """Index of the first of ``events`` in the run's history."""

    @property
    def events(self) -> Sequence[Event]:
        """What was appended."""

    @property
    def trail(self) -> Trail:
        """What ``events`` ended, and in which episodes they lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeHistory:
    """A run's history so far as one turn, or what of it follows an event."""

    run: RunStarted | None
    position: int
    events: Sequence[Event]
    trail: Trail

    @classmethod
    def of(cls, history: Sequence[Event], start: int = 0) -> WholeHistory:
        """``history``: all of it; the turn begins with its event ``start``, which began a turn when it was written.

        Raises: HistoryError when it does not begin with RunStarted.
        """
        first = history[0] if history else None
        if first is not None and not isinstance(first, RunStarted):
            raise HistoryError(f"a history begins with RunStarted, this one with {type(first).__name__}")
        state = RunState()
        state.evolve_all(history[:start])
        state.follow()
        state.evolve_all(history[start:])
        return cls(run=first, position=start, events=history[start:], trail=state.trail())
