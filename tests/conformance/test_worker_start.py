"""@on_worker_start: what activities need is there before the first attempt, and is left when their process stops."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

import pytest

import sagas
from sagas import Retry, activity, saga
from sagas.engine import readiness
from sagas.kernel.worker_start import worker_starts
from tests.conformance.world import PATIENCE_S, World, run

SHOP = "conformance_shop"
"""Whose contexts these are: no other test's process has this module."""


@pytest.fixture(autouse=True)
def _declared() -> Iterator[None]:
    before = list(worker_starts)
    yield
    worker_starts[:] = before


def declare(function: Any) -> Any:
    function.__module__ = SHOP
    return sagas.on_worker_start(function)


def activity_of_the_shop(function: Any, **options: Any) -> Any:
    function.__module__ = SHOP
    return activity(retry=Retry(max_attempts=1), **options)(function)


@pytest.mark.parametrize("local", [False, True])
def test_contexts_are_entered_in_order_before_the_first_attempt_and_left_in_reverse(world: World, local: bool) -> None:
    diary: list[str] = []

    @declare
    async def first() -> AsyncIterator[None]:
        diary.append("enter first")
        yield
        diary.append("leave first")

    @declare
    @contextlib.asynccontextmanager
    async def second() -> AsyncIterator[None]:
        diary.append("enter second")
        yield
        diary.append("leave second")

    async def work() -> None:
        diary.append("work")

    step = activity_of_the_shop(work, local=local)

    @saga
    async def flow() -> None:
        await step()
        await step()

    async def scenario() -> None:
        assert diary == []
        await world.client.execute(flow, id="flow")

    world.run(scenario)
    assert diary == ["enter first", "enter second", "work", "work", "leave second", "leave first"]


def test_what_a_context_sets_reaches_coroutines_and_threads(world: World) -> None:
    pool: contextvars.ContextVar[str] = contextvars.ContextVar("pool")

    @declare
    async def pools() -> AsyncIterator[None]:
        pool.set("of this process")
        yield

    async def on_the_loop() -> str:
        return pool.get()

    def in_a_thread() -> str:
        return pool.get()

    steps = [activity_of_the_shop(on_the_loop), activity_of_the_shop(in_a_thread)]

    @saga
    async def flow() -> list[str]:
        return [await step() for step in steps]

    async def scenario() -> None:
        assert await world.client.execute(flow, id="flow") == ["of this process"] * 2

    world.run(scenario)


def test_one_task_enters_and_leaves_so_that_timeouts_and_task_groups_work(world: World) -> None:
    left: list[bool] = []

    @declare
    async def group() -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(PATIENCE_S):
            beating = tasks.create_task(asyncio.sleep(PATIENCE_S))
            yield
            beating.cancel()
        left.append(True)

    async def work() -> int:
        return 7

    step = activity_of_the_shop(work)

    @saga
    async def flow() -> int:
        return await step()

    async def scenario() -> None:
        assert await world.client.execute(flow, id="flow") == 7

    world.run(scenario)
    assert left == [True]


def test_one_that_fails_is_named_and_tried_again_while_steps_wait(
    everywhere: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "_BACK_OFF_S", (0.01,))
    tries: list[int] = []

    @declare
    async def database() -> AsyncIterator[None]:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionRefusedError("port 5432")
        yield

    async def work() -> int:
        return len(tries)

    step = activity_of_the_shop(work)

    @saga
    async def flow() -> int:
        return await step()

    async def scenario() -> None:
        handle = await everywhere.client.start(flow, id="flow")
        assert await handle.result() == 3
        scheduled = [each for each in await handle.history() if type(each).__name__ == "StepCompleted"]
        assert [each.attempt for each in scheduled] == [1]  # the step has not failed: it had not begun

    with caplog.at_level(logging.WARNING, "sagas.engine"):
        everywhere.run(scenario)
    assert "'database' of conformance_shop raised ConnectionRefusedError: port 5432" in caplog.text


def test_a_step_that_waits_for_a_context_can_be_cancelled_and_timed_out(timed: World) -> None:
    came: list[int] = []

    @declare
    async def never() -> AsyncIterator[None]:
        came.append(1)
        await asyncio.Event().wait()
        yield

    async def work() -> None:
        came.append(2)

    step = activity_of_the_shop(work)

    @saga
    async def flow() -> str:
        try:
            await step.options(queue_timeout=5)()
        except sagas.ActivityTimeout as error:
            return f"{error.kind} {error.outcome.value}"
        return "done"

    @saga
    async def waits() -> None:
        async with sagas.compensating():
            await step()

    async def scenario() -> None:
        assert await timed.client.execute(flow, id="flow") == f"queue {sagas.Outcome.NONE.value}"
        handle = await timed.client.start(waits, id="waits")
        await timed.until_event(handle, "StepScheduled")
        await handle.cancel()
        with pytest.raises(sagas.SagaCancelled):
            await handle.result()
        assert came == [1]

    timed.run(scenario)


def test_contexts_of_modules_that_are_not_used_stay_out() -> None:
    entered: list[str] = []

    @declare
    async def pools() -> AsyncIterator[None]:
        entered.append("shop")
        yield

    async def elsewhere() -> AsyncIterator[None]:
        entered.append("elsewhere")
        yield

    elsewhere.__module__ = "conformance_elsewhere"
    sagas.on_worker_start(elsewhere)

    async def work() -> int:
        return len(entered)

    module = ModuleType("conformance_flows")  # knows the shop only by what it has imported from there
    module.work = activity_of_the_shop(work)  # type: ignore[attr-defined]

    @saga
    async def flow() -> int:
        return await module.work()

    async def scenario() -> None:
        async with sagas.embedded(modules=[module]) as client:
            assert await client.execute(flow, id="flow") == 1

    run(scenario())
    assert entered == ["shop"]


def test_a_stand_in_needs_nothing() -> None:
    entered: list[str] = []

    @declare
    async def pools() -> AsyncIterator[None]:
        entered.append("shop")
        yield

    async def work() -> str:
        return "real"

    step = activity_of_the_shop(work)

    @saga
    async def flow() -> str:
        return await step()

    async def scenario() -> None:
        async with sagas.testing.environment() as env:
            env.replace(step, lambda: "stand-in")
            assert await env.client.execute(flow, id="flow") == "stand-in"

    run(scenario())
    assert entered == []


def test_what_cannot_be_entered_is_refused_where_it_is_declared() -> None:
    async def pool() -> None: ...

    async def takes(url: str) -> AsyncIterator[None]:
        yield

    for wrong, why in ((pool, "yield"), (takes, "arguments"), (7, "generator")):
        with pytest.raises(sagas.DefinitionError, match=why):
            sagas.on_worker_start(wrong)  # type: ignore[arg-type]
