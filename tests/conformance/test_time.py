"""Time and chance inside a saga: now, sleep, sleep_until, wait_until, uuid4, random, info, logger."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

import sagas
from sagas import activity, saga, signal
from tests.conformance.world import START, World


@activity
async def nothing() -> None: ...


@saga
class Waiter:
    """Waits for ``told`` to reach a number, at most for so long."""

    def __init__(self, wanted: int, timeout: float | None = None) -> None:
        self.wanted = wanted
        self.timeout = timeout
        self.told = 0

    async def run(self) -> str:
        try:
            await sagas.wait_until(lambda: self.told >= self.wanted, timeout=self.timeout)
        except TimeoutError:
            return f"late at {self.told}"
        return f"told {self.told}"

    @signal
    def tell(self, n: int = 1) -> None:
        self.told += n


# --- now and sleep --------------------------------------------------------------------------------------


def test_now_is_aware_and_stands_still_between_awaits(world: World) -> None:
    @saga
    async def flow() -> list[datetime]:
        first = sagas.now()
        second = sagas.now()
        await sagas.sleep(0.02)
        return [first, second, sagas.now()]

    async def scenario() -> None:
        first, second, third = await world.client.execute(flow, id="flow")
        assert first == second
        assert first.utcoffset() == timedelta(0)
        assert third - first >= timedelta(seconds=0.02)

    world.run(scenario)


def test_a_month_passes_in_no_time(timed: World) -> None:
    @saga
    async def flow() -> datetime:
        await sagas.sleep(timedelta(days=31))
        return sagas.now()

    async def scenario() -> None:
        assert await timed.client.execute(flow, id="flow") == START + timedelta(days=31)
        assert timed.env.now == START + timedelta(days=31)

    timed.run(scenario)


def test_sleep_takes_seconds_or_a_timedelta(timed: World) -> None:
    @saga
    async def flow() -> datetime:
        await sagas.sleep(60)
        await sagas.sleep(timedelta(minutes=1))
        await sagas.sleep(0.5)
        await sagas.sleep(0)
        return sagas.now()

    async def scenario() -> None:
        assert await timed.client.execute(flow, id="flow") == START + timedelta(seconds=120.5)

    timed.run(scenario)


def test_sleep_until_an_instant(timed: World) -> None:
    when = datetime(2024, 3, 1, 12, tzinfo=timezone(timedelta(hours=2)))

    @saga
    async def flow() -> list[datetime]:
        await sagas.sleep_until(when)
        first = sagas.now()
        await sagas.sleep_until(datetime(2020, 1, 1, tzinfo=UTC))  # long past
        return [first, sagas.now()]

    async def scenario() -> None:
        assert await timed.client.execute(flow, id="flow") == [when, when]

    timed.run(scenario)


def test_sleep_until_refuses_a_naive_datetime(world: World) -> None:
    @saga
    async def flow() -> str:
        try:
            await sagas.sleep_until(datetime(2030, 1, 1))  # noqa: DTZ001
        except (ValueError, TypeError) as error:
            return str(error)
        return "slept"

    async def scenario() -> None:
        assert await world.client.execute(flow, id="flow") != "slept"

    world.run(scenario)


def test_sleeps_survive_a_crash(durable: World) -> None:
    @saga
    async def flow() -> str:
        await sagas.sleep(0.2)
        return "awake"

    async def scenario() -> None:
        handle = await durable.client.start(flow, id="flow")
        await durable.until_waiting(handle, "timer")
        await durable.reopen(flow)
        assert await durable.again(handle).result() == "awake"

    durable.run(scenario)


def test_a_timer_that_fell_due_while_no_host_was_up_fires_late(timed: World) -> None:
    @saga
    async def flow() -> datetime:
        await sagas.sleep(60)
        return sagas.now()

    async def scenario() -> None:
        handle = await timed.client.start(flow, id="flow")
        await timed.env.settle()
        await timed.env.stop()
        await timed.env.advance(hours=1)
        await timed.env.start()
        assert await handle.result() >= START + timedelta(hours=1)

    timed.run(scenario)


def test_many_timers_fire_in_order(timed: World) -> None:
    fired: list[tuple[str, float]] = []

    @saga
    async def flow(seconds: float) -> None:
        await sagas.sleep(seconds)
        fired.append((sagas.info().id, seconds))

    async def scenario() -> None:
        for seconds in (50, 10, 30, 20, 40):
            await timed.client.start(flow, seconds, id=f"s{seconds}")
        await timed.env.advance(minutes=5)
        unique = list(dict.fromkeys(fired))  # replay runs code again
        assert [seconds for _, seconds in unique] == [10, 20, 30, 40, 50]

    timed.run(scenario)


# --- wait_until -----------------------------------------------------------------------------------------


def test_wait_until_returns_when_the_predicate_holds(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Waiter, 2, id="w")
        await handle.signal(Waiter.tell)
        await handle.signal(Waiter.tell)
        assert await handle.result() == "told 2"

    everywhere.run(scenario)


def test_wait_until_raises_timeout_error(everywhere: World) -> None:
    async def scenario() -> None:
        assert await everywhere.client.execute(Waiter, 2, 0.05, id="w") == "late at 0"

    everywhere.run(scenario)


def test_wait_until_is_in_time_just_before_its_timeout(timed: World) -> None:
    async def scenario() -> None:
        handle = await timed.client.start(Waiter, 1, 60.0, id="w")
        await timed.env.advance(seconds=59.999)
        await handle.signal(Waiter.tell)
        assert await handle.result() == "told 1"

    timed.run(scenario)


def test_wait_until_is_late_after_its_timeout(timed: World) -> None:
    async def scenario() -> None:
        handle = await timed.client.start(Waiter, 1, 60.0, id="w")
        await timed.env.advance(seconds=60)
        assert await handle.result() == "late at 0"

    timed.run(scenario)


def test_wait_until_of_what_already_holds_returns_at_once(world: World) -> None:
    async def scenario() -> None:
        assert await world.client.execute(Waiter, 0, 0.0, id="w") == "told 0"

    world.run(scenario)


def test_an_error_of_the_predicate_comes_out_of_wait_until(world: World) -> None:
    @saga
    class Flow:
        def __init__(self) -> None:
            self.broken = False

        async def run(self) -> str:
            try:
                await sagas.wait_until(self.check)
            except ValueError as error:
                return str(error)
            return "held"

        def check(self) -> bool:
            if self.broken:
                raise ValueError("cannot say")
            return False

        @signal
        def break_it(self) -> None:
            self.broken = True

    async def scenario() -> None:
        handle = await world.client.start(Flow, id="flow")
        await world.until_waiting(handle, "message")
        await handle.signal(Flow.break_it)
        assert await handle.result() == "cannot say"

    world.run(scenario)


def test_wait_until_notices_what_another_task_did(world: World) -> None:
    @saga
    async def flow() -> int:
        import asyncio

        box: list[int] = []

        async def fill() -> None:
            await asyncio.sleep(0.02)
            box.append(1)

        task = asyncio.create_task(fill())
        await sagas.wait_until(lambda: box)
        await task
        return len(box)

    async def scenario() -> None:
        assert await world.client.execute(flow, id="flow") == 1

    world.run(scenario)


# --- chance ---------------------------------------------------------------------------------------------


def test_uuid4_is_a_random_uuid_each_time(world: World) -> None:
    @saga
    async def flow() -> list[UUID]:
        return [sagas.uuid4() for _ in range(50)]

    async def scenario() -> None:
        first = await world.client.execute(flow, id="a")
        second = await world.client.execute(flow, id="b")
        again = await world.client.execute(flow, id="a")
        assert all(isinstance(found, UUID) and found.version == 4 for found in first)
        assert len({*first, *second, *again}) == 150

    world.run(scenario)


def test_random_is_in_range_and_differs(world: World) -> None:
    @saga
    async def flow() -> list[float]:
        return [sagas.random() for _ in range(100)]

    async def scenario() -> None:
        found = await world.client.execute(flow, id="a")
        assert all(0 <= number < 1 for number in found)
        assert len(set(found)) == 100
        assert found != await world.client.execute(flow, id="b")

    world.run(scenario)


def test_chance_and_time_are_the_same_in_every_replay(durable: World) -> None:
    seen: list[tuple[UUID, float, datetime]] = []

    @saga
    class Flow:
        def __init__(self) -> None:
            self.told = 0

        async def run(self) -> None:
            await nothing()
            seen.append((sagas.uuid4(), sagas.random(), sagas.now()))
            await sagas.wait_until(lambda: self.told)

        @signal
        def tell(self) -> None:
            self.told += 1

    async def scenario() -> None:
        handle = await durable.client.start(Flow, id="flow")
        await durable.until_waiting(handle, "message")
        await durable.reopen(Flow, nothing)
        handle = durable.client.get("flow")
        await handle.signal("tell")
        await handle.result()
        assert len(seen) >= 2  # the second host ran the code again
        assert len(set(seen)) == 1

    durable.run(scenario)


# --- who am I -------------------------------------------------------------------------------------------


def test_info_says_who_runs(world: World) -> None:
    @saga
    async def flow() -> list[str]:
        info = sagas.info()
        return [info.id, info.run_id, info.type]

    async def scenario() -> None:
        handle = await world.client.start(flow, id="who")
        shown = await handle.result()
        assert shown == ["who", (await handle.describe()).run_id, "flow"]

    world.run(scenario)


@pytest.mark.parametrize("call", [sagas.now, sagas.random, sagas.uuid4, sagas.info])
def test_outside_a_saga_they_say_so(call) -> None:
    with pytest.raises(sagas.NotInSaga, match="saga"):
        call()


def test_waiting_outside_a_saga_says_so() -> None:
    from tests.conformance.world import run

    for wait in (lambda: sagas.sleep(1), lambda: sagas.wait_until(lambda: True), lambda: sagas.sleep_until(START)):

        async def waiting(wait=wait) -> None:
            await wait()

        with pytest.raises(sagas.NotInSaga):
            run(waiting())


def test_the_logger_speaks_once_and_not_in_replay(timed: World, caplog: pytest.LogCaptureFixture) -> None:
    @saga
    class Flow:
        def __init__(self) -> None:
            self.told = 0

        async def run(self) -> None:
            sagas.logger.info("reached %s", "here")
            await sagas.wait_until(lambda: self.told)

        @signal
        def tell(self) -> None:
            self.told += 1

    async def scenario() -> None:
        with caplog.at_level(logging.INFO):
            handle = await timed.client.start(Flow, id="flow")
            await timed.until_waiting(handle, "message")
            await timed.env.restart()
            handle = timed.client.get("flow")
            await handle.signal("tell")
            await handle.result()
        assert [record.getMessage() for record in caplog.records].count("reached here") == 1

    timed.run(scenario)
