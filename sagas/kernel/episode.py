"""An episode: a burst of activity of a run between two sleeps. What a turn's events began and ended, for who looks on.

Law: episodes are a function of the history alone (``RunState`` folds them), so every host and every replay counts the
same ones. A run sleeps when nothing it started is under way: no step open, no message unanswered.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace

from sagas.kernel.events import ChildScheduled, CompensationScheduled, MessageSent, StepScheduled, TimerSet
from sagas.value import value

SENDERS_KEPT = 100
"""Senders an episode remembers, the first ones: its span links to them, and OpenTelemetry keeps 128 links."""

Beginning = StepScheduled | CompensationScheduled | TimerSet | MessageSent | ChildScheduled
"""An event that begins what a later one ends; each has a number of its own in the run."""


@value(frozen=True, slots=True, kw_only=True)
class Episode:
    """``first`` is the index in the history of the fact it began with; ``senders`` are traceparents of its signals."""

    number: int = 0
    first: int = 0
    since_ms: int = 0
    senders: tuple[str, ...] = ()

    def joined(self, traceparent: str) -> Episode:
        """With one more sender."""
        if not traceparent or traceparent in self.senders or len(self.senders) >= SENDERS_KEPT:
            return self
        return replace(self, senders=(*self.senders, traceparent))


@dataclass(slots=True)
class Trail:
    """What a state wrote down while it took events in: what they ended, in which episodes they lie."""

    ended: dict[int, Beginning] = field(default_factory=dict)  # by number, also of what began before
    left: tuple[Beginning, ...] = ()  # open when the run closed
    acted: dict[int, int] = field(
        default_factory=dict
    )  # of undos in ``ended`` and ``left``: the episode of their action
    episodes: tuple[Episode, ...] = ()  # those the events lie in, in order; at least one
    sleeps: bool = False  # the last of them is over


@dataclass(slots=True)
class Origins:
    """In which episode a step was scheduled: numbers only rise, so one pair an episode is enough."""

    steps: list[int] = field(default_factory=list)  # of each episode that scheduled any: its first step
    episodes: list[int] = field(default_factory=list)

    def scheduled(self, step: int, episode: int) -> None:
        """A step was scheduled in the present episode, which is not the first."""
        if not self.episodes or self.episodes[-1] != episode:
            self.steps.append(step)
            self.episodes.append(episode)

    def of(self, step: int) -> int:
        """The episode of a step; what was never told is of the first."""
        at = bisect_right(self.steps, step)
        return self.episodes[at - 1] if at else 0
