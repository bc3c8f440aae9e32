"""A scope in a run: what is recorded, in which order, and what a cancel, a bug or a crash in the middle leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from compensations import Outcome
from sagas import Rejected, activity, compensating, saga
from sagas.errors import DefinitionError
from sagas.kernel.events import (
    CompensationScheduled,
    CompensationStarted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    StepScheduled,
)
from sagas.kernel.instance import Instance
from sagas.kernel.scope import Scope
from tests.kernel.driver import Run, kinds


@activity
async def hotel(name: str) -> str:
    return f"room at {name}"


@hotel.compensation
async def free_hotel(room: str | None, name: str) -> None: ...


@activity
async def car(name: str) -> str:
    return f"a {name}"


@car.compensation
async def free_car(key: str | None, name: str) -> None: ...


@activity
async def mail(text: str) -> None: ...


@activity
async def unmail(text: str) -> None: ...


@saga
async def trip() -> None:
    async with compensating():
        await hotel("Ritz")
        await car("Fiat")
        await mail("bon voyage")


def undos(run: Run) -> list[tuple[str, list[Any], int]]:
    """(activity, its arguments, step it undoes) of every undo, in order."""
    return [
        (each.activity, list(UNDOS[each.activity].signature.decode(each.args)[0]), each.undo_of)
        for each in run.history
        if isinstance(each, CompensationScheduled)
    ]


UNDOS: dict[str, Any] = {"free_hotel": free_hotel, "free_car": free_car, "unmail": unmail}


def test_a_step_joins_its_scope_in_the_decision_that_schedules_it() -> None:
    run = Run(trip)
    (step,) = run.start()
    assert isinstance(step, StepScheduled)
    assert (step.step, step.scope) == (2, 1)


def test_what_failed_is_undone_newest_first_with_results_and_arguments() -> None:
    run = Run(trip)
    run.start()
    run.give(run.done("hotel", "room 7"))
    run.give(run.done("car", "key 9"))
    decisions = run.give(run.failed("mail", Rejected("no")))
    assert kinds(decisions) == ["CompensationStarted", "CompensationScheduled"]
    assert decisions[0] == CompensationStarted(1, "Rejected: no", at_ms=run.now_ms)
    run.give(run.done("free_car"))
    assert kinds(run.give(run.done("free_hotel"))) == ["CompensationEnded", "RunFailed"]
    assert undos(run) == [("free_car", ["key 9", "Fiat"], 3), ("free_hotel", ["room 7", "Ritz"], 2)]


def test_a_refused_step_is_not_undone_and_one_of_unknown_outcome_is_with_none() -> None:
    refused, unknown = Run(trip), Run(trip)
    for run in (refused, unknown):
        run.start()
        run.give(run.done("hotel", "room 7"))
    refused.give(refused.failed("car", Rejected("sold out")))
    unknown.give(unknown.failed("car", ConnectionError("lost")))
    assert undos(refused) == [("free_hotel", ["room 7", "Ritz"], 2)]
    assert undos(unknown) == [("free_car", [None, "Fiat"], 3)]


def test_an_undo_is_rebuilt_at_every_point_with_the_same_arguments() -> None:
    run = Run(trip)
    run.start()
    facts = [
        lambda: run.done("hotel", "room 7"),
        lambda: run.done("car", "key 9"),
        lambda: run.failed("mail", ValueError("no")),
        lambda: run.done("free_car"),
        lambda: run.done("free_hotel"),
    ]
    for fact in facts:
        run.instance.evict()
        run.instance = Instance.replay(run.type, run.history)
        run.give(fact())
    assert undos(run) == [("free_car", ["key 9", "Fiat"], 3), ("free_hotel", ["room 7", "Ritz"], 2)]
    assert isinstance(run.end, RunFailed)


def test_a_block_that_ends_well_undoes_nothing() -> None:
    run = Run(trip)
    run.start()
    for name in ("hotel", "car", "mail"):
        run.give(run.done(name))
    assert isinstance(run.end, RunCompleted)
    assert undos(run) == []


def test_a_bug_parks_before_any_undo() -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await hotel("Ritz")
            raise KeyError("bug")

    run = Run(flow)
    run.start()
    assert run.give(run.done("hotel")) == []
    assert run.park == "KeyError: 'bug'"


def test_open_steps_are_cancelled_and_settled_before_the_first_undo() -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await asyncio.gather(hotel("Ritz"), car("Fiat"), mail("x"))

    run = Run(flow)
    run.start()
    assert kinds(run.give(run.failed("mail", ValueError("no")))) == ["StepCancelRequested", "StepCancelRequested"]
    assert run.give(run.withdrawn("hotel", Outcome.NONE)) == []
    assert kinds(run.give(run.done("car", "key"))) == ["CompensationStarted", "CompensationScheduled"]
    assert undos(run) == [("free_car", ["key", "Fiat"], 3)]


def test_a_task_that_goes_on_while_the_scope_settles_is_settled_and_undone_too() -> None:
    @saga
    async def flow() -> None:
        async def background() -> None:
            await hotel("first")
            await hotel("second")

        async with compensating():
            task = asyncio.create_task(background())
            other = asyncio.create_task(car("Fiat"))
            await mail("x")
            del task, other

    run = Run(flow)
    run.start()
    run.give(run.failed("mail", ValueError("no")))
    run.give(run.done("hotel", "room 1"))  # it had happened already: the background goes on to its next step
    run.give(run.withdrawn("car", Outcome.NONE))
    while not run.end:
        open_steps = sorted(run.instance.state.steps.values(), key=lambda step: step.step)
        run.give(run.done(open_steps[0].activity, "room 2"))
    done = [step.step for step in run.history if isinstance(step, StepScheduled) and step.activity == "hotel"]
    assert sorted(undo_of for _, _, undo_of in undos(run)) == sorted(done)
    assert isinstance(run.end, RunFailed)


def test_a_cancel_undoes_and_a_second_one_does_not_interrupt_it() -> None:
    run = Run(trip)
    run.start()
    run.give(run.done("hotel", "room 7"))
    run.give(run.cancel("first"))
    run.give(run.withdrawn("car", Outcome.UNKNOWN))
    assert run.give(run.cancel("second")) == []
    run.give(run.done("free_car"))
    run.give(run.done("free_hotel"))
    assert run.end == RunCancelled("first", at_ms=run.now_ms)


def test_a_cancel_while_undoing_leaves_the_first_error_in_its_place() -> None:
    run = Run(trip)
    run.start()
    run.give(run.done("hotel", "room 7"))
    run.give(run.failed("car", Rejected("sold out")))
    run.give(run.cancel("late"))
    run.give(run.done("free_hotel"))
    assert isinstance(run.end, RunFailed)
    assert run.end.failure[1] == "Rejected"


def test_a_cancel_while_undoing_is_not_lost_when_the_error_is_caught() -> None:
    @saga
    async def flow() -> str:
        try:
            async with compensating():
                await hotel("Ritz")
                raise ValueError("no")
        except ValueError:
            await mail("sorry")
        return "went on"

    run = Run(flow)
    run.start()
    run.give(run.done("hotel"))
    run.give(run.cancel("late"))
    run.give(run.done("free_hotel"))
    assert run.end == RunCancelled("late", at_ms=run.now_ms)


def test_a_cancel_while_a_block_waits_for_its_last_steps_comes_into_the_block() -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            task = asyncio.create_task(hotel("Ritz"))
            await asyncio.sleep(0)
            del task

    run = Run(flow)
    run.start()
    assert kinds(run.give(run.cancel("now"))) == ["StepCancelRequested"]
    run.give(run.done("hotel", "room 7"))
    assert undos(run) == [("free_hotel", ["room 7", "Ritz"], 2)]
    run.give(run.done("free_hotel"))
    assert isinstance(run.end, RunCancelled)


def test_a_timeout_around_a_block_undoes_and_raises_as_ever() -> None:
    @saga
    async def flow() -> str:
        try:
            async with asyncio.timeout(10), compensating():
                await hotel("Ritz")
                await car("Fiat")
        except TimeoutError:
            return "too late"
        return "in time"

    run = Run(flow)
    run.start()
    run.give(run.done("hotel", "room 7"))
    run.give(run.fired(), after_ms=10_000)
    run.give(run.withdrawn("car", Outcome.NONE))
    assert undos(run) == [("free_hotel", ["room 7", "Ritz"], 3)]
    run.give(run.done("free_hotel"))
    assert run.result == "too late"


def test_parallel_undoes_all_at_once_and_waits_for_all() -> None:
    @saga
    async def flow() -> None:
        async with compensating(parallel=True):
            await hotel("Ritz")
            await car("Fiat")
            raise ValueError("no")

    run = Run(flow)
    run.start()
    run.give(run.done("hotel"))
    assert kinds(run.give(run.done("car"))) == ["CompensationStarted", "CompensationScheduled", "CompensationScheduled"]
    assert run.give(run.done("free_hotel")) == []
    assert kinds(run.give(run.done("free_car"))) == ["CompensationEnded", "RunFailed"]


def test_an_inner_block_that_closed_well_is_undone_by_the_outer_one_in_order() -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await hotel("outer")
            async with compensating():
                await car("inner")
            await hotel("after")
            raise ValueError("no")

    run = Run(flow)
    run.start()
    run.give(run.done("hotel", "1"))
    run.give(run.done("car", "2"))
    run.give(run.done("hotel", "3"))
    for name in ("free_hotel", "free_car", "free_hotel"):
        run.give(run.done(name))
    assert [args for _, args, _ in undos(run)] == [["3", "after"], ["2", "inner"], ["1", "outer"]]


def test_an_undo_that_gave_up_is_stuck_and_the_older_ones_wait() -> None:
    run = Run(trip)
    run.start()
    run.give(run.done("hotel"))
    run.give(run.done("car"))
    run.give(run.failed("mail", ValueError("no")))
    assert run.give(run.failed("free_car", OSError("down"))) == []
    assert run.instance.state.compensation == "stuck"
    assert run.end is None


def test_a_caught_unknown_step_is_undone_at_the_close_unless_kept() -> None:
    @saga
    async def flow(keep: bool) -> None:
        async with compensating() as undo:
            call = hotel("Ritz")
            try:
                await call
            except Exception:
                if keep:
                    undo.keep(call)

    for keep in (True, False):
        run = Run(flow, keep)
        run.start()
        run.give(run.failed("hotel", ValueError("lost")))
        if not keep:
            run.give(run.done("free_hotel"))
        assert isinstance(run.end, RunCompleted)
        assert bool(undos(run)) is not keep


def test_an_undo_by_hand_that_cannot_be_encoded_is_not_in_the_plan() -> None:
    @saga
    async def flow() -> None:
        async with compensating() as undo:
            undo.add(unmail, "first")
            try:
                undo.add(unmail, object())  # type: ignore[arg-type]
            except Exception:
                await mail("went on")
            raise ValueError("no")

    run = Run(flow)
    run.start()
    run.give(run.done("mail"))
    run.give(run.done("unmail"))
    assert [args for _, args, _ in undos(run)] == [["first"]]
    assert isinstance(run.end, RunFailed)


def test_back_to_a_savepoint_undoes_what_came_since() -> None:
    @saga
    async def flow() -> str:
        async with compensating() as undo:
            await hotel("kept")
            here = undo.savepoint()
            await hotel("given up")
            await undo.back_to(here)
            await car("instead")
        return "done"

    run = Run(flow)
    run.start()
    run.give(run.done("hotel", "1"))
    run.give(run.done("hotel", "2"))
    run.give(run.done("free_hotel"))
    run.give(run.done("car", "3"))
    assert run.result == "done"
    assert [args for _, args, _ in undos(run)] == [["2", "given up"]]


def test_a_compensatable_step_after_the_pivot_parks() -> None:
    @saga
    async def flow() -> None:
        async with compensating() as undo:
            undo.pivot()
            await hotel("too late")

    run = Run(flow)
    run.start()
    assert run.park.startswith(DefinitionError.__name__)
    assert "pivot" in run.park


@pytest.mark.parametrize("call", [Scope.pivot, Scope.savepoint, lambda undo: undo.add(unmail, "x")])
def test_a_block_that_has_ended_takes_nothing_more(call: Any) -> None:
    @saga
    async def flow() -> None:
        async with compensating() as undo:
            await mail("x")
        call(undo)

    run = Run(flow)
    run.start()
    run.give(run.done("mail"))
    assert run.park.startswith(DefinitionError.__name__)
