"""What a history says about its run, folded event by event: no code is run, so any host can read any instance.

Law: ``evolve`` is a pure fold. The engine asks this state what must be dispatched, timed and shown; the saga's own
coroutines are never asked.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from compensations import Compensation
from sagas.kernel.attributes import merged
from sagas.kernel.episode import Beginning, Episode, Origins, Trail
from sagas.kernel.events import (
    ABANDON_CHILD,
    CANCEL,
    Activated,
    AttributesSet,
    CallbackCompleted,
    CallbackFailed,
    CallbackOpened,
    CancelRequested,
    ChildCompleted,
    ChildFailed,
    ChildRefused,
    ChildScheduled,
    ChildStarted,
    CompensationCompleted,
    CompensationEnded,
    CompensationFailed,
    CompensationScheduled,
    CompensationStarted,
    DeadLetterRedelivered,
    Event,
    Fact,
    MessageDelivered,
    MessageRefused,
    MessageSent,
    Parked,
    Paused,
    Resumed,
    RunCancelled,
    RunCompleted,
    RunContinued,
    RunFailed,
    RunForked,
    RunStarted,
    RunTerminated,
    RunTimedOut,
    SignalDeadLettered,
    SignalReceived,
    StepCancelRequested,
    StepCompleted,
    StepFailed,
    StepScheduled,
    TimerCancelled,
    TimerFired,
    TimerSet,
    UpdateAccepted,
    UpdateCompleted,
    UpdateFailed,
    UpdateReceived,
    UpdateRefused,
)
from sagas.kernel.reserved import DEADLINE, reserved_timers


class Status(enum.StrEnum):
    """How a run stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    TERMINATED = "terminated"


OVERGROWN = "its history has grown too large:"
"""How the reason begins when a run is parked for the size of its history."""

OpenStep = StepScheduled | CompensationScheduled
Letter = MessageSent | ChildScheduled
"""What leaves through the outbox, and is answered by the door of another instance."""
OpenUpdate = UpdateReceived | UpdateAccepted


@dataclass(slots=True)
class RunState:
    """The fold of a history so far."""

    started: RunStarted | None = None
    status: Status = Status.RUNNING
    compensation: Compensation = Compensation.NONE
    parked: str = ""
    parked_by: str = ""  # the code to blame, "" when it is something else
    paused: bool = False
    closing: Event | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    events: int = 0
    last_ms: int = 0
    steps: dict[int, OpenStep] = field(default_factory=dict)
    cancelled_steps: set[int] = field(default_factory=set)
    stuck: dict[int, CompensationFailed] = field(default_factory=dict)
    timers: dict[int, TimerSet] = field(default_factory=dict)
    messages: dict[int, Letter] = field(default_factory=dict)  # sent, and not answered by their targets yet
    children: dict[int, ChildScheduled] = field(default_factory=dict)  # that have not ended
    orphans: tuple[ChildScheduled, ...] = ()  # those of the children that the end of the run concerns
    dead_letters: list[SignalDeadLettered] = field(default_factory=list)
    updates: dict[str, OpenUpdate | None] = field(default_factory=dict)  # by message id; None: its outcome is recorded
    callbacks: dict[int, CallbackOpened] = field(default_factory=dict)  # not answered yet
    cancel_reason: str | None = None
    lifts: int = 0  # resumes and cancels so far: what a parked run is moved by
    episode: Episode = field(default_factory=Episode)
    rested: bool = False  # the code has seen every fact so far, or is held: the next fact wakes the run
    overgrown: int = 0  # how often it was parked because its history had grown too large
    _origins: Origins = field(default_factory=Origins)
    _trail: Trail | None = field(default=None, compare=False)
    _trail_first: int = field(default=0, compare=False)  # index of the first event the trail is about

    @property
    def sleeps(self) -> bool:
        """Whether nothing of it is under way: the episode is over, and the next fact begins another."""
        return self.closed or (self.rested and not self.steps and not self.messages)

    @property
    def closed(self) -> bool:
        """Whether the run has ended."""
        return self.status is not Status.RUNNING

    @property
    def held(self) -> bool:
        """Whether no code may run: parked, or paused (which no undo heeds)."""
        return bool(self.parked) or (self.paused and self.compensation is not Compensation.RUNNING)

    @property
    def still(self) -> bool:
        """Whether it is held, and no cancel is recorded that its code has not seen: that runs code all the same."""
        return self.held and self.rested

    @property
    def attention(self) -> str:
        """Why an operator must act: the reason of a parked run, or the undo that is stuck; "" when nobody must."""
        if self.parked or self.closed or not self.stuck:
            return self.parked
        failed = next(iter(self.stuck.values()))
        _, cause_type, message, *_ = failed.failure
        return f"an undo is stuck after {failed.attempt} attempts: {cause_type}: {message}"

    @property
    def next_timer_ms(self) -> int | None:
        """When the earliest timer falls due."""
        return min((timer.due_ms for timer in self.timers.values()), default=None)

    @property
    def next_wake_ms(self) -> int | None:
        """When the earliest timer falls due that its code waits for: not the deadline, which only ends it."""
        awaited = (timer.due_ms for number, timer in self.timers.items() if number != DEADLINE)
        return min(awaited, default=None)

    def due_timers(self, now_ms: int) -> list[int]:
        """Timers due by ``now_ms``, in the order in which they fell due."""
        due = sorted((timer.due_ms, timer.timer) for timer in self.timers.values() if timer.due_ms <= now_ms)
        return [timer for _, timer in due]

    def evolve(self, event: Event) -> None:
        """Take one more event in."""
        self.evolve_all((event,))

    def evolve_all(self, events: Iterable[Event]) -> None:
        """Take several events in, in their order."""
        for event in events:
            if self.rested and isinstance(event, Fact):
                self._wake(event)
            self.events += 1
            self.last_ms = event.at_ms
            fold = _FOLDS.get(type(event))
            if fold is not None:
                fold(self, event)

    def close(self, status: Status, event: Event) -> None:
        """The run has ended: nothing of it is open any more."""
        self.status = status
        self.closing = event
        self.parked = ""
        self.timers.pop(DEADLINE, None)  # it was kept
        if self._trail is not None:
            self._trail.left = (*self.steps.values(), *self.timers.values(), *self.messages.values())
            for step, begun in self.steps.items():
                self.note(step, begun)
        self.steps.clear()
        self.timers.clear()
        self.callbacks.clear()
        self.messages.clear()  # delivered all the same: they are in the outbox since they were sent
        self.orphans = tuple(each for each in self.children.values() if each.on_parent_close != ABANDON_CHILD)
        self.children.clear()

    def follow(self) -> None:
        """From here on write down what the events end, and in which episodes they lie, until ``trail`` asks."""
        self._trail, self._trail_first = Trail(), self.events

    def trail(self) -> Trail:
        """What was written down since ``follow``; nothing more is."""
        trail, self._trail = self._trail or Trail(), None
        trail.episodes = (*trail.episodes, self.episode)
        trail.sleeps = self.sleeps
        return trail

    def note(self, number: int, begun: Beginning) -> None:
        """What ``begun`` began has come to its end; on the trail of whoever follows."""
        if self._trail is not None:
            self._trail.ended[number] = begun
            if type(begun) is CompensationScheduled:
                self._trail.acted[begun.undo_of] = self._origins.of(begun.undo_of)

    def _wake(self, fact: Fact) -> None:
        """The first fact since the run came to rest. Where it slept another episode begins."""
        if not self.steps and not self.messages:
            if self._trail is not None and self.events > self._trail_first:
                self._trail.episodes = (*self._trail.episodes, self.episode)
            self.episode = Episode(number=self.episode.number + 1, first=self.events, since_ms=fact.at_ms)
        self.rested = False
        if self.parked or self.paused:  # a cancel runs code, also of a run that is held
            self.rested = self.held and type(fact) is not CancelRequested


def _started(state: RunState, event: RunStarted) -> None:
    state.started, state.attributes = event, event.attributes
    state.episode = Episode(since_ms=event.at_ms)
    state.timers.update((timer.timer, timer) for timer in reserved_timers(event))


def _attributes_set(state: RunState, event: AttributesSet) -> None:
    state.attributes = merged(state.attributes, event.attributes)


def _activated(state: RunState, _event: Activated) -> None:
    state.parked = ""
    state.rested = True


def _scheduled(state: RunState, event: OpenStep) -> None:
    state.steps[event.step] = event
    if number := state.episode.number:
        state._origins.scheduled(event.step, number)


def _step_ended(state: RunState, event: StepCompleted | StepFailed | CompensationCompleted) -> None:
    if (scheduled := state.steps.pop(event.step, None)) is not None and state._trail is not None:
        state.note(event.step, scheduled)
    if state.cancelled_steps:
        state.cancelled_steps.discard(event.step)


def _cancel_step(state: RunState, event: StepCancelRequested) -> None:
    state.cancelled_steps.add(event.step)


def _compensation_failed(state: RunState, event: CompensationFailed) -> None:
    if (scheduled := state.steps.pop(event.step, None)) is not None:
        state.note(event.step, scheduled)
    state.stuck[event.step] = event
    state.compensation = Compensation.STUCK


def _compensation_started(state: RunState, _event: CompensationStarted) -> None:
    state.compensation = Compensation.RUNNING


def _compensation_ended(state: RunState, _event: CompensationEnded) -> None:
    state.compensation = Compensation.DONE


def _timer_set(state: RunState, event: TimerSet) -> None:
    state.timers[event.timer] = event


def _timer_gone(state: RunState, event: TimerFired | TimerCancelled) -> None:
    if (timer := state.timers.pop(event.timer, None)) is not None:
        state.note(event.timer, timer)


def _message_sent(state: RunState, event: MessageSent) -> None:
    state.messages[event.number] = event
    if event.kind == CANCEL and (asked := state.children.get(event.child)) is not None:
        state.children[event.child] = replace(asked, on_parent_close=ABANDON_CHILD)  # it is left to its undoing


def _message_answered(state: RunState, event: MessageDelivered | MessageRefused | ChildStarted | ChildRefused) -> None:
    if (sent := state.messages.pop(event.number, None)) is not None:
        state.note(event.number, sent)


def _child_scheduled(state: RunState, event: ChildScheduled) -> None:
    state.messages[event.number] = state.children[event.number] = event


def _child_refused(state: RunState, event: ChildRefused) -> None:
    _message_answered(state, event)
    state.children.pop(event.number, None)


def _child_ended(state: RunState, event: ChildCompleted | ChildFailed) -> None:
    state.children.pop(event.number, None)


def _signalled(state: RunState, event: SignalReceived) -> None:
    state.episode = state.episode.joined(event.trace)


def _updated(state: RunState, event: OpenUpdate) -> None:
    state.updates[event.message_id] = event
    state.episode = state.episode.joined(event.trace)


def _update_decided(state: RunState, event: UpdateCompleted | UpdateFailed | UpdateRefused) -> None:
    state.updates[event.message_id] = None


def _callback_opened(state: RunState, event: CallbackOpened) -> None:
    state.callbacks[event.number] = event


def _callback_answered(state: RunState, event: CallbackCompleted | CallbackFailed) -> None:
    state.callbacks.pop(event.number, None)


def _cancel_requested(state: RunState, event: CancelRequested) -> None:
    state.lifts += 1
    if state.cancel_reason is None:
        state.cancel_reason = event.reason


def _parked(state: RunState, event: Parked) -> None:
    state.overgrown += event.reason.startswith(OVERGROWN)
    state.parked, state.parked_by = event.reason, event.code
    state.rested = state.held


def _resumed(state: RunState, _event: Resumed | RunForked) -> None:
    state.parked, state.paused = "", False
    state.lifts += 1
    state.rested = False


def _paused(state: RunState, _event: Paused) -> None:
    state.paused = True
    state.rested = state.held


def _dead_lettered(state: RunState, event: SignalDeadLettered) -> None:
    state.dead_letters.append(event)


def _redelivered(state: RunState, event: DeadLetterRedelivered) -> None:
    state.dead_letters = [letter for letter in state.dead_letters if letter.message_id != event.letter]


def _closed(status: Status) -> Callable[[RunState, Any], None]:
    return lambda state, event: state.close(status, event)


_FOLDS: dict[type[Event], Callable[[RunState, Any], None]] = {
    RunStarted: _started,
    Activated: _activated,
    AttributesSet: _attributes_set,
    StepScheduled: _scheduled,
    CompensationScheduled: _scheduled,
    StepCompleted: _step_ended,
    StepFailed: _step_ended,
    StepCancelRequested: _cancel_step,
    CompensationStarted: _compensation_started,
    CompensationCompleted: _step_ended,
    CompensationFailed: _compensation_failed,
    CompensationEnded: _compensation_ended,
    TimerSet: _timer_set,
    TimerFired: _timer_gone,
    TimerCancelled: _timer_gone,
    MessageSent: _message_sent,
    MessageDelivered: _message_answered,
    MessageRefused: _message_answered,
    ChildScheduled: _child_scheduled,
    ChildStarted: _message_answered,
    ChildRefused: _child_refused,
    ChildCompleted: _child_ended,
    ChildFailed: _child_ended,
    SignalReceived: _signalled,
    UpdateReceived: _updated,
    UpdateAccepted: _updated,
    UpdateCompleted: _update_decided,
    UpdateFailed: _update_decided,
    UpdateRefused: _update_decided,
    CallbackOpened: _callback_opened,
    CallbackCompleted: _callback_answered,
    CallbackFailed: _callback_answered,
    CancelRequested: _cancel_requested,
    Parked: _parked,
    Resumed: _resumed,
    RunForked: _resumed,
    Paused: _paused,
    SignalDeadLettered: _dead_lettered,
    DeadLetterRedelivered: _redelivered,
    RunCompleted: _closed(Status.COMPLETED),
    RunContinued: _closed(Status.COMPLETED),
    RunFailed: _closed(Status.FAILED),
    RunCancelled: _closed(Status.CANCELLED),
    RunTimedOut: _closed(Status.TIMED_OUT),
    RunTerminated: _closed(Status.TERMINATED),
}
