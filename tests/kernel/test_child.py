"""A saga that begins others: what is recorded, what comes back, and that asyncio takes a child as it takes a task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import sagas
from sagas import activity, compensating, query, saga
from sagas.errors import NondeterminismError, QueryFailed, SagaCancelled, SagaFailed
from sagas.kernel.child import child_run_id
from sagas.kernel.events import (
    ABANDON_CHILD,
    CANCEL,
    ChildCompleted,
    ChildFailed,
    ChildRefused,
    ChildScheduled,
    ChildStarted,
    Event,
    MessageSent,
    RunCancelled,
    RunFailed,
)
from sagas.kernel.failure import Failure
from sagas.kernel.instance import Instance
from sagas.payloads import encode
from tests.kernel.driver import Run, kinds


@saga
async def other(number: int) -> int:
    return number


@activity
async def pay(cents: int) -> str:
    return f"paid {cents}"


@pay.compensation
async def refund(receipt: str | None, cents: int) -> None: ...


def done(number: int, result: Any) -> Event:
    return ChildCompleted(number, "c", encode(result))


def ended(number: int, status: str, reason: str = "") -> Event:
    return ChildFailed(number, "c", status, (), reason)


def test_a_start_is_recorded_whole_when_it_is_called_and_follows_from_its_run() -> None:
    @saga
    async def flow() -> int:
        child = sagas.child(other, 5, on_parent_close="abandon")
        assert child.id == f"id-1-1-{child_run_id('run-1', 1)[:8]}"
        return await child

    run = Run(flow)
    (begun,) = run.start()
    assert isinstance(begun, ChildScheduled)
    assert (begun.number, begun.run_id, begun.on_parent_close) == (1, child_run_id("run-1", 1), ABANDON_CHILD)
    assert run.give(ChildStarted(1)) == []
    assert run.instance.state.messages == {}
    run.give(done(1, 7))
    assert run.result == 7
    assert run.instance.state.children == {}


@pytest.mark.parametrize("waits", ["gather", "wait", "group", "as_completed", "wait_for", "shield", "twice"])
def test_asyncio_takes_children_as_it_takes_coroutines(waits: str) -> None:
    @saga
    async def flow() -> list[int]:
        children = [sagas.child(other, number) for number in range(3)]
        match waits:
            case "gather":
                return list(await asyncio.gather(*children))
            case "wait":
                finished, _ = await asyncio.wait([asyncio.create_task(child) for child in children])
                return [task.result() for task in finished]
            case "group":
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(child) for child in children]
                return [task.result() for task in tasks]
            case "as_completed":
                return [await each for each in asyncio.as_completed(children)]
            case "wait_for":
                return [await asyncio.wait_for(child, 100) for child in children]
            case "shield":
                return [await asyncio.shield(child) for child in children]
        both = await asyncio.gather(*children, asyncio.create_task(children[0]), return_exceptions=True)
        return [*both, await children[1]]

    run = Run(flow)
    run.start()
    for number, result in ((2, 20), (1, 10), (3, 30)):
        run.give(ChildStarted(number), done(number, result))
    assert sorted(set(run.result)) == [10, 20, 30]
    assert waits != "as_completed" or run.result == [20, 10, 30]


def test_how_it_ended_is_raised_at_every_await() -> None:
    @saga
    async def flow() -> list[str]:
        said = []
        failed, cancelled, refused = (sagas.child(other, n) for n in range(3))
        for child in (failed, failed, cancelled, refused):
            try:
                await child
            except sagas.SagaError as error:
                said.append(f"{type(error).__name__} {error.args[1:]}")
        return said

    run = Run(flow)
    run.start()
    failure = Failure.of(ValueError("no")).row()
    run.give(ChildFailed(1, "c", "failed", failure), ended(2, "cancelled", "enough"), ChildRefused(3, "r9", "running"))
    first, again, cancelled, refused = run.result
    assert first == again == "SagaFailed ('ValueError', 'no', ())"
    assert (cancelled, refused) == ("SagaCancelled ('enough',)", "SagaAlreadyStarted ('r9', 'running')")


def test_an_error_of_a_child_fails_its_parent_after_it_has_undone() -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await pay(1)
            await sagas.child(other, 1)

    run = Run(flow)
    run.start()
    (begun,) = run.give(run.done("pay", "receipt"))
    assert isinstance(begun, ChildScheduled)
    assert kinds(run.give(ended(begun.number, "terminated", "x"))) == ["CompensationStarted", "CompensationScheduled"]
    run.give(run.done("refund"))
    assert isinstance(run.end, RunFailed)
    assert run.end.failure[1] == "SagaTerminated"


# --- cancels


def cancels(events: list[Event]) -> list[tuple[int, str]]:
    return [(e.child, e.reason) for e in events if isinstance(e, MessageSent) and e.kind == CANCEL]


def test_a_cancel_of_the_run_asks_the_child_it_waits_for_and_ends_at_once() -> None:
    @saga
    async def flow() -> int:
        return await sagas.child(other, 1)

    run = Run(flow)
    run.start()
    decided = run.give(run.cancel("enough"))
    assert cancels(decided) == [(1, "enough")]
    assert run.end == RunCancelled("enough", at_ms=run.now_ms)
    assert run.instance.state.orphans == ()


def test_what_nobody_awaits_or_is_to_be_abandoned_is_not_asked() -> None:
    @saga
    async def flow() -> int:
        unawaited = sagas.child(other, 1)
        assert unawaited.number == 1
        return await sagas.child(other, 2, on_parent_close="abandon")

    run = Run(flow)
    run.start()
    assert cancels(run.give(run.cancel())) == []
    assert [child.number for child in run.instance.state.orphans] == [1]


def test_many_tasks_that_are_cancelled_ask_once_and_one_before_its_first_step_too() -> None:
    @saga
    async def flow() -> str:
        first, second = sagas.child(other, 1), sagas.child(other, 2)
        tasks = [asyncio.create_task(first), asyncio.create_task(first)]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(second))
        for task in tasks:
            task.cancel("dropped")
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            return str(await first)
        except SagaCancelled as error:
            return error.reason

    run = Run(flow)
    assert sorted(cancels(run.start())) == [(1, "dropped"), (2, "dropped")]
    run.give(ended(1, "cancelled", "dropped"))
    assert run.result == "dropped"


def test_a_timeout_gives_the_child_up_and_a_shield_does_not() -> None:
    @saga
    async def flow() -> int:
        child = sagas.child(other, 1)
        try:
            async with asyncio.timeout(10):
                await asyncio.shield(child)
        except TimeoutError:
            return await child
        return -1

    run = Run(flow)
    run.start()
    assert run.give(run.fired(), after_ms=10_000) == []
    run.give(done(1, 8))
    assert run.result == 8


def test_an_evicted_parent_asks_nothing_of_its_children() -> None:
    @saga
    async def flow() -> int:
        return await asyncio.create_task(sagas.child(other, 1))

    run = Run(flow)
    run.start()
    run.instance.evict()
    run.instance = run.replayed()
    run.give(done(1, 3))
    assert run.result == 3


# --- replay

BEGIN: list[Callable[[], Any]] = []


@saga
async def changing() -> Any:
    return await BEGIN[0]()


@pytest.mark.parametrize(
    ("begin", "found"),
    [
        (lambda: sagas.child(changing), "type='changing'"),
        (lambda: pay(1), "StepScheduled"),
        (lambda: sagas.instance("x").signal("go"), "MessageSent"),
    ],
)
def test_code_that_begins_something_else_is_found(begin: Callable[[], Any], found: str) -> None:
    BEGIN[:] = [lambda: sagas.child(other, 1)]
    run = Run(changing)
    run.start()
    BEGIN[:] = [begin]
    with pytest.raises(NondeterminismError) as parted:
        Instance.replay(run.type, run.history)
    assert parted.value.expected == "ChildScheduled(number=1, type='other')"
    assert found in parted.value.found


def test_a_child_keeps_the_id_and_the_arguments_that_were_recorded() -> None:
    BEGIN[:] = [lambda: sagas.child(other, 1, id="mine")]
    run = Run(changing)
    run.start()
    BEGIN[:] = [lambda: sagas.child(other, 2, id="yours")]
    again = Instance.replay(run.type, run.history)
    assert again.state.children[1].id == "mine"
    again.evict()


@saga
class Asked:
    async def run(self) -> None:
        await sagas.child(other, 1)

    @query
    def begin(self) -> None:
        sagas.child(other, 2)


def test_a_query_begins_nothing() -> None:
    run = Run(Asked)
    run.start()
    with pytest.raises(QueryFailed, match="may only read"):
        run.ask(Asked.begin)
    run.give(ChildFailed(1, "c", "failed", Failure.of(OSError("x")).row()))
    assert isinstance(run.end, RunFailed)
    assert SagaFailed.__name__ == run.end.failure[1]
