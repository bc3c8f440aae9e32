"""The law of the projection: the spans emitted live are those of the history, whatever happened to the host."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

import sagas
from sagas.errors import SagaClosed
from sagas.kernel.events import Event
from sagas.telemetry import Kind, Span, WholeHistory, spans_of, spans_of_history
from sagas.testing import Environment
from tests.telemetry.coverage import INSTANTS, due, unspanned
from tests.telemetry.journeys import PLACES, Journey, Sprint, book, recorded

MOVES = ("nudge", "unknown signal", "wait", "pause", "resume", "cancel", "terminate", "restart")


async def make(move: str, env: Environment, handle: sagas.Handle[int]) -> None:
    match move:
        case "nudge":
            await handle.signal(Journey.nudge)
        case "unknown signal":
            await handle.signal("nobody")
        case "wait":
            await env.advance(minutes=45)
        case "pause":
            await handle.pause("operator")
        case "resume":
            await handle.resume("operator")
        case "cancel":
            await handle.cancel("changed my mind")
        case "terminate":
            await handle.terminate("enough")
        case "restart":
            await env.restart()


def assert_sound(history: Sequence[Event], spans: Sequence[Span]) -> None:
    """What holds of the spans of every run."""
    assert unspanned(history, spans) == []
    assert max(Counter(span.span_id for span in spans).values(), default=1) == 1
    assert all(span.start_ms <= span.end_ms for span in spans)
    by_id = {span.span_id: span for span in spans}
    for span in spans:
        if span.kind is Kind.ATTEMPT:
            step = by_id[span.parent_id or 0]
            assert step.start_ms <= span.start_ms <= span.end_ms <= step.end_ms
        above = by_id.get(span.parent_id or 0)
        assert above is None or above.trace_id == span.trace_id
        assert all(link.trace_id == by_id[link.span_id].trace_id for link in span.links if link.span_id in by_id)


@settings(max_examples=60, deadline=None)
@given(
    plan=st.lists(st.sampled_from(PLACES), max_size=5),
    moves=st.lists(st.sampled_from(MOVES), max_size=5),
    residents=st.sampled_from([0, 1000]),
    saga_type=st.sampled_from([Journey, Sprint]),
)
def test_live_spans_are_those_of_the_history(
    plan: list[str], moves: list[str], residents: int, saga_type: type[Journey]
) -> None:
    async def scenario() -> None:
        async with recorded(residents) as (env, recorder):
            handle = await env.client.start(saga_type, plan, id="trip")
            await env.settle()
            for move in (*moves, "wait", "terminate"):
                try:
                    await make(move, env, handle)
                except SagaClosed:
                    break
                await env.settle()
                live, history = recorder.of("trip"), await handle.history()
                assert live == spans_of_history(history)
                assert_sound(history, live)
            live, history = recorder.of("trip"), await handle.history()
            turns = [turn for turn in recorder.turns if turn.run is not None and turn.run.id == "trip"]
            starts = {turn.position for turn in turns}
            for start in starts:  # what a new owner exports from a mark on
                rest = spans_of(WholeHistory.of(history, start))
                assert rest == live[len(live) - len(rest) :]
                before = [span for turn in turns if turn.position < start for span in spans_of(turn)]
                assert live == before + rest

    asyncio.run(scenario())


def test_every_kind_of_event_has_a_span_of_its_own_or_lies_in_its_episodes() -> None:
    """A new event must be given a span, or a place here that says why it has none."""
    beginnings = {"StepScheduled", "CompensationScheduled", "TimerSet", "MessageSent", "ChildScheduled"}
    ends = {"StepCompleted", "StepFailed", "CompensationCompleted", "CompensationFailed", "TimerFired"}
    ends |= {"TimerCancelled", "MessageDelivered", "MessageRefused", "ChildStarted", "ChildRefused"}
    instants = {kind.__name__ for kind in INSTANTS}
    run = {"RunStarted", "RunCompleted", "RunFailed", "RunCancelled", "RunTimedOut", "RunTerminated"}
    run |= {"RunContinued"}
    inner = {
        "Activated",
        "StepCancelRequested",
        "CompensationEnded",
        "AttributesSet",
        "Patched",
    }  # the episode's span tells of them
    kinds = {kind.__name__ for base in Event.__subclasses__() for kind in base.__subclasses__()}
    assert kinds == beginnings | ends | instants | run | inner


def test_a_span_that_did_not_arrive_is_missed() -> None:
    async def scenario() -> None:
        async with recorded() as (env, recorder):
            handle = await env.client.start(Journey, ["flaky", "nap", "full"], id="trip")
            await env.advance(days=2)
            history = await handle.history()
            for span in recorder.spans:
                others = [each for each in recorder.spans if each is not span]
                missed = unspanned(history, others)
                assert missed, f"nobody misses {span}"
            assert all(expected for _, expected in due(history))

    asyncio.run(scenario())


def test_a_journey_of_many_turns_is_the_same_with_and_without_residents() -> None:
    def shape(residents: int) -> list[tuple[str, int, int]]:
        async def scenario() -> list[tuple[str, int, int]]:
            async with recorded(residents) as (env, recorder):
                handle = await env.client.start(Journey, ["free", "nap", "gate", "pair", "full"], id="trip")
                await env.advance(days=2)
                assert (await handle.describe()).status is sagas.Status.FAILED
                return [(span.name, span.start_ms, span.end_ms) for span in recorder.spans]

        return asyncio.run(scenario())

    assert shape(1000) == shape(0)


def test_spans_go_on_after_a_crash_while_a_step_runs() -> None:
    entered = asyncio.Event()

    async def first_hangs(place: str) -> str:
        if sagas.step().attempt == 1:
            entered.set()
            await asyncio.Event().wait()
        return place

    async def scenario() -> None:
        async with recorded() as (env, recorder):
            env.replace(book, first_hangs)
            handle = await env.client.start(Journey, ["free"], id="trip")
            await entered.wait()
            await env.restart()
            assert await handle.result() == 1
            assert recorder.spans == spans_of_history(await handle.history())
            lost, second, step, run, episode = recorder.spans
            assert [span.kind for span in (lost, second)] == [Kind.ATTEMPT, Kind.ATTEMPT]
            assert (lost.attributes["error.type"], lost.start_ms) == ("WorkerLost", step.start_ms)
            assert second.start_ms >= lost.end_ms
            assert step.attributes["saga.attempts"] == 2
            assert run.start_ms <= step.start_ms < step.end_ms <= run.end_ms == episode.end_ms

    asyncio.run(scenario())
