"""Committed events to spans: what is traced, and how it is named.

Law: pure, and a function of the history alone. A span is made by the one event that ends it, so no span is made twice,
and however a history was cut into turns, its spans are the same. An episode ends with its last event. Roots come after
their children, as OpenTelemetry allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sagas.kernel.episode import Beginning, Trail
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
    CompensationStarted,
    DeadLetterRedelivered,
    Event,
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
    RunTerminated,
    RunTimedOut,
    SignalDeadLettered,
    SignalReceived,
    StepCompleted,
    StepFailed,
    TimerCancelled,
    TimerFired,
    TimerSet,
    UpdateAccepted,
    UpdateCompleted,
    UpdateFailed,
    UpdateReceived,
    UpdateRefused,
)
from sagas.kernel.failure import Failure
from sagas.kernel.reserved import DEADLINE, START
from sagas.kernel.state import Status
from sagas.telemetry.episode import EpisodeSpans, cut
from sagas.telemetry.span import Attributes, Kind, Span, SpanStatus
from sagas.telemetry.steps import step_spans, withdrawn_step, words
from sagas.telemetry.trace import parse_traceparent, traces_of
from sagas.telemetry.turn import Turn, WholeHistory


def spans_of(turn: Turn) -> list[Span]:
    """The spans that the events of a turn end, in their order."""
    if turn.run is None or not turn.events:
        return []
    traces = traces_of(turn.run)
    spans: list[Span] = []
    episodes, end = turn.trail.episodes, turn.position + len(turn.events)
    for at, episode in enumerate(episodes):
        last = at == len(episodes) - 1
        within = EpisodeSpans(turn.run, traces, episode)
        first, until = max(episode.first, turn.position), end if last else episodes[at + 1].first
        events = turn.events[first - turn.position : until - turn.position]
        for index, event in enumerate(events, first):
            spans += _ended_by(within, event, index, turn.trail)
        if not traces.continuous and (not last or turn.trail.sleeps):
            spans.append(_episode(within, events[-1]))
    return spans


def spans_of_history(events: Sequence[Event]) -> list[Span]:
    """The spans of a run so far, from its history alone: exactly those that were emitted while it ran.

    Raises: HistoryError when ``events`` do not begin with RunStarted.
    """
    return spans_of(WholeHistory.of(events))


def _ended_by(within: EpisodeSpans, event: Event, index: int, trail: Trail) -> Iterable[Span]:
    kind = type(event)
    if (instant := _INSTANTS.get(kind)) is not None:
        return (instant(within, event, index),)
    if (ended := _ENDED.get(kind)) is not None:
        return ended(within, event, trail)
    return ()


# --- what has a beginning and an end


def _timer_fired(within: EpisodeSpans, event: TimerFired, trail: Trail) -> Iterator[Span]:
    """From set to fired; one that an earlier episode set begins when it fell due, not in another trace's time."""
    timer = trail.ended[event.timer]
    assert isinstance(timer, TimerSet), f"timer {event.timer} was set before it fired"
    begins_ms = timer.at_ms if timer.at_ms >= within.since_ms else min(timer.due_ms, event.at_ms)
    yield _timer(within, timer, begins_ms, event.at_ms, {"saga.timer.lag_ms": event.at_ms - timer.due_ms})


def _timer_cancelled(within: EpisodeSpans, event: TimerCancelled, trail: Trail) -> Iterator[Span]:
    timer = trail.ended[event.timer]
    assert isinstance(timer, TimerSet), f"timer {event.timer} was set before it was cancelled"
    yield _withdrawn_timer(within, timer, event)


def _withdrawn_timer(within: EpisodeSpans, timer: TimerSet, event: Event) -> Span:
    begins_ms = min(max(timer.at_ms, within.since_ms), event.at_ms)
    return _timer(within, timer, begins_ms, event.at_ms, {"saga.cancelled": True})


def _timer(within: EpisodeSpans, timer: TimerSet, start_ms: int, end_ms: int, attributes: Attributes) -> Span:
    said = {"saga.timer": timer.timer, "saga.timer.delay_ms": timer.due_ms - timer.at_ms, **attributes}
    name = _RESERVED.get(timer.timer, "timer")
    return within.span(Kind.TIMER, (timer.timer,), name, start_ms=start_ms, end_ms=end_ms, attributes=said)


_Answered = MessageDelivered | MessageRefused | ChildStarted | ChildRefused


def _answered(within: EpisodeSpans, event: _Answered, trail: Trail) -> Iterator[Span]:
    sent = trail.ended[event.number]
    assert isinstance(sent, MessageSent | ChildScheduled), f"message {event.number} was sent before it was answered"
    yield _outgoing(within, sent, event)


def _outgoing(within: EpisodeSpans, sent: MessageSent | ChildScheduled, event: Event) -> Span:
    status, error = SpanStatus.UNSET, ""
    if isinstance(event, MessageDelivered | ChildStarted):
        status = SpanStatus.OK
    elif isinstance(event, MessageRefused):
        status, error = SpanStatus.ERROR, " ".join(filter(None, (event.reason, event.status)))
    elif isinstance(event, ChildRefused):
        status, error = SpanStatus.ERROR, f"the id is taken by run {event.run_id} ({event.status})"
    said: dict[str, str | int] = {"saga.message": sent.number}
    if isinstance(sent, ChildScheduled):
        name = f"start child {sent.type}"
        said["saga.target"] = sent.id
    else:
        name = f"send {sent.kind} {sent.name}".rstrip()
        said["saga.target"] = sent.target
        if sent.name:
            said["saga.signal"] = sent.name
    return within.span(
        Kind.OUTGOING,
        (sent.number,),
        name,
        start_ms=sent.at_ms,
        end_ms=event.at_ms,
        attributes=said,
        status=status,
        error=error,
    )


def _run(within: EpisodeSpans, event: Event, trail: Trail) -> Iterator[Span]:
    """What is still open when the run ends, and then the run."""
    for begun in trail.left:
        yield _left(within, begun, event, trail)
    yield within.run(event.at_ms, *_verdict(event))


def _left(within: EpisodeSpans, begun: Beginning, event: Event, trail: Trail) -> Span:
    if isinstance(begun, TimerSet):
        return _withdrawn_timer(within, begun, event)
    if isinstance(begun, MessageSent | ChildScheduled):
        return _outgoing(within, begun, event)
    return withdrawn_step(within, begun, event, trail)


def _episode(within: EpisodeSpans, last: Event) -> Span:
    """It says how the run ended, if it was the last one."""
    if type(last) in _RUN_ENDS:
        return within.root(last.at_ms, *_verdict(last))
    return within.root(last.at_ms, {}, SpanStatus.UNSET, "")


def _verdict(event: Event) -> tuple[Attributes, SpanStatus, str]:
    """What a run's end says: attributes, status, error."""
    ended, status = _RUN_ENDS[type(event)]
    reason = words(Failure.from_row(event.failure)) if isinstance(event, RunFailed) else getattr(event, "reason", "")
    attributes: dict[str, str | int] = {"saga.status": ended.value}
    if isinstance(event, RunContinued):
        attributes["saga.next_run_id"] = event.next_run
    if reason:
        attributes["saga.reason"] = cut(reason)
    return attributes, status, reason if status is SpanStatus.ERROR else ""


# --- what took no time


def _signal(within: EpisodeSpans, event: SignalReceived, index: int) -> Span:
    sender = parse_traceparent(event.trace)
    links = () if sender is None else (within.sender_link(sender),)
    attributes = {"saga.signal": event.name, "saga.message_id": event.message_id}
    return within.instant(Kind.MESSAGE, index, f"signal {event.name}", event, attributes, links=links)


def _update(within: EpisodeSpans, event: UpdateAccepted | UpdateReceived, index: int) -> Span:
    sender = parse_traceparent(event.trace)
    links = () if sender is None else (within.sender_link(sender),)
    attributes = {"saga.update": event.name, "saga.message_id": event.message_id}
    return within.instant(Kind.MESSAGE, index, f"update {event.name}", event, attributes, links=links)


def _outcome(within: EpisodeSpans, event: UpdateCompleted | UpdateFailed | UpdateRefused, index: int) -> Span:
    attributes = {"saga.message_id": event.message_id}
    match event:
        case UpdateCompleted():
            return within.instant(Kind.MESSAGE, index, "update completed", event, attributes)
        case UpdateFailed():
            error = words(Failure.from_row(event.failure))
            return within.instant(Kind.MESSAGE, index, "update failed", event, attributes, error=error)
        case UpdateRefused():
            return within.instant(Kind.MESSAGE, index, "update rejected", event, attributes, error=event.reason)


def _callback(within: EpisodeSpans, event: CallbackOpened | CallbackCompleted, index: int) -> Span:
    what = "opened" if isinstance(event, CallbackOpened) else "completed"
    return within.instant(Kind.MESSAGE, index, f"callback {what}", event, {"saga.callback": event.number})


def _callback_failed(within: EpisodeSpans, event: CallbackFailed, index: int) -> Span:
    error, said = words(Failure.from_row(event.failure)), {"saga.callback": event.number}
    return within.instant(Kind.MESSAGE, index, "callback failed", event, said, error=error)


def _dead_letter(within: EpisodeSpans, event: SignalDeadLettered, index: int) -> Span:
    attributes = {"saga.signal": event.name, "saga.message_id": event.message_id}
    return within.instant(Kind.MESSAGE, index, f"dead letter {event.name}", event, attributes, error=event.reason)


def _redelivered(within: EpisodeSpans, event: DeadLetterRedelivered, index: int) -> Span:
    attributes = {"saga.message_id": event.letter, "saga.by": event.by}
    return within.instant(Kind.MESSAGE, index, "dead letter redelivered", event, attributes)


def _cancel(within: EpisodeSpans, event: CancelRequested, index: int) -> Span:
    return within.instant(Kind.MESSAGE, index, "cancel", event, {"saga.reason": cut(event.reason)})


def _child_completed(within: EpisodeSpans, event: ChildCompleted, index: int) -> Span:
    said: Attributes = {"saga.message": event.number, "saga.child": event.id}
    return within.instant(Kind.MESSAGE, index, "child completed", event, said)


def _child_failed(within: EpisodeSpans, event: ChildFailed, index: int) -> Span:
    said: Attributes = {"saga.message": event.number, "saga.child": event.id}
    error = words(Failure.from_row(event.failure)) if event.failure else event.reason or event.status
    return within.instant(Kind.MESSAGE, index, f"child {event.status}", event, said, error=error)


def _unwind(within: EpisodeSpans, event: CompensationStarted, index: int) -> Span:
    attributes: Attributes = {"saga.scope": event.scope, "saga.reason": cut(event.reason)}
    return within.instant(Kind.UNWIND, index, "unwind", event, attributes)


def _parked(within: EpisodeSpans, event: Parked, index: int) -> Span:
    return within.instant(Kind.STANDSTILL, index, "parked", event, {}, error=event.reason)


def _paused(within: EpisodeSpans, event: Paused, index: int) -> Span:
    return within.instant(Kind.STANDSTILL, index, "paused", event, {"saga.by": event.by})


def _resumed(within: EpisodeSpans, event: Resumed, index: int) -> Span:
    return within.instant(Kind.STANDSTILL, index, "resumed", event, {"saga.by": event.by})


_RESERVED = {DEADLINE: "saga timeout", START: "start delay"}


def _forked(within: EpisodeSpans, event: RunForked, index: int) -> Span:
    said: Attributes = {"saga.origin": event.origin, "saga.origin_run": event.origin_run}
    return within.instant(Kind.STANDSTILL, index, "forked", event, said)


_RUN_ENDS: dict[type[Event], tuple[Status, SpanStatus]] = {
    RunCompleted: (Status.COMPLETED, SpanStatus.OK),
    RunContinued: (Status.COMPLETED, SpanStatus.OK),
    RunFailed: (Status.FAILED, SpanStatus.ERROR),
    RunCancelled: (Status.CANCELLED, SpanStatus.UNSET),  # somebody wanted it so
    RunTimedOut: (Status.TIMED_OUT, SpanStatus.ERROR),
    RunTerminated: (Status.TERMINATED, SpanStatus.ERROR),
}

_ENDED: dict[type[Event], Callable[[EpisodeSpans, Any, Trail], Iterable[Span]]] = {
    StepCompleted: step_spans,
    StepFailed: step_spans,
    CompensationCompleted: step_spans,
    CompensationFailed: step_spans,
    TimerFired: _timer_fired,
    TimerCancelled: _timer_cancelled,
    MessageDelivered: _answered,
    MessageRefused: _answered,
    ChildStarted: _answered,
    ChildRefused: _answered,
    **dict.fromkeys(_RUN_ENDS, _run),
}

_INSTANTS: dict[type[Event], Callable[[EpisodeSpans, Any, int], Span]] = {
    SignalReceived: _signal,
    SignalDeadLettered: _dead_letter,
    DeadLetterRedelivered: _redelivered,
    CallbackOpened: _callback,
    CallbackCompleted: _callback,
    CallbackFailed: _callback_failed,
    UpdateReceived: _update,
    UpdateAccepted: _update,
    UpdateCompleted: _outcome,
    UpdateFailed: _outcome,
    UpdateRefused: _outcome,
    CancelRequested: _cancel,
    ChildCompleted: _child_completed,
    ChildFailed: _child_failed,
    CompensationStarted: _unwind,
    Parked: _parked,
    Paused: _paused,
    Resumed: _resumed,
    RunForked: _forked,
}
