"""What telemetry needs to know of a turn that was made durable. The engine's ``Turn`` is one; so is a whole history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sagas.errors import HistoryError
from sagas.kernel.events import CompensationScheduled, Event, RunStarted, StepScheduled, TimerSet


class Turn(Protocol):
    """Events that were appended to one run's history together."""

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
    def opened(self) -> Mapping[int, Event]:
        """By number, what ``events`` end: the StepScheduled, CompensationScheduled and TimerSet of any earlier turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeHistory:
    """All there is of a run so far, as one turn."""

    run: RunStarted | None
    position: int
    events: Sequence[Event]
    opened: Mapping[int, Event]

    @classmethod
    def of(cls, events: Sequence[Event]) -> WholeHistory:
        """Raises: HistoryError when these do not begin with RunStarted."""
        first = events[0] if events else None
        if first is not None and not isinstance(first, RunStarted):
            raise HistoryError(f"a history begins with RunStarted, this one with {type(first).__name__}")
        opened: dict[int, Event] = {}
        for event in events:
            if isinstance(event, StepScheduled | CompensationScheduled):
                opened[event.step] = event
            elif isinstance(event, TimerSet):
                opened[event.timer] = event
        return cls(run=first, position=0, events=events, opened=opened)
