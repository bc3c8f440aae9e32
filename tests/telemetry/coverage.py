"""Which events of a history have no span: the promise of protocol rule 12, looked at from outside the projection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sagas.kernel.events import (
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
    CompensationFailed,
    CompensationScheduled,
    CompensationStarted,
    DeadLetterRedelivered,
    Event,
    MessageDelivered,
    MessageRefused,
    MessageSent,
    Parked,
    Paused,
    Resumed,
    RunForked,
    RunStarted,
    SignalDeadLettered,
    SignalReceived,
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
from sagas.kernel.state import RunState
from sagas.telemetry import Kind
from sagas.telemetry.trace import Traces, traces_of

INSTANTS: dict[type[Event], Kind] = {
    SignalReceived: Kind.MESSAGE,
    SignalDeadLettered: Kind.MESSAGE,
    DeadLetterRedelivered: Kind.MESSAGE,
    **dict.fromkeys((UpdateReceived, UpdateAccepted, UpdateCompleted, UpdateFailed, UpdateRefused), Kind.MESSAGE),
    **dict.fromkeys((CallbackOpened, CallbackCompleted, CallbackFailed), Kind.MESSAGE),
    CancelRequested: Kind.MESSAGE,
    ChildCompleted: Kind.MESSAGE,
    ChildFailed: Kind.MESSAGE,
    Parked: Kind.STANDSTILL,
    Paused: Kind.STANDSTILL,
    Resumed: Kind.STANDSTILL,
    RunForked: Kind.STANDSTILL,
    CompensationStarted: Kind.UNWIND,
}


class Identified(Protocol):
    """A span, of whatever make."""

    @property
    def trace_id(self) -> int: ...
    @property
    def span_id(self) -> int: ...


def unspanned(history: Sequence[Event], spans: Iterable[Identified]) -> list[tuple[int, Event]]:
    """The events (with their index) of which no span tells; [] when all is well.

    ``history``: all of one run's events. ``spans``: those received, also of other runs. What goes on, a step or an
    episode or the run, has no span yet, and what began it is not missed.
    """
    received = {(span.trace_id, span.span_id) for span in spans}
    return [(index, history[index]) for index, expected in due(history) if not expected <= received]


def due(history: Sequence[Event]) -> Iterator[tuple[int, set[tuple[int, int]]]]:
    """Of each event: the ids (trace, span) of the spans that tell of it and are due."""
    run = history[0]
    assert isinstance(run, RunStarted), "a history begins with RunStarted"
    book = _Book.of(history, traces_of(run))
    for index, event in enumerate(history):
        episode = book.episode_of[index]
        # A span lies in the trace of the episode in which it ended.
        named = {
            (book.traces.trace_id(book.ended_in.get(number, episode)), book.traces.span_id(kind, *numbers))
            for kind, numbers, number in _named(event, index)
            if number == 0 or number in book.ended_in
        }
        yield index, named | book.roots(episode)


@dataclass
class _Book:
    traces: Traces
    episode_of: list[int] = field(default_factory=list)
    ended_in: dict[int, int] = field(default_factory=dict)  # number of a step, timer or message -> episode
    going_on: int | None = None  # the episode that is not over
    closed: bool = False

    @classmethod
    def of(cls, history: Sequence[Event], traces: Traces) -> _Book:
        book, state = cls(traces), RunState()
        for event in history:
            open_before = {**state.steps, **state.timers, **state.messages}
            state.evolve(event)
            book.episode_of.append(state.episode.number)
            for number in open_before.keys() - {**state.steps, **state.timers, **state.messages}.keys():
                book.ended_in[number] = state.episode.number
        book.going_on = None if state.sleeps else state.episode.number
        book.closed = state.closed
        return book

    def roots(self, episode: int) -> set[tuple[int, int]]:
        last = self.episode_of[-1]
        run = {(self.traces.run_trace_id(last), self.traces.span_id(Kind.RUN, 0))} if self.closed else set()
        if self.traces.continuous or episode == self.going_on:
            return run
        return run | {(self.traces.trace_id(episode), self.traces.span_id(Kind.EPISODE, episode))}


def _named(event: Event, index: int) -> Iterator[tuple[Kind, tuple[int, ...], int]]:
    """(kind, numbers of the span, number of what must have ended, or 0)."""
    if (instant := INSTANTS.get(type(event))) is not None:
        yield instant, (index,), 0
    match event:
        case StepScheduled(step=step) | StepCompleted(step=step) | StepFailed(step=step):
            yield Kind.STEP, (step,), step
        case CompensationScheduled(step=step) | CompensationCompleted(step=step) | CompensationFailed(step=step):
            yield Kind.COMPENSATION, (step,), step
        case TimerSet(timer=timer) | TimerFired(timer=timer) | TimerCancelled(timer=timer):
            yield Kind.TIMER, (timer,), timer
        case MessageSent(number=number) | MessageDelivered(number=number) | MessageRefused(number=number):
            yield Kind.OUTGOING, (number,), number
        case ChildScheduled(number=number) | ChildStarted(number=number) | ChildRefused(number=number):
            yield Kind.OUTGOING, (number,), number
    if isinstance(event, StepCompleted | StepFailed | CompensationCompleted | CompensationFailed):
        for attempt in {event.attempt, *(row[0] for row in event.errors)}:
            yield Kind.ATTEMPT, (event.step, attempt), event.step
