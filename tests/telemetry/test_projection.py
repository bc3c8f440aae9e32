"""What each event's span is called, how long it is, and what it says."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from sagas.errors import HistoryError
from sagas.kernel.events import (
    CancelRequested,
    Event,
    Parked,
    Paused,
    Resumed,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
    RunTerminated,
    RunTimedOut,
    SignalDeadLettered,
    SignalReceived,
    StepFailed,
    StepScheduled,
    TimerFired,
    TimerSet,
)
from sagas.kernel.failure import Failure
from sagas.telemetry import Kind, Link, Span, SpanStatus, spans_of, spans_of_history
from sagas.telemetry.run import TEXT_LIMIT
from tests.telemetry.journeys import travel

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CALLER_TRACE, CALLER_SPAN = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
STARTED = RunStarted("sub-1", "run-1", "Subscription", b"", at_ms=1000)
FAILURE = Failure(kind="error", cause_type="OSError", message="nobody answers").row()


@dataclass(frozen=True)
class OneTurn:
    events: tuple[Event, ...]
    run: RunStarted | None = STARTED
    position: int = 7
    opened: dict[int, Event] = field(default_factory=dict)


def only(event: Event, *, run: RunStarted = STARTED, **opened: Event) -> Span:
    (span,) = spans_of(OneTurn((event,), run=run, opened={int(key.lstrip("n")): each for key, each in opened.items()}))
    return span


def of_kind(spans: list[Span], kind: Kind) -> list[Span]:
    return [span for span in spans if span.kind is kind]


def test_a_step_says_who_it_was_and_how_it_went() -> None:
    step, run = travel("free")
    assert (step.name, step.kind, step.status, step.error) == ("book", Kind.STEP, SpanStatus.OK, "")
    assert step.attributes == {
        "saga.id": "trip",
        "saga.run_id": run.attributes["saga.run_id"],
        "saga.type": "Journey",
        "saga.kind": "step",
        "saga.step": 2,
        "saga.activity": "book",
        "saga.attempts": 1,
        "saga.outcome": "done",
    }
    assert step.events == ()


def test_every_span_of_a_run_hangs_below_its_root_in_one_trace() -> None:
    spans = travel("free", "nap", "gate", "full")
    *children, root = spans
    assert (root.kind, root.name, root.parent_id) == (Kind.RUN, "Journey", None)
    assert {child.parent_id for child in children} == {root.span_id}
    assert {span.trace_id for span in spans} == {root.trace_id}
    assert {Kind.STEP, Kind.COMPENSATION, Kind.TIMER, Kind.UNWIND, Kind.RUN} == {span.kind for span in spans}
    assert root.start_ms == min(span.start_ms for span in spans)
    assert root.end_ms == max(span.end_ms for span in spans)


def test_failed_attempts_are_moments_of_the_step_that_succeeds_in_the_end() -> None:
    step, _run = travel("flaky")
    assert (step.status, step.attributes["saga.attempts"]) == (SpanStatus.OK, 2)
    (moment,) = step.events
    assert moment.attributes == {
        "exception.type": "OSError",
        "exception.message": "nobody answers",
        "saga.attempt": 1,
    }
    assert step.start_ms <= moment.at_ms < step.end_ms


@pytest.mark.parametrize(
    ("place", "attempts", "outcome", "error"),
    [("full", 1, "none", "Full: "), ("closed", 3, "unknown", "OSError: nobody answers")],
)
def test_a_step_that_failed_for_good_is_an_error(place: str, attempts: int, outcome: str, error: str) -> None:
    step = of_kind(travel(place), Kind.STEP)[0]
    assert (step.status, step.attributes["saga.attempts"]) == (SpanStatus.ERROR, attempts)
    assert step.attributes["saga.outcome"] == outcome
    assert step.attributes["error.type"] == error.partition(":")[0]
    assert step.error.startswith(error)
    assert [moment.attributes["saga.attempt"] for moment in step.events] == [*range(1, attempts + 1)]


def test_undos_name_and_link_the_steps_they_undo_newest_first() -> None:
    spans = travel("free", "sticky", "full")
    free, sticky, full = of_kind(spans, Kind.STEP)
    undos = of_kind(spans, Kind.COMPENSATION)
    assert [undo.name for undo in undos] == ["release", "release"]
    assert [undo.attributes["saga.undo_of"] for undo in undos] == [
        sticky.attributes["saga.step"],
        free.attributes["saga.step"],
    ]
    assert [undo.links for undo in undos] == [
        (Link(trace_id=sticky.trace_id, span_id=sticky.span_id),),
        (Link(trace_id=free.trace_id, span_id=free.span_id),),
    ]
    assert [undo.attributes["saga.attempts"] for undo in undos] == [2, 1]
    (unwind,) = of_kind(spans, Kind.UNWIND)
    assert str(unwind.attributes["saga.reason"]).startswith("Full: ")
    assert full.end_ms <= unwind.start_ms <= undos[0].start_ms
    assert spans[-1].status is SpanStatus.ERROR


def test_a_parked_run_shows_why_it_stands_still() -> None:
    step, parked = travel("free", "typo")
    assert (step.kind, parked.kind, parked.name) == (Kind.STEP, Kind.STANDSTILL, "parked")
    assert parked.status is SpanStatus.ERROR
    assert parked.error == "NameError: name 'hotl' is not defined"


def test_a_timer_lasts_from_set_to_fired_and_tells_its_lag() -> None:
    span = only(TimerFired(4, at_ms=5250), n4=TimerSet(4, 5000, at_ms=1000))
    assert (span.name, span.start_ms, span.end_ms, span.status) == ("timer", 1000, 5250, SpanStatus.UNSET)
    assert (span.attributes["saga.timer"], span.attributes["saga.timer.lag_ms"]) == (4, 250)


def test_a_signal_is_an_instant_linked_to_its_sender() -> None:
    span = only(SignalReceived("m-1", "cancel", b"", CALLER, at_ms=2000))
    assert (span.name, span.start_ms, span.end_ms) == ("signal cancel", 2000, 2000)
    assert span.links == (Link(trace_id=CALLER_TRACE, span_id=CALLER_SPAN),)
    assert span.attributes["saga.signal"] == "cancel"
    assert span.attributes["saga.message_id"] == "m-1"
    assert only(SignalReceived("m-2", "cancel", b"", at_ms=2000)).links == ()


def test_two_signals_of_one_name_are_two_spans() -> None:
    first, second = spans_of(OneTurn((SignalReceived("m-1", "a", b""), SignalReceived("m-2", "a", b""))))
    assert first.span_id != second.span_id


@pytest.mark.parametrize(
    ("event", "name", "status", "said"),
    [
        (SignalDeadLettered("m-1", "x", "no signal 'x'"), "dead letter x", SpanStatus.ERROR, {"saga.signal": "x"}),
        (CancelRequested("changed my mind"), "cancel", SpanStatus.UNSET, {"saga.reason": "changed my mind"}),
        (Parked("NameError: x"), "parked", SpanStatus.ERROR, {}),
        (Paused("ann"), "paused", SpanStatus.UNSET, {"saga.by": "ann"}),
        (Resumed("ann"), "resumed", SpanStatus.UNSET, {"saga.by": "ann"}),
    ],
)
def test_instants(event: Event, name: str, status: SpanStatus, said: dict[str, str]) -> None:
    span = only(event)
    assert (span.name, span.status) == (name, status)
    assert said.items() <= dict(span.attributes).items()


@pytest.mark.parametrize(
    ("event", "said", "status", "error"),
    [
        (RunCompleted(b"", at_ms=9000), "completed", SpanStatus.OK, ""),
        (RunFailed(FAILURE, at_ms=9000), "failed", SpanStatus.ERROR, "OSError: nobody answers"),
        (RunCancelled("not wanted", at_ms=9000), "cancelled", SpanStatus.UNSET, ""),
        (RunTimedOut("30 days", at_ms=9000), "timed_out", SpanStatus.ERROR, "30 days"),
        (RunTerminated("enough", at_ms=9000), "terminated", SpanStatus.ERROR, "enough"),
    ],
)
def test_the_root_tells_how_the_run_ended(event: Event, said: str, status: SpanStatus, error: str) -> None:
    root = only(event)
    assert (root.kind, root.start_ms, root.end_ms) == (Kind.RUN, 1000, 9000)
    assert (root.attributes["saga.status"], root.status, root.error) == (said, status, error)


def test_a_run_started_within_a_trace_continues_it() -> None:
    run = RunStarted("sub-1", "run-1", "Subscription", b"", {}, CALLER, at_ms=1000)
    root, signal = only(RunCompleted(b""), run=run), only(SignalReceived("m", "x", b""), run=run)
    assert (root.trace_id, root.parent_id) == (CALLER_TRACE, CALLER_SPAN)
    assert (signal.trace_id, signal.parent_id) == (CALLER_TRACE, root.span_id)


def test_a_damaged_traceparent_is_no_caller() -> None:
    run = RunStarted("sub-1", "run-1", "Subscription", b"", {}, CALLER[:-1], at_ms=1000)
    assert only(RunCompleted(b""), run=run) == only(RunCompleted(b""))


def test_long_errors_are_cut() -> None:
    errors = ((1, 2000, "OSError", "y" * 100_000),)
    event = StepFailed(3, 1, Failure(kind="error", cause_type="OSError", message="x" * 100_000).row(), errors)
    span = only(event, n3=StepScheduled(3, "book", b""))
    assert len(span.error) == len(str(span.events[0].attributes["exception.message"])) == TEXT_LIMIT


def test_a_turn_of_no_run_has_no_spans() -> None:
    assert spans_of(OneTurn((), run=None)) == []


def test_an_empty_history_has_no_spans() -> None:
    assert spans_of_history([]) == []


def test_a_history_without_its_beginning_is_refused() -> None:
    with pytest.raises(HistoryError, match="begins with RunStarted"):
        spans_of_history([Parked("x")])
