"""A run driven by hand: facts in, decisions out, the history kept; what a host does, without a host.

Law: after every activation the history so far is replayed, so that no test of the kernel passes on code that could not
be rebuilt elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from compensations import Outcome
from sagas.kernel.events import (
    Activated,
    CancelRequested,
    CompensationCompleted,
    CompensationFailed,
    CompensationScheduled,
    Event,
    MessageDelivered,
    MessageRefused,
    Parked,
    RunStarted,
    SignalReceived,
    StepCompleted,
    StepFailed,
    StepScheduled,
    TimerFired,
    TimerSet,
    UpdateReceived,
    decode_chunk,
    encode_chunk,
)
from sagas.kernel.failure import Failure
from sagas.kernel.handlers import handler_args, handler_name
from sagas.kernel.instance import Instance
from sagas.kernel.saga import saga_type_of
from sagas.payloads import decode, encode

START_MS = 1_704_067_200_000


class Run:
    """A run of one saga; ``history`` is what a store would hold."""

    live: ClassVar[list[Run]] = []

    def __init__(self, saga: Any, *args: Any, run_id: str = "run-1") -> None:
        self.type = saga_type_of(saga)
        self.instance = Instance(self.type)
        self.history: list[Event] = []
        self.now_ms = START_MS
        self.park = ""
        self.rejected: dict[str, str] = {}  # of the last activation
        Run.live.append(self)
        self._started = RunStarted("id-1", run_id, self.type.name, self.type.arguments.encode(args, {}))

    def start(self, *facts: Event) -> list[Event]:
        """The first activation, together with ``facts``."""
        return self.give(self._started, *facts)

    def give(self, *facts: Event, after_ms: int = 1) -> list[Event]:
        """One activation; returns its decisions."""
        self.now_ms += after_ms
        facts = tuple(replace(fact, at_ms=self.now_ms) for fact in facts)
        activation = self.instance.activate(facts, self.now_ms)
        self.park = activation.park
        self.rejected = dict(activation.rejected)
        facts = tuple(activation.facts)
        if self.rejected and not (facts or activation.decisions):
            self.replayed().evict()
            return []
        recorded = [*facts, Parked(self.park)] if self.park else [*facts, Activated(), *activation.decisions]
        # As through a store: a chunk carries one time for all of its events.
        self.history += decode_chunk(encode_chunk(recorded, self.now_ms))
        if not self.park:
            self.replayed().evict()
        return activation.decisions

    def record(self, *facts: Event) -> None:
        """Facts that came while nothing ran; the instance is rebuilt, as after a drop."""
        self.now_ms += 1
        self.history += decode_chunk(encode_chunk(facts, self.now_ms))
        self.instance.evict()
        self.instance = Instance.replay(self.type, self.history)

    def replayed(self) -> Instance:
        """The same instance, built from the history; it must stand where this one stands."""
        again = Instance.replay(self.type, self.history)
        assert again.state == self.instance.state or self.park
        return again

    # --- facts

    def done(self, name: str, value: Any = None, nth: int = 0) -> Event:
        """The open step of this activity completed."""
        step = self._open(name)[nth]
        if isinstance(step, CompensationScheduled):
            return CompensationCompleted(step.step, 1)
        return StepCompleted(step.step, 1, encode(value))

    def failed(self, name: str, error: BaseException, outcome: Outcome | None = None) -> Event:
        """The open step of this activity failed for good."""
        step, failure = self._open(name)[0], Failure.of(error)
        row = failure.row() if outcome is None else (*failure.row()[:3], outcome.value, *failure.row()[4:])
        if isinstance(step, CompensationScheduled):
            return CompensationFailed(step.step, 1, row)
        return StepFailed(step.step, 1, row)

    def withdrawn(self, name: str, outcome: Outcome) -> Event:
        """The open step of this activity was cancelled, with what is known of its effect."""
        return StepFailed(self._open(name)[0].step, 1, Failure.cancelled(outcome).row())

    def delivered(self, target: str) -> Event:
        """The first open message to this instance is durable there."""
        return MessageDelivered(self._message_to(target))

    def refused(self, target: str, reason: str, status: str = "") -> Event:
        """The first open message to this instance was not taken."""
        return MessageRefused(self._message_to(target), reason, status)

    def fired(self) -> Event:
        """The earliest open timer fell due (move the clock with ``after_ms``)."""
        timer = min(self.instance.state.timers.values(), key=lambda timer: (timer.due_ms, timer.timer))
        return TimerFired(timer.timer)

    def signal(self, handler: Any, *args: Any, message_id: str = "m") -> Event:
        return SignalReceived(message_id, handler_name(handler, "signal"), handler_args(handler, args))

    def update(self, handler: Any, *args: Any, message_id: str = "u") -> Event:
        name = handler if isinstance(handler, str) else handler_name(handler, "update")
        return UpdateReceived(message_id, name, handler_args(handler, args))

    def cancel(self, reason: str = "enough") -> Event:
        return CancelRequested(reason)

    # --- views

    def ask(self, query: Any, *args: Any) -> Any:
        return decode(self.instance.ask(handler_name(query, "query"), handler_args(query, args)))

    def steps(self) -> list[str]:
        """The activities scheduled so far, undos too, in order."""
        return [each.activity for each in self.history if isinstance(each, StepScheduled | CompensationScheduled)]

    @property
    def end(self) -> Event | None:
        return self.instance.state.closing

    @property
    def result(self) -> Any:
        assert self.end is not None, "it goes on"
        return decode(self.end.result)  # type: ignore[attr-defined]

    def _message_to(self, target: str) -> int:
        return next(sent.number for sent in self.instance.state.messages.values() if sent.target == target)

    def _open(self, name: str) -> list[StepScheduled | CompensationScheduled]:
        found = [step for step in self.instance.state.steps.values() if step.activity == name]
        assert found, f"no open step {name!r} among {[s.activity for s in self.instance.state.steps.values()]}"
        return found


def kinds(events: Sequence[Event]) -> list[str]:
    """The kinds of events, for comparing."""
    return [type(event).__name__ for event in events]


def timers(events: Sequence[Event]) -> list[int]:
    """Due times of the timers that were set, in ms since ``START_MS``."""
    return [event.due_ms - START_MS for event in events if isinstance(event, TimerSet)]
