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
from sagas.telemetry import spans_of_history
from sagas.testing import Environment
from tests.telemetry.journeys import PLACES, Journey, book, recorded

ENDS = {
    "StepCompleted": "step",
    "StepFailed": "step",
    "CompensationStarted": "unwind",
    "CompensationCompleted": "compensation",
    "CompensationFailed": "compensation",
    "TimerFired": "timer",
    "SignalReceived": "message",
    "SignalDeadLettered": "message",
    "CancelRequested": "message",
    "Parked": "standstill",
    "Paused": "standstill",
    "Resumed": "standstill",
    "RunCompleted": "run",
    "RunFailed": "run",
    "RunCancelled": "run",
    "RunTimedOut": "run",
    "RunTerminated": "run",
}
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


def expected_kinds(history: Sequence[Event]) -> list[str]:
    return [ENDS[name] for event in history if (name := type(event).__name__) in ENDS]


@settings(max_examples=60, deadline=None)
@given(
    plan=st.lists(st.sampled_from(PLACES), max_size=5),
    moves=st.lists(st.sampled_from(MOVES), max_size=5),
    residents=st.sampled_from([0, 1000]),
)
def test_live_spans_are_those_of_the_history(plan: list[str], moves: list[str], residents: int) -> None:
    async def scenario() -> None:
        async with recorded(residents) as (env, recorder):
            handle = await env.client.start(Journey, plan, id="trip")
            await env.settle()
            for move in (*moves, "wait", "terminate"):
                try:
                    await make(move, env, handle)
                except SagaClosed:
                    break
                await env.settle()
                live, history = recorder.of("trip"), await handle.history()
                assert live == spans_of_history(history)
                assert [span.kind.value for span in live] == expected_kinds(history)
                assert max(Counter(span.span_id for span in live).values(), default=1) == 1
                assert all(span.start_ms <= span.end_ms for span in live)

    asyncio.run(scenario())


def test_every_kind_of_event_but_a_beginning_ends_a_span() -> None:
    """A new event must be given a span, or a place here that says why it has none."""
    beginnings = {"RunStarted", "StepScheduled", "CompensationScheduled", "TimerSet"}
    inner = {"Activated", "StepCancelRequested", "CompensationEnded"}
    unseen = {"TimerCancelled"}  # no turn tells when a timer that was given up had been set
    kinds = {kind.__name__ for base in Event.__subclasses__() for kind in base.__subclasses__()}
    assert kinds == set(ENDS) | beginnings | inner | unseen


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
            step, run = recorder.spans
            assert step.attributes["saga.attempts"] == 2
            assert [moment.attributes["exception.type"] for moment in step.events] == ["WorkerLost"]
            assert run.start_ms <= step.start_ms < step.end_ms <= run.end_ms

    asyncio.run(scenario())
