"""Committed events to spans: what is traced, and how it is named.

Law: pure, and a function of the history alone. A span is made by the one event that ends it, so no span is made twice,
and however a history was cut into turns, its spans are the same. The root span ends with its run: its children come
before it, as OpenTelemetry allows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from compensations import Outcome
from sagas.kernel.events import (
    CancelRequested,
    CompensationCompleted,
    CompensationFailed,
    CompensationScheduled,
    CompensationStarted,
    Event,
    Parked,
    Paused,
    Resumed,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunTerminated,
    RunTimedOut,
    SignalDeadLettered,
    SignalReceived,
    StepCompleted,
    StepFailed,
    TimerFired,
    TimerSet,
)
from sagas.kernel.failure import Failure
from sagas.kernel.state import OpenStep, Status
from sagas.telemetry.run import RunSpans, cut
from sagas.telemetry.span import Attributes, Kind, Link, Moment, Span, SpanStatus
from sagas.telemetry.trace import parse_traceparent
from sagas.telemetry.turn import Turn, WholeHistory

Settled = StepCompleted | StepFailed | CompensationCompleted | CompensationFailed
Opened = Mapping[int, Event]


def spans_of(turn: Turn) -> list[Span]:
    """The spans that the events of a turn end, in their order."""
    if turn.run is None:
        return []
    run = RunSpans(turn.run)
    spans: list[Span] = []
    for index, event in enumerate(turn.events, turn.position):
        if (instant := _INSTANTS.get(type(event))) is not None:
            spans.append(instant(run, event, index))
        elif (ended := _ENDED.get(type(event))) is not None:
            spans.append(ended(run, event, turn.opened))
    return spans


def spans_of_history(events: Sequence[Event]) -> list[Span]:
    """The spans of a run so far, from its history alone: exactly those that were emitted while it ran.

    Raises: HistoryError when ``events`` do not begin with RunStarted.
    """
    return spans_of(WholeHistory.of(events))


# --- what has a beginning and an end


def _step(run: RunSpans, event: Settled, opened: Opened) -> Span:
    """A step or an undo, with each of its failed attempts."""
    scheduled = opened[event.step]
    assert isinstance(scheduled, OpenStep), f"step {event.step} ends what scheduled it"
    kind, attributes = Kind.STEP, _step_attributes(scheduled, event)
    links: tuple[Link, ...] = ()
    if isinstance(scheduled, CompensationScheduled):
        kind = Kind.COMPENSATION
        attributes |= {"saga.undo_of": scheduled.undo_of, "saga.scope": scheduled.scope}
        # A link to its action and no child of it: an undo that was added by hand has no action with a span.
        links = (Link(trace_id=run.trace.trace_id, span_id=run.trace.span_id(Kind.STEP, scheduled.undo_of)),)
    status, error = SpanStatus.OK, ""
    if isinstance(event, StepFailed | CompensationFailed):
        failure = Failure.from_row(event.failure)
        attributes |= {"saga.outcome": failure.outcome.value, "error.type": failure.cause_type}
        status, error = SpanStatus.ERROR, _words(failure)
    return run.span(
        kind,
        event.step,
        scheduled.activity,
        start_ms=scheduled.at_ms,
        end_ms=event.at_ms,
        attributes=attributes,
        status=status,
        error=error,
        links=links,
        events=tuple(_failed_attempt(*row) for row in event.errors),
    )


def _step_attributes(scheduled: OpenStep, event: Settled) -> dict[str, str | int]:
    return {
        "saga.step": event.step,
        "saga.activity": scheduled.activity,
        "saga.attempts": event.attempt,
        "saga.outcome": Outcome.DONE.value,
    }


def _failed_attempt(attempt: int, at_ms: int, error_type: str, message: str) -> Moment:
    """In OpenTelemetry's words for an exception, which its viewers know how to show."""
    said: Attributes = {"exception.type": error_type, "exception.message": cut(message), "saga.attempt": attempt}
    return Moment(name="exception", at_ms=at_ms, attributes=said)


def _timer(run: RunSpans, event: TimerFired, opened: Opened) -> Span:
    timer = opened[event.timer]
    assert isinstance(timer, TimerSet), f"timer {event.timer} was set before it fired"
    attributes: Attributes = {"saga.timer": event.timer, "saga.timer.lag_ms": event.at_ms - timer.due_ms}
    return run.span(Kind.TIMER, event.timer, "timer", start_ms=timer.at_ms, end_ms=event.at_ms, attributes=attributes)


def _root(run: RunSpans, event: Event, _opened: Opened) -> Span:
    ended, status = _RUN_ENDS[type(event)]
    reason = _words(Failure.from_row(event.failure)) if isinstance(event, RunFailed) else getattr(event, "reason", "")
    attributes: dict[str, str | int] = {"saga.status": ended.value}
    if reason:
        attributes["saga.reason"] = cut(reason)
    return run.span(
        Kind.RUN,
        0,
        run.started.type,
        start_ms=run.started.at_ms,
        end_ms=event.at_ms,
        attributes=attributes,
        status=status,
        error=reason if status is SpanStatus.ERROR else "",
    )


def _words(failure: Failure) -> str:
    return f"{failure.cause_type}: {failure.message}"


# --- what took no time


def _signal(run: RunSpans, event: SignalReceived, index: int) -> Span:
    sender = parse_traceparent(event.trace)
    links = () if sender is None else (Link(trace_id=sender.trace_id, span_id=sender.span_id),)
    attributes = {"saga.signal": event.name, "saga.message_id": event.message_id}
    return run.instant(Kind.MESSAGE, index, f"signal {event.name}", event, attributes, links=links)


def _dead_letter(run: RunSpans, event: SignalDeadLettered, index: int) -> Span:
    attributes = {"saga.signal": event.name, "saga.message_id": event.message_id}
    return run.instant(Kind.MESSAGE, index, f"dead letter {event.name}", event, attributes, error=event.reason)


def _cancel(run: RunSpans, event: CancelRequested, index: int) -> Span:
    return run.instant(Kind.MESSAGE, index, "cancel", event, {"saga.reason": cut(event.reason)})


def _unwind(run: RunSpans, event: CompensationStarted, index: int) -> Span:
    attributes: Attributes = {"saga.scope": event.scope, "saga.reason": cut(event.reason)}
    return run.instant(Kind.UNWIND, index, "unwind", event, attributes)


def _parked(run: RunSpans, event: Parked, index: int) -> Span:
    return run.instant(Kind.STANDSTILL, index, "parked", event, {}, error=event.reason)


def _paused(run: RunSpans, event: Paused, index: int) -> Span:
    return run.instant(Kind.STANDSTILL, index, "paused", event, {"saga.by": event.by})


def _resumed(run: RunSpans, event: Resumed, index: int) -> Span:
    return run.instant(Kind.STANDSTILL, index, "resumed", event, {"saga.by": event.by})


_RUN_ENDS: dict[type[Event], tuple[Status, SpanStatus]] = {
    RunCompleted: (Status.COMPLETED, SpanStatus.OK),
    RunFailed: (Status.FAILED, SpanStatus.ERROR),
    RunCancelled: (Status.CANCELLED, SpanStatus.UNSET),  # somebody wanted it so
    RunTimedOut: (Status.TIMED_OUT, SpanStatus.ERROR),
    RunTerminated: (Status.TERMINATED, SpanStatus.ERROR),
}

_ENDED: dict[type[Event], Callable[[RunSpans, Any, Opened], Span]] = {
    StepCompleted: _step,
    StepFailed: _step,
    CompensationCompleted: _step,
    CompensationFailed: _step,
    TimerFired: _timer,
    **dict.fromkeys(_RUN_ENDS, _root),
}

_INSTANTS: dict[type[Event], Callable[[RunSpans, Any, int], Span]] = {
    SignalReceived: _signal,
    SignalDeadLettered: _dead_letter,
    CancelRequested: _cancel,
    CompensationStarted: _unwind,
    Parked: _parked,
    Paused: _paused,
    Resumed: _resumed,
}
