"""``patched``: runs that began before a change replay the old way, all others go the new one, whatever is reloaded."""

from __future__ import annotations

from typing import Any

import pytest

import sagas
from sagas import InvalidArgument, activity, patched, query, saga
from sagas.errors import NondeterminismError, QueryFailed
from sagas.kernel.events import Patched
from sagas.kernel.instance import Instance
from sagas.kernel.saga import SagaType, saga_type_of
from tests.kernel.driver import Run, kinds


@activity
async def old(n: int) -> str:
    return f"old {n}"


@activity
async def new(n: int) -> str:
    return f"new {n}"


@activity
async def other() -> None: ...


@saga(name="flow")
async def before() -> list[str]:
    return [await old(n) for n in range(3)]


@saga(name="flow")
async def after() -> list[str]:
    return [await (new if patched("better") else old)(n) for n in range(3)]


@saga(name="flow")
async def when_all_are_new() -> list[str]:
    return [await new(n) for n in range(3)]


@saga(name="flow")
async def with_another_change() -> list[str]:
    if patched("even better"):
        await other()
    return [await (new if patched("better") else old)(n) for n in range(3)]


def to_the_end(run: Run) -> list[str]:
    while run.end is None:
        run.give(run.done(run.steps()[-1]))
    return run.steps()


def change(run: Run, to: Any) -> SagaType:
    """Its host has other code from now on, and rebuilds it."""
    run.type = saga_type_of(to)
    run.record()
    return run.type


@pytest.mark.parametrize("done", range(3))
def test_a_run_that_is_past_the_place_takes_the_old_branch_to_its_end(done: int) -> None:
    run = Run(before)
    run.start()
    for _ in range(done):
        run.give(run.done("old"))
    change(run, after)
    assert to_the_end(run) == ["old"] * 3
    assert "Patched" not in kinds(run.history)


def test_a_new_run_takes_the_new_branch_and_is_marked_once() -> None:
    run = Run(after)
    assert kinds(run.start()) == ["Patched", "StepScheduled"]
    assert to_the_end(run) == ["new"] * 3
    assert [event.change_id for event in run.history if isinstance(event, Patched)] == ["better"]


def test_a_run_that_has_not_come_to_the_place_takes_the_new_branch() -> None:
    @saga(name="late")
    async def late_before() -> str:
        await other()
        return await old(0)

    @saga(name="late")
    async def late_after() -> str:
        await other()
        return await (new if patched("better") else old)(0)

    run = Run(late_before)
    run.start()
    change(run, late_after)
    assert kinds(run.give(run.done("other"))) == ["Patched", "StepScheduled"]
    assert to_the_end(run) == ["other", "new"]


def test_the_mark_outlives_the_call() -> None:
    run = Run(after)
    run.start()
    change(run, when_all_are_new)
    assert to_the_end(run) == ["new"] * 3


def test_a_mark_alone_in_its_activation_outlives_the_call() -> None:
    @saga(name="alone")
    async def asks() -> bool:
        await sagas.sleep(1)
        answer = patched("better")
        await sagas.wait_until(lambda: False)
        return answer

    @saga(name="alone")
    async def asks_no_more() -> None:
        await sagas.sleep(1)
        await sagas.wait_until(lambda: False)

    run = Run(asks)
    run.start()
    run.give(run.fired(), after_ms=1000)
    change(run, asks_no_more)


def test_one_change_is_no_other() -> None:
    run = Run(after)
    run.start()
    run.give(run.done("new"))
    change(run, with_another_change)
    assert to_the_end(run) == ["new"] * 3
    fresh = Run(with_another_change)
    fresh.start()
    change(fresh, with_another_change)
    assert to_the_end(fresh) == ["other", "new", "new", "new"]


def test_a_host_with_the_old_code_is_told_that_they_part() -> None:
    run = Run(after)
    run.start()
    with pytest.raises(NondeterminismError, match="new"):
        Instance.replay(saga_type_of(before), run.history)


def test_a_query_may_ask_for_what_was_answered_alone() -> None:
    @saga
    class Asked:
        async def run(self) -> None:
            patched("known")
            await other()

        @query
        def is_patched(self, change_id: str) -> bool:
            return patched(change_id)

    run = Run(Asked)
    run.start()
    assert run.ask(Asked.is_patched, "known") is True
    with pytest.raises(QueryFailed, match="may only read"):
        run.ask(Asked.is_patched, "unknown")


@pytest.mark.parametrize("change_id", ["", 5, None])
def test_a_change_has_a_name(change_id: Any) -> None:
    @saga
    async def unnamed() -> str:
        with pytest.raises(InvalidArgument, match="named"):
            patched(change_id)
        return "refused"

    run = Run(unnamed)
    run.start()
    assert run.result == "refused"
