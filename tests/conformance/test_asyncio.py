"""Plain asyncio inside a saga: deterministic and durable, with the standard library's own meaning."""

from __future__ import annotations

import asyncio

import pytest

import sagas
from sagas import ActivityFailed, Retry, activity, saga
from tests.conformance.world import World

TICK = 0.02
"""Seconds: long enough to order things on a real clock, short enough to run hundreds of tests."""


@activity
async def echo(value: int) -> int:
    return value


@activity(retry=Retry(max_attempts=1))
async def fail(why: str) -> int:
    raise OSError(why)


def result_of(world: World, flow: object, *args: object) -> object:
    found: list[object] = []

    async def scenario() -> None:
        found.append(await world.client.execute(flow, *args, id="flow"))

    world.run(scenario)
    return found[0]


def test_sleep_orders_tasks_by_when_they_fall_due(everywhere: World) -> None:
    @saga
    async def flow() -> list[int]:
        order: list[int] = []

        async def after(n: int) -> None:
            await asyncio.sleep(n * TICK)
            order.append(n)

        await asyncio.gather(*(after(n) for n in (3, 1, 2)))
        return order

    assert result_of(everywhere, flow) == [1, 2, 3]


def test_sleep_returns_its_result(world: World) -> None:
    @saga
    async def flow() -> str:
        return await asyncio.sleep(TICK, "awake")

    assert result_of(world, flow) == "awake"


def test_sleep_of_zero_lets_others_run(world: World) -> None:
    @saga
    async def flow() -> list[str]:
        order: list[str] = []

        async def talk(name: str) -> None:
            for n in range(3):
                order.append(f"{name}{n}")
                await asyncio.sleep(0)

        await asyncio.gather(talk("a"), talk("b"))
        return order

    assert result_of(world, flow) == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_timeout_interrupts_a_sleep(world: World) -> None:
    @saga
    async def flow() -> str:
        try:
            async with asyncio.timeout(TICK):
                await asyncio.sleep(3600)
        except TimeoutError:
            return "late"
        return "slept"

    assert result_of(world, flow) == "late"


def test_timeout_that_does_not_expire(world: World) -> None:
    @saga
    async def flow() -> tuple[int, bool]:
        async with asyncio.timeout(3600) as timeout:
            value = await echo(1)
        return value, timeout.expired()

    assert result_of(world, flow) == (1, False)


def test_wait_for_interrupts_a_step(world: World) -> None:
    @activity
    async def slow() -> None:
        await asyncio.get_running_loop().create_future()

    @saga
    async def flow() -> str:
        try:
            await asyncio.wait_for(slow(), TICK)
        except TimeoutError:
            return "late"
        return "done"

    assert result_of(world, flow) == "late"


def test_wait_for_gives_the_result(world: World) -> None:
    @saga
    async def flow() -> int:
        return await asyncio.wait_for(echo(5), 3600)

    assert result_of(world, flow) == 5


def test_gather_keeps_the_order_of_its_arguments(everywhere: World) -> None:
    @saga
    async def flow() -> list[int]:
        return await asyncio.gather(*(echo(n) for n in range(10)))

    assert result_of(everywhere, flow) == list(range(10))


def test_gather_raises_the_first_failure(world: World) -> None:
    @saga
    async def flow() -> str:
        try:
            await asyncio.gather(echo(1), fail("first"), asyncio.sleep(3600))
        except ActivityFailed as error:
            return error.message
        return "done"

    assert result_of(world, flow) == "first"


def test_gather_can_collect_failures(world: World) -> None:
    @saga
    async def flow() -> list[str]:
        found = await asyncio.gather(echo(1), fail("a"), echo(2), fail("b"), return_exceptions=True)
        return [item.message if isinstance(item, ActivityFailed) else str(item) for item in found]

    assert result_of(world, flow) == ["1", "a", "2", "b"]


def test_wait_first_completed(world: World) -> None:
    @saga
    async def flow() -> tuple[list[str], int]:
        tasks = [
            asyncio.create_task(asyncio.sleep(3600, "slow"), name="slow"),
            asyncio.create_task(asyncio.sleep(TICK, "quick"), name="quick"),
        ]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return [task.result() for task in done], len(pending)

    assert result_of(world, flow) == (["quick"], 1)


def test_wait_first_exception(world: World) -> None:
    @saga
    async def flow() -> tuple[int, int]:
        tasks = [asyncio.ensure_future(c) for c in (echo(1), fail("x"), asyncio.sleep(3600))]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in pending:
            task.cancel()
        failed = [task for task in done if task.exception() is not None]
        return len(failed), len(pending)

    found = result_of(world, flow)
    assert found[0] == 1
    assert found[1] >= 1


def test_wait_with_a_timeout(world: World) -> None:
    @saga
    async def flow() -> tuple[int, int]:
        tasks = [asyncio.ensure_future(c) for c in (echo(1), asyncio.sleep(3600))]
        await tasks[0]
        done, pending = await asyncio.wait(tasks, timeout=TICK)
        for task in pending:
            task.cancel()
        return len(done), len(pending)

    assert result_of(world, flow) == (1, 1)


def test_wait_iterates_in_the_same_order_in_every_process(durable: World) -> None:
    """sdk-python #535: a set of tasks has an order; steps scheduled while iterating must replay."""

    @saga
    class Flow:
        def __init__(self) -> None:
            self.told = False

        async def run(self) -> list[int]:
            tasks = [asyncio.create_task(asyncio.sleep(TICK, n)) for n in range(8)]
            done, _ = await asyncio.wait(tasks)
            order = [await echo(task.result()) for task in done]
            await sagas.wait_until(lambda: self.told)
            return [*order, await echo(100)]

        @sagas.signal
        def tell(self) -> None:
            self.told = True

    async def scenario() -> None:
        handle = await durable.client.start(Flow, id="flow")
        if durable.virtual:
            await durable.env.advance(seconds=1)
        await durable.until_waiting(handle, "message")
        await durable.reopen(Flow, echo)
        handle = durable.client.get("flow")
        await handle.signal("tell")
        assert sorted(await handle.result()) == [*range(8), 100]

    durable.run(scenario)


def test_as_completed(world: World) -> None:
    @saga
    async def flow() -> list[int]:
        waits = [asyncio.sleep(n * TICK, n) for n in (3, 1, 2)]
        return [await first for first in asyncio.as_completed(waits)]

    assert result_of(world, flow) == [1, 2, 3]


def test_as_completed_with_a_timeout(world: World) -> None:
    @saga
    async def flow() -> list[str]:
        found: list[str] = []
        tasks = [asyncio.create_task(asyncio.sleep(TICK, "quick")), asyncio.create_task(asyncio.sleep(3600, "slow"))]
        try:
            for first in asyncio.as_completed(tasks, timeout=10 * TICK):
                found += [await first]
        except TimeoutError:
            found.append("late")
        tasks[1].cancel()
        return found

    assert result_of(world, flow) == ["quick", "late"]


def test_task_group_waits_for_all(world: World) -> None:
    @saga
    async def flow() -> int:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(echo_later(n)) for n in range(5)]
        return sum(task.result() for task in tasks)

    async def echo_later(n: int) -> int:
        await asyncio.sleep(n * TICK / 5)
        return await echo(n)

    assert result_of(world, flow) == 10


def test_task_group_cancels_the_others_when_one_fails(world: World) -> None:
    @saga
    async def flow() -> list[str]:
        seen: list[str] = []

        async def forever() -> None:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        async def fails() -> None:
            await fail("x")

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(forever())
                group.create_task(fails())
        except* ActivityFailed as errors:
            seen.extend(error.message for error in errors.exceptions)
        return seen

    assert result_of(world, flow) == ["cancelled", "x"]


def test_an_event_wakes_all_who_wait(world: World) -> None:
    @saga
    async def flow() -> list[int]:
        event = asyncio.Event()
        woken: list[int] = []

        async def waiter(n: int) -> None:
            await event.wait()
            woken.append(n)

        tasks = [asyncio.create_task(waiter(n)) for n in range(3)]
        await asyncio.sleep(TICK)
        assert woken == []
        event.set()
        await asyncio.gather(*tasks)
        return woken

    assert result_of(world, flow) == [0, 1, 2]


def test_a_lock_lets_one_in_at_a_time_in_order(world: World) -> None:
    @saga
    async def flow() -> list[str]:
        lock = asyncio.Lock()
        log: list[str] = []

        async def enter(n: int) -> None:
            async with lock:
                log.append(f"in {n}")
                await echo(n)
                log.append(f"out {n}")

        await asyncio.gather(*(enter(n) for n in range(3)))
        return log

    assert result_of(world, flow) == ["in 0", "out 0", "in 1", "out 1", "in 2", "out 2"]


def test_a_semaphore_bounds_steps_in_flight(world: World) -> None:
    running: list[int] = []
    most: list[int] = []

    @activity
    async def work() -> None:
        running.append(1)
        most.append(len(running))
        await asyncio.sleep(0.005)
        running.pop()

    @saga
    async def flow() -> None:
        slots = asyncio.Semaphore(2)

        async def one() -> None:
            async with slots:
                await work()

        await asyncio.gather(*(one() for _ in range(6)))

    assert result_of(world, flow) is None
    assert len(most) == 6
    assert max(most) == 2


def test_a_queue_between_producer_and_consumer(world: World) -> None:
    @saga
    async def flow() -> list[int]:
        queue: asyncio.Queue[int | None] = asyncio.Queue(maxsize=1)
        got: list[int] = []

        async def produce() -> None:
            for n in range(4):
                await queue.put(await echo(n))
            await queue.put(None)

        async def consume() -> None:
            while (item := await queue.get()) is not None:
                await asyncio.sleep(TICK / 4)
                got.append(item)

        async with asyncio.TaskGroup() as group:
            group.create_task(produce())
            group.create_task(consume())
        return got

    assert result_of(world, flow) == [0, 1, 2, 3]


def test_a_condition_and_a_barrier(world: World) -> None:
    @saga
    async def flow() -> list[str]:
        log: list[str] = []
        ready = asyncio.Condition()
        barrier = asyncio.Barrier(2)

        async def waiter() -> None:
            async with ready:
                await ready.wait()
                log.append("notified")
            await barrier.wait()

        async def notifier() -> None:
            await asyncio.sleep(TICK)
            async with ready:
                log.append("notify")
                ready.notify()
            await barrier.wait()

        await asyncio.gather(waiter(), notifier())
        return log

    assert result_of(world, flow) == ["notify", "notified"]


def test_shield_keeps_a_task_alive_when_its_waiter_is_cancelled(world: World) -> None:
    @saga
    async def flow() -> int:
        task = asyncio.create_task(asyncio.sleep(3 * TICK, 7))
        try:
            async with asyncio.timeout(TICK):
                await asyncio.shield(task)
        except TimeoutError:
            pass
        return await task

    assert result_of(world, flow) == 7


def test_call_later_and_loop_time(world: World) -> None:
    @saga
    async def flow() -> bool:
        loop = asyncio.get_running_loop()
        before = loop.time()
        future = loop.create_future()
        loop.call_later(TICK, future.set_result, True)
        return await future and loop.time() - before >= TICK * 0.9

    assert result_of(world, flow) is True


def test_a_task_can_be_cancelled_and_says_so(world: World) -> None:
    @saga
    async def flow() -> str:
        task = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.sleep(0)
        task.cancel("enough")
        try:
            await task
        except asyncio.CancelledError as error:
            return str(error)
        return "not cancelled"

    assert result_of(world, flow) == "enough"


def test_async_generators_and_context_managers(world: World) -> None:
    @saga
    async def flow() -> list[int]:
        async def numbers():
            for n in range(3):
                yield await echo(n)

        return [n async for n in numbers()]

    assert result_of(world, flow) == [0, 1, 2]


def test_an_exception_group_holds_each_failure(world: World) -> None:
    async def failing(why: str) -> None:
        await fail(why)

    @saga
    async def flow() -> list[str]:
        found: list[str] = []
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(failing("a"))
                group.create_task(failing("b"))
        except* ActivityFailed as errors:
            found.extend(error.message for error in errors.exceptions)
        return found

    found = result_of(world, flow)
    assert found
    assert set(found) <= {"a", "b"}


def test_a_hundred_steps_at_once(everywhere: World) -> None:
    @saga
    async def flow() -> int:
        return sum(await asyncio.gather(*(echo(n) for n in range(100))))

    assert result_of(everywhere, flow) == 4950


def test_waiting_for_the_world_directly_is_refused_not_hung(world: World) -> None:
    """Sockets, threads and processes belong in activities; a saga that tries them learns so at once."""

    @saga
    async def flow() -> str:
        try:
            await asyncio.to_thread(len, "abc")
        except (sagas.SagaError, NotImplementedError, RuntimeError) as error:
            return str(error)
        return "ran"

    assert "activity" in str(result_of(world, flow))


def test_an_unfinished_task_does_not_keep_the_run_open(world: World) -> None:
    @saga
    async def flow() -> str:
        task = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.sleep(0)
        return "done" if not task.done() else "?"

    assert result_of(world, flow) == "done"


@pytest.mark.parametrize("tasks", [1, 7])
def test_tasks_of_tasks(world: World, tasks: int) -> None:
    @saga
    async def flow() -> int:
        async def tree(depth: int) -> int:
            if depth == 0:
                return await echo(1)
            return sum(await asyncio.gather(tree(depth - 1), tree(depth - 1)))

        return sum(await asyncio.gather(*(tree(2) for _ in range(tasks))))

    assert result_of(world, flow) == 4 * tasks
