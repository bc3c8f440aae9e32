"""What each event's span is called, how long it is, and what it says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from sagas.errors import HistoryError
from sagas.kernel.episode import Beginning, Episode, Trail
from sagas.kernel.events import (
    CLOSED,
    CONTINUOUS,
    SIGNAL,
    Activated,
    CancelRequested,
    CompensationScheduled,
    Event,
    MessageDelivered,
    MessageRefused,
    MessageSent,
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
    StepCompleted,
    StepFailed,
    StepScheduled,
    TimerCancelled,
    TimerFired,
    TimerSet,
)
from sagas.kernel.failure import Failure
from sagas.kernel.reserved import DEADLINE, START
from sagas.telemetry import Kind, Link, Span, SpanStatus, Why, spans_of, spans_of_history
from sagas.telemetry.episode import TEXT_LIMIT
from sagas.telemetry.trace import traces_of
from tests.telemetry.journeys import Sprint, travel

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CALLER_TRACE, CALLER_SPAN = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
STARTED = RunStarted("sub-1", "run-1", "Subscription", b"", at_ms=1000)
FAILURE = Failure(kind="error", cause_type="OSError", message="nobody answers").row()


@dataclass(frozen=True)
class OneTurn:
    events: tuple[Event, ...]
    run: RunStarted | None = STARTED
    position: int = 7
    trail: Trail = field(default_factory=lambda: Trail(episodes=(Episode(since_ms=1000),)))


def ended(*events: Event, run: RunStarted = STARTED, since_ms: int = 1000, **opened: Beginning) -> list[Span]:
    trail = Trail({int(key.lstrip("n")): each for key, each in opened.items()}, episodes=(Episode(since_ms=since_ms),))
    return spans_of(OneTurn(events, run=run, trail=trail))


def only(event: Event, *, run: RunStarted = STARTED, since_ms: int = 1000, **opened: Beginning) -> Span:
    (span,) = ended(event, run=run, since_ms=since_ms, **opened)
    return span


def of_kind(spans: list[Span], kind: Kind) -> list[Span]:
    return [span for span in spans if span.kind is kind]


def test_a_step_says_who_it_was_and_how_it_went() -> None:
    attempt, step, run, _episode = travel("free")
    assert (step.name, step.kind, step.status, step.error) == ("book", Kind.STEP, SpanStatus.OK, "")
    assert step.attributes == {
        "saga.id": "trip",
        "saga.run_id": run.attributes["saga.run_id"],
        "saga.type": "Journey",
        "saga.kind": "step",
        "saga.episode": 0,
        "saga.step": 2,
        "saga.activity": "book",
        "saga.attempts": 1,
        "saga.outcome": "done",
    }
    assert step.events == ()
    assert (attempt.parent_id, attempt.name, attempt.status) == (step.span_id, "book attempt", SpanStatus.OK)
    assert (attempt.attributes["saga.step"], attempt.attributes["saga.attempt"]) == (2, 1)


def test_every_span_of_an_episode_hangs_below_its_root_in_one_trace() -> None:
    spans = travel("free", "flaky", "full")
    *children, root = spans
    assert (root.kind, root.name, root.parent_id) == (Kind.EPISODE, "Journey", None)
    steps = {span.span_id for span in children if span.kind in (Kind.STEP, Kind.COMPENSATION)}
    for child in children:
        assert (child.parent_id in steps) if child.kind is Kind.ATTEMPT else (child.parent_id == root.span_id)
    assert {span.trace_id for span in spans} == {root.trace_id}
    assert {*Kind} - {span.kind for span in spans} == {Kind.TIMER, Kind.MESSAGE, Kind.OUTGOING, Kind.STANDSTILL}
    assert (root.start_ms, root.end_ms) == (min(s.start_ms for s in spans), max(s.end_ms for s in spans))
    assert (root.status, root.attributes["saga.status"], root.links) == (SpanStatus.ERROR, "failed", ())


def test_each_burst_of_activity_is_a_trace_linked_to_the_first_and_the_one_before() -> None:
    spans = travel("free", "nap", "flaky", "nap", "free")
    roots = of_kind(spans, Kind.EPISODE)
    assert [root.attributes["saga.episode"] for root in roots] == [0, 1, 2]
    assert len({root.trace_id for root in roots}) == 3
    by_why = [{link.why: (link.trace_id, link.span_id) for link in root.links} for root in roots]
    ids = [(root.trace_id, root.span_id) for root in roots]
    assert by_why == [{}, {Why.START: ids[0], Why.PREVIOUS: ids[0]}, {Why.START: ids[0], Why.PREVIOUS: ids[1]}]
    for root in roots:
        inside = [span for span in spans if span.trace_id == root.trace_id]
        assert {span.attributes["saga.episode"] for span in inside} == {root.attributes["saga.episode"]}
        assert all(root.start_ms <= span.start_ms <= span.end_ms <= root.end_ms for span in inside)
        assert root.end_ms - root.start_ms < 10_000, "no burst is as long as the sleeps between them"


def test_the_run_of_several_episodes_has_a_trace_of_its_own_linked_to_both_ends() -> None:
    spans = travel("free", "nap", "free")
    (run,) = of_kind(spans, Kind.RUN)
    first, last = of_kind(spans, Kind.EPISODE)
    assert [span for span in spans if span.trace_id == run.trace_id] == [run]
    assert (run.name, run.parent_id, run.start_ms, run.end_ms) == ("Journey run", None, first.start_ms, last.end_ms)
    assert [(link.why, link.trace_id, link.span_id) for link in run.links] == [
        (Why.START, first.trace_id, first.span_id),
        (Why.END, last.trace_id, last.span_id),
    ]
    assert (last.status, last.attributes["saga.status"]) == (SpanStatus.OK, "completed")
    assert (first.status, "saga.status" in first.attributes) == (SpanStatus.UNSET, False)


def test_the_run_of_one_episode_lies_below_it() -> None:
    spans = travel("free")
    (run,), (root,) = of_kind(spans, Kind.RUN), of_kind(spans, Kind.EPISODE)
    assert (run.trace_id, run.parent_id) == (root.trace_id, root.span_id)


def test_a_continuous_run_is_one_trace_below_the_run() -> None:
    spans = travel("free", "nap", "flaky", "gate", "full", saga_type=Sprint)
    *_, run = spans
    assert (run.kind, run.name, run.parent_id) == (Kind.RUN, "Sprint", None)
    assert {span.trace_id for span in spans} == {run.trace_id}
    assert of_kind(spans, Kind.EPISODE) == []
    assert {span.parent_id for span in spans if span.kind not in (Kind.ATTEMPT, Kind.RUN)} == {run.span_id}
    assert not any("saga.episode" in span.attributes for span in spans)
    assert max(timer.end_ms - timer.start_ms for timer in of_kind(spans, Kind.TIMER)) == 86_400_000


def test_an_episode_has_a_span_once_it_is_over() -> None:
    history = [STARTED, Activated(), SignalReceived("m", "x", b"", at_ms=2000), Activated(at_ms=2000)]
    awake = [*history, StepScheduled(1, "book", b"", at_ms=2000)]
    assert [span.attributes["saga.episode"] for span in of_kind(spans_of_history(history), Kind.EPISODE)] == [0, 1]
    assert [span.attributes["saga.episode"] for span in of_kind(spans_of_history(awake), Kind.EPISODE)] == [0]


def test_senders_are_linked_to_the_episode_they_woke() -> None:
    history = [
        STARTED,
        Activated(at_ms=1000),
        SignalReceived("m-1", "poke", b"", CALLER, at_ms=2000),
        SignalReceived("m-2", "poke", b"", "", at_ms=2000),
        Activated(at_ms=2000),
    ]
    first, *_signals, second = spans_of_history(history)
    assert (first.links, first.kind) == ((), Kind.EPISODE)
    assert [link.why for link in second.links] == [Why.START, Why.PREVIOUS, Why.SENDER]
    assert (second.links[2].trace_id, second.links[2].span_id) == (CALLER_TRACE, CALLER_SPAN)


def test_failed_attempts_are_spans_of_their_own() -> None:
    first, second, step, _run, _episode = travel("flaky")
    assert (step.status, step.attributes["saga.attempts"], step.events) == (SpanStatus.OK, 2, ())
    assert (first.status, first.error, first.attributes["error.type"]) == (
        SpanStatus.ERROR,
        "OSError: nobody answers",
        "OSError",
    )
    (moment,) = first.events
    assert moment.attributes == {"exception.type": "OSError", "exception.message": "nobody answers"}
    assert (second.status, second.attributes["saga.attempt"], second.events) == (SpanStatus.OK, 2, ())
    assert step.start_ms == first.start_ms == first.end_ms < second.start_ms == second.end_ms == step.end_ms


def test_attempts_begin_and_end_when_their_worker_said() -> None:
    scheduled = StepScheduled(3, "book", b"", at_ms=1000)
    errors = ((1, 1500, "OSError", "no", 1400), (2, 2500, "OSError", "no", 0))
    first, second, third, _step = ended(StepCompleted(3, 3, b"", errors, 2800, at_ms=3000), n3=scheduled)
    assert [(each.start_ms, each.end_ms) for each in (first, second, third)] == [
        (1400, 1500),
        (1500, 2500),  # when it began is not known: not before the one before had ended
        (2800, 3000),
    ]


def test_attempts_of_older_histories_are_read() -> None:
    scheduled = StepScheduled(3, "book", b"", at_ms=1000)
    errors = ((1, 1500, "OSError", "no"), (2, 2500, "OSError", "no"))
    first, second, step = ended(StepFailed(3, 2, FAILURE, errors, at_ms=2500), n3=scheduled)
    assert [(each.start_ms, each.end_ms) for each in (first, second)] == [(1000, 1500), (1500, 2500)]
    assert step.status is SpanStatus.ERROR


@pytest.mark.parametrize("started_ms", [1, 900, 10**15])
def test_an_attempt_lies_within_its_step_whatever_its_workers_clock_says(started_ms: int) -> None:
    scheduled = StepScheduled(3, "book", b"", at_ms=1000)
    attempt, step = ended(StepCompleted(3, 1, b"", (), started_ms, at_ms=3000), n3=scheduled)
    assert step.start_ms <= attempt.start_ms <= attempt.end_ms == step.end_ms


def test_a_step_that_failed_without_a_known_attempt_has_its_last_one() -> None:
    attempt, _step = ended(
        StepFailed(3, 4, FAILURE, (), 1200, at_ms=2000), n3=StepScheduled(3, "book", b"", at_ms=1000)
    )
    assert (attempt.attributes["saga.attempt"], attempt.status, attempt.start_ms) == (4, SpanStatus.ERROR, 1200)


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
    made = [span for span in travel(place) if span.kind is Kind.ATTEMPT and span.name == "book attempt"]
    assert [attempt.attributes["saga.attempt"] for attempt in made] == [*range(1, attempts + 1)]
    assert {attempt.status for attempt in made} == {SpanStatus.ERROR}


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
        (Link(trace_id=sticky.trace_id, span_id=sticky.span_id, why=Why.UNDOES),),
        (Link(trace_id=free.trace_id, span_id=free.span_id, why=Why.UNDOES),),
    ]
    assert [undo.attributes["saga.attempts"] for undo in undos] == [2, 1]
    (unwind,) = of_kind(spans, Kind.UNWIND)
    assert str(unwind.attributes["saga.reason"]).startswith("Full: ")
    assert full.end_ms <= unwind.start_ms <= undos[0].start_ms
    assert spans[-1].status is SpanStatus.ERROR


def test_an_undo_links_to_its_step_in_the_trace_of_an_earlier_episode() -> None:
    spans = travel("free", "nap", "free", "nap", "full")
    steps, undos = of_kind(spans, Kind.STEP), of_kind(spans, Kind.COMPENSATION)
    linked = [(undo.links[0].trace_id, undo.links[0].span_id) for undo in undos]
    assert linked == [(step.trace_id, step.span_id) for step in (steps[1], steps[0])]
    assert len({step.trace_id for step in steps} | {undo.trace_id for undo in undos}) == 3


def test_a_parked_run_shows_why_it_stands_still() -> None:
    _attempt, step, parked, episode = travel("free", "typo")
    assert (step.kind, parked.kind, parked.name) == (Kind.STEP, Kind.STANDSTILL, "parked")
    assert (episode.kind, episode.end_ms) == (Kind.EPISODE, parked.end_ms)
    assert parked.status is SpanStatus.ERROR
    assert parked.error == "NameError: name 'hotl' is not defined"


def test_a_timer_lasts_from_set_to_fired_and_tells_its_lag() -> None:
    span = only(TimerFired(4, at_ms=5250), n4=TimerSet(4, 5000, at_ms=1000))
    assert (span.name, span.start_ms, span.end_ms, span.status) == ("timer", 1000, 5250, SpanStatus.UNSET)
    assert (span.attributes["saga.timer"], span.attributes["saga.timer.lag_ms"]) == (4, 250)
    assert span.attributes["saga.timer.delay_ms"] == 4000


def test_a_timer_that_woke_the_run_is_no_longer_than_its_lag() -> None:
    span = only(TimerFired(4, at_ms=86_405_250), n4=TimerSet(4, 86_405_000, at_ms=5000), since_ms=86_405_250)
    assert (span.start_ms, span.end_ms) == (86_405_000, 86_405_250)
    assert (span.attributes["saga.timer.delay_ms"], span.attributes["saga.timer.lag_ms"]) == (86_400_000, 250)


@pytest.mark.parametrize(("since_ms", "begins_ms"), [(1000, 1000), (3000, 3000)])
def test_a_timer_that_was_given_up_says_so(since_ms: int, begins_ms: int) -> None:
    span = only(TimerCancelled(4, at_ms=3500), n4=TimerSet(4, 5000, at_ms=1000), since_ms=since_ms)
    assert (span.start_ms, span.end_ms, span.status) == (begins_ms, 3500, SpanStatus.UNSET)
    assert span.attributes["saga.cancelled"] is True


def test_what_is_open_when_a_run_ends_gets_a_span() -> None:
    history: list[Event] = [
        STARTED,
        Activated(at_ms=1000),
        TimerSet(1, 9000, at_ms=1000),
        StepScheduled(2, "book", b"", at_ms=1000),
        StepCompleted(2, 1, b"", at_ms=1100),
        Activated(at_ms=1100),
        CompensationScheduled(3, "release", b"", 2, 4, at_ms=1100),
        StepScheduled(5, "book", b"", at_ms=1100),
        MessageSent(6, "other", SIGNAL, "poke", b"", at_ms=1100),
        RunTerminated("enough", at_ms=2000),
    ]
    _attempt, _book, undo, step, timer, message, run, episode = spans_of_history(history)
    assert [undo.kind, step.kind, timer.kind, message.kind, run.kind, episode.kind] == [
        Kind.COMPENSATION,
        Kind.STEP,
        Kind.TIMER,
        Kind.OUTGOING,
        Kind.RUN,
        Kind.EPISODE,
    ]
    for left in (undo, step, timer):
        assert (left.status, left.end_ms, left.attributes["saga.cancelled"]) == (SpanStatus.UNSET, 2000, True)
    assert undo.links[0].span_id == _book.span_id
    assert (message.status, "saga.cancelled" in message.attributes) == (SpanStatus.UNSET, False)


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (MessageDelivered(6, at_ms=1200), SpanStatus.OK, ""),
        (MessageRefused(6, CLOSED, "completed", at_ms=1200), SpanStatus.ERROR, "closed completed"),
    ],
)
def test_a_message_to_another_instance_lasts_until_it_is_answered(
    answer: Event, status: SpanStatus, error: str
) -> None:
    span = only(answer, n6=MessageSent(6, "other", SIGNAL, "poke", b"", at_ms=1100))
    assert (span.name, span.start_ms, span.end_ms) == ("send signal poke", 1100, 1200)
    assert (span.status, span.error) == (status, error)
    assert (span.attributes["saga.target"], span.attributes["saga.signal"]) == ("other", "poke")


def test_a_signal_is_an_instant_linked_to_its_sender() -> None:
    span = only(SignalReceived("m-1", "cancel", b"", CALLER, at_ms=2000))
    assert (span.name, span.start_ms, span.end_ms) == ("signal cancel", 2000, 2000)
    assert span.links == (Link(trace_id=CALLER_TRACE, span_id=CALLER_SPAN, why=Why.SENDER),)
    assert span.attributes["saga.signal"] == "cancel"
    assert span.attributes["saga.message_id"] == "m-1"
    assert only(SignalReceived("m-2", "cancel", b"", at_ms=2000)).links == ()


def test_two_signals_of_one_name_are_two_spans() -> None:
    first, second = ended(SignalReceived("m-1", "a", b""), SignalReceived("m-2", "a", b""))
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
    root = only(event, run=replace(STARTED, trace_mode=CONTINUOUS))
    assert (root.kind, root.start_ms, root.end_ms) == (Kind.RUN, 1000, 9000)
    assert (root.attributes["saga.status"], root.status, root.error) == (said, status, error)


def test_the_last_episode_tells_it_too() -> None:
    *_, run, episode = spans_of_history([STARTED, RunTerminated("enough", at_ms=9000)])
    assert (run.status, run.error, run.attributes["saga.status"]) == (SpanStatus.ERROR, "enough", "terminated")
    assert (episode.status, episode.error) == (run.status, run.error)
    assert episode.attributes["saga.status"] == "terminated"


@pytest.mark.parametrize("mode", ["episodes", "continuous"])
def test_a_run_started_within_a_trace_continues_it(mode: str) -> None:
    run = RunStarted("sub-1", "run-1", "Subscription", b"", {}, CALLER, trace_mode=mode, at_ms=1000)
    history = [run, SignalReceived("m", "x", b"", at_ms=1000), Activated(), RunCompleted(b"", at_ms=1000)]
    spans = spans_of_history(history)
    signal, root = spans[0], spans[-1]
    assert (root.trace_id, root.parent_id, root.remote_parent) == (CALLER_TRACE, CALLER_SPAN, True)
    assert (signal.trace_id, signal.parent_id, signal.remote_parent) == (CALLER_TRACE, root.span_id, False)


def test_only_the_first_episode_is_the_callers_child() -> None:
    run = RunStarted("sub-1", "run-1", "Subscription", b"", {}, CALLER, at_ms=1000)
    history = [run, Activated(), SignalReceived("m", "x", b"", at_ms=2000), Activated(at_ms=2000)]
    first, _signal, second = spans_of_history(history)
    assert (first.trace_id, first.parent_id) == (CALLER_TRACE, CALLER_SPAN)
    assert (second.trace_id, second.parent_id) == (traces_of(run).trace_id(1), None)
    assert second.links[0].trace_id == CALLER_TRACE


def test_a_damaged_traceparent_is_no_caller() -> None:
    run = RunStarted("sub-1", "run-1", "Subscription", b"", {}, CALLER[:-1], at_ms=1000)
    assert ended(RunCompleted(b""), run=run) == ended(RunCompleted(b""))


def test_long_errors_are_cut() -> None:
    errors = ((1, 2000, "OSError", "y" * 100_000),)
    event = StepFailed(3, 1, Failure(kind="error", cause_type="OSError", message="x" * 100_000).row(), errors)
    attempt, step = ended(event, n3=StepScheduled(3, "book", b""))
    assert len(step.error) == len(attempt.error) == len(str(attempt.events[0].attributes["exception.message"]))
    assert len(step.error) == TEXT_LIMIT


def test_a_turn_of_no_run_has_no_spans() -> None:
    assert spans_of(OneTurn((), run=None)) == []


def test_an_empty_history_has_no_spans() -> None:
    assert spans_of_history([]) == []


def test_a_history_without_its_beginning_is_refused() -> None:
    with pytest.raises(HistoryError, match="begins with RunStarted"):
        spans_of_history([Parked("x")])


def test_the_timeout_of_a_saga_is_no_timer_of_its_code() -> None:
    deadline = TimerSet(DEADLINE, 5000, at_ms=1000)
    span = only(TimerFired(DEADLINE, at_ms=5010), since_ms=4000, n0=deadline)
    assert (span.kind, span.name, span.start_ms, span.end_ms) == (Kind.TIMER, "saga timeout", 5000, 5010)
    delay = TimerSet(START, 5000, at_ms=1000)
    assert only(TimerFired(START, at_ms=5010), since_ms=4000, **{"n-1": delay}).name == "start delay"
