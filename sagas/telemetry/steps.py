"""The spans of a step or an undo, and of its attempts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from compensations import Outcome
from sagas.kernel.episode import Trail
from sagas.kernel.events import (
    CompensationCompleted,
    CompensationFailed,
    CompensationScheduled,
    Event,
    StepCompleted,
    StepFailed,
    StepScheduled,
)
from sagas.kernel.failure import Failure
from sagas.kernel.state import OpenStep
from sagas.telemetry.episode import EpisodeSpans, cut
from sagas.telemetry.span import Kind, Link, Moment, Span, SpanStatus, Why

Settled = StepCompleted | StepFailed | CompensationCompleted | CompensationFailed
_Said = dict[str, str | int]


def step_spans(within: EpisodeSpans, event: Settled, trail: Trail) -> Iterator[Span]:
    """The attempts that are known, oldest first, and then the step."""
    scheduled = _scheduled(trail, event.step)
    kind, said, links = _identity(within, scheduled, trail)
    step_id = within.traces.span_id(kind, event.step)
    yield from _attempts(within, scheduled, event, step_id)
    failure = _failure(event)
    outcome = Outcome.DONE if failure is None else failure.outcome
    said |= {"saga.attempts": event.attempt, "saga.outcome": outcome.value}
    if failure is not None:
        said["error.type"] = failure.cause_type
    yield within.span(
        kind,
        (event.step,),
        scheduled.activity,
        start_ms=scheduled.at_ms,
        end_ms=event.at_ms,
        attributes=said,
        status=SpanStatus.OK if failure is None else SpanStatus.ERROR,
        error="" if failure is None else words(failure),
        links=links,
    )


def withdrawn_step(within: EpisodeSpans, scheduled: OpenStep, event: Event, trail: Trail) -> Span:
    """A step that was open when its run ended with ``event``: nobody knows what became of it."""
    kind, said, links = _identity(within, scheduled, trail)
    return within.span(
        kind,
        (scheduled.step,),
        scheduled.activity,
        start_ms=scheduled.at_ms,
        end_ms=event.at_ms,
        attributes=said | {"saga.cancelled": True},
        links=links,
    )


def words(failure: Failure) -> str:
    """A failure in one line."""
    return f"{failure.cause_type}: {failure.message}"


def _scheduled(trail: Trail, step: int) -> OpenStep:
    scheduled = trail.ended[step]
    assert isinstance(scheduled, StepScheduled | CompensationScheduled), f"step {step} ends what scheduled it"
    return scheduled


def _identity(within: EpisodeSpans, scheduled: OpenStep, trail: Trail) -> tuple[Kind, _Said, tuple[Link, ...]]:
    said: _Said = {"saga.step": scheduled.step, "saga.activity": scheduled.activity}
    if isinstance(scheduled, StepScheduled):
        return Kind.STEP, said, ()
    said |= {"saga.undo_of": scheduled.undo_of, "saga.scope": scheduled.scope}
    # A link to its action and no child of it: an undo that was added by hand has no action with a span.
    link = within.step_link(scheduled.undo_of, trail.acted[scheduled.undo_of], Why.UNDOES)
    return Kind.COMPENSATION, said, (link,)


def _failure(event: Settled) -> Failure | None:
    return Failure.from_row(event.failure) if isinstance(event, StepFailed | CompensationFailed) else None


class _Attempt(NamedTuple):
    """``started_ms`` 0: not known. ``error``: type and message, None for the attempt that succeeded."""

    number: int
    started_ms: int
    end_ms: int
    error: tuple[str, str] | None


def _attempts(within: EpisodeSpans, scheduled: OpenStep, event: Settled, step_id: int) -> Iterator[Span]:
    """Where it is not known when one began, the one before had ended."""
    before_ms = scheduled.at_ms
    for attempt in _known_attempts(event):
        # A worker's clock may be off: an attempt lies within its step all the same.
        start_ms = max(scheduled.at_ms, min(attempt.started_ms or before_ms, attempt.end_ms))
        yield _attempt(within, scheduled, attempt, start_ms, step_id)
        before_ms = attempt.end_ms


def _known_attempts(event: Settled) -> Iterator[_Attempt]:
    """The failed ones, of which the last ten are kept, and the one that succeeded."""
    last = 0
    for last, at_ms, error_type, message, *started in event.errors:  # versions before did not say when it began
        yield _Attempt(last, started[0] if started else 0, at_ms, (error_type, message))
    if last != event.attempt:
        failure = _failure(event)
        error = None if failure is None else (failure.cause_type, failure.message)
        yield _Attempt(event.attempt, event.started_ms, event.at_ms, error)


def _attempt(within: EpisodeSpans, scheduled: OpenStep, attempt: _Attempt, start_ms: int, step_id: int) -> Span:
    said: _Said = {"saga.step": scheduled.step, "saga.activity": scheduled.activity, "saga.attempt": attempt.number}
    status, error = SpanStatus.OK, ""
    moments: tuple[Moment, ...] = ()
    if attempt.error is not None:
        kind, message = attempt.error
        said["error.type"] = kind
        status, error = SpanStatus.ERROR, f"{kind}: {message}"
        # OpenTelemetry's words for an exception, which its viewers know how to show.
        exception = {"exception.type": kind, "exception.message": cut(message)}
        moments = (Moment(name="exception", at_ms=attempt.end_ms, attributes=exception),)
    return within.span(
        Kind.ATTEMPT,
        (scheduled.step, attempt.number),
        f"{scheduled.activity} attempt",
        start_ms=start_ms,
        end_ms=attempt.end_ms,
        attributes=said,
        status=status,
        error=error,
        events=moments,
        parent_id=step_id,
    )
