"""``sagas.testing.environment()``: virtual time, stand-ins and crashes; ``sagas.embedded()``: one process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

import sagas
from sagas import activity, compensating, saga, signal
from tests.conformance.world import START, Gate, World, run

log: list[str] = []


@pytest.fixture(autouse=True)
def _fresh_log() -> None:
    log.clear()


@activity
async def charge(user: str, cents: int) -> str:
    log.append(f"charge {user} {cents}")
    return "receipt"


@charge.compensation
async def refund(receipt: str | None, user: str, cents: int) -> None:
    log.append(f"refund {receipt}")


@saga
async def buy(user: str) -> str:
    async with compensating():
        receipt = await charge(user, 5)
        await sagas.sleep(timedelta(days=1))
        if user == "bad":
            raise ValueError("bad")
    return receipt


@saga
class Waiter:
    def __init__(self) -> None:
        self.told = False

    async def run(self) -> datetime:
        await sagas.wait_until(lambda: self.told)
        return sagas.now()

    @signal
    def tell(self) -> None:
        self.told = True


def test_time_starts_where_it_is_told() -> None:
    async def scenario() -> None:
        async with sagas.testing.environment(start=datetime(2030, 5, 1, tzinfo=UTC)) as env:
            assert env.now == datetime(2030, 5, 1, tzinfo=UTC)
            await env.advance(days=1, hours=1, minutes=1, seconds=1)
            assert env.now == datetime(2030, 5, 2, 1, 1, 1, tzinfo=UTC)
            await env.advance_to(datetime(2030, 6, 1, tzinfo=UTC))
            assert env.now == datetime(2030, 6, 1, tzinfo=UTC)

    run(scenario())


def test_advance_fires_what_falls_due_and_no_more(timed: World) -> None:
    async def scenario() -> None:
        handle = await timed.client.start(buy, "u1", id="b")
        await timed.env.advance(hours=23)
        assert (await handle.describe()).status == "running"
        await timed.env.advance(hours=1)
        assert (await handle.describe()).status == "completed"
        assert timed.env.now == START + timedelta(days=1)

    timed.run(scenario)


def test_result_skips_no_more_time_than_needed(timed: World) -> None:
    async def scenario() -> None:
        await timed.client.execute(buy, "u1", id="b")
        assert timed.env.now == START + timedelta(days=1)

    timed.run(scenario)


def test_waiting_in_vain_is_said(timed: World) -> None:
    async def scenario() -> None:
        handle = await timed.client.start(Waiter, id="w")
        with pytest.raises(sagas.testing.NothingDue):
            await handle.result()
        await handle.signal(Waiter.tell)
        assert await handle.result() == START

    timed.run(scenario)


def test_a_stand_in_takes_the_place_of_an_activity(timed: World) -> None:
    async def fake(user: str, cents: int) -> str:
        log.append(f"fake {user} {cents}")
        return "fake receipt"

    async def scenario() -> None:
        timed.env.replace(charge, fake)
        assert await timed.client.execute(buy, "u1", id="b") == "fake receipt"
        assert log == ["fake u1 5"]
        with pytest.raises(sagas.SagaFailed):
            await timed.client.execute(buy, "bad", id="bad")
        assert log[1:] == ["fake bad 5", "refund fake receipt"]

    timed.run(scenario)


def test_a_stand_in_may_be_sync_fail_and_be_retried(timed: World) -> None:
    def fake(user: str, cents: int) -> str:
        log.append(f"fake {sagas.step().attempt}")
        if len(log) < 3:
            raise OSError("down")
        return "late"

    async def scenario() -> None:
        timed.env.replace(charge, fake)
        assert await timed.client.execute(buy, "u1", id="b") == "late"
        assert log == ["fake 1", "fake 2", "fake 3"]

    timed.run(scenario)


def test_a_stand_in_for_an_undo(timed: World) -> None:
    async def fake(receipt: str | None, user: str, cents: int) -> None:
        log.append("fake refund")

    async def scenario() -> None:
        timed.env.replace(refund, fake)
        with pytest.raises(sagas.SagaFailed):
            await timed.client.execute(buy, "bad", id="b")
        assert log == ["charge bad 5", "fake refund"]

    timed.run(scenario)


def test_a_stand_in_is_gone_with_its_environment() -> None:
    async def scenario() -> None:
        async with sagas.testing.environment() as env:
            env.replace(charge, lambda user, cents: "fake")
            assert await env.client.execute(buy, "u1", id="b") == "fake"
        async with sagas.testing.environment() as env:
            assert await env.client.execute(buy, "u1", id="b") == "receipt"

    run(scenario())


def test_settle_does_not_wait_for_an_activity_that_waits_for_the_test(timed: World) -> None:
    async def scenario() -> None:
        gate = Gate()

        async def wait(user: str, cents: int) -> str:
            await gate()
            return "at last"

        timed.env.replace(charge, wait)
        handle = await timed.client.start(buy, "u1", id="b")
        await timed.env.settle()
        assert gate.came == 1
        assert (await handle.describe()).status == "running"
        gate.open()
        assert await handle.result() == "at last"

    timed.run(scenario)


def test_an_activity_that_does_real_work_is_waited_for(timed: World) -> None:
    """Real work takes real time, and no virtual time."""

    async def scenario() -> None:
        async def slow(user: str, cents: int) -> str:
            for _ in range(20):
                await asyncio.sleep(0.005)
            return "worked"

        timed.env.replace(charge, slow)
        handle = await timed.client.start(buy, "u1", id="b")
        assert await handle.result() == "worked"
        assert timed.env.now == START + timedelta(days=1)

    timed.run(scenario)


def test_a_crash_between_all_events_changes_nothing(timed: World) -> None:
    async def scenario() -> None:
        handle = await timed.client.start(buy, "bad", id="b")
        for _ in range(30):
            await timed.env.restart()
            await timed.env.advance(hours=1)
        with pytest.raises(sagas.SagaFailed, match="bad"):
            await timed.again(handle).result()
        assert log == ["charge bad 5", "refund receipt"]

    timed.run(scenario)


def test_a_crash_during_an_activity_runs_it_again_with_the_same_key(timed: World) -> None:
    keys: list[tuple[int, str]] = []

    async def scenario() -> None:
        async def first_hangs(user: str, cents: int) -> str:
            keys.append((sagas.step().attempt, sagas.step().idempotency_key))
            if len(keys) == 1:
                await Gate()()
            return "second"

        timed.env.replace(charge, first_hangs)
        handle = await timed.client.start(buy, "u1", id="b")
        await timed.until(lambda: keys)
        await timed.env.restart()
        assert await timed.again(handle).result() == "second"
        assert len(keys) == 2
        assert keys[0][1] == keys[1][1]

    timed.run(scenario)


def test_environments_do_not_meet() -> None:
    async def scenario() -> None:
        async with sagas.testing.environment() as one, sagas.testing.environment() as two:
            await one.client.start(Waiter, id="w")
            with pytest.raises(sagas.SagaNotFound):
                await two.client.get("w").describe()
            await two.advance(days=1)
            assert one.now == two.now - timedelta(days=1)

    run(scenario())


def test_thousands_of_instances_with_few_in_memory() -> None:
    async def scenario() -> None:
        async with sagas.testing.environment(residents=5) as env:
            handles = [await env.client.start(buy, "u1", id=f"b{n}") for n in range(200)]
            await env.advance(days=2)
            assert {await handle.result() for handle in handles} == {"receipt"}

    run(scenario())
    assert len(log) == 200


# --- embedded -------------------------------------------------------------------------------------------


def test_namespaces_do_not_meet(valkey_url: str) -> None:
    async def scenario() -> None:
        async with World(virtual=False, url=valkey_url) as one, World(virtual=False, url=valkey_url) as two:
            await one.client.start(Waiter, id="w")
            with pytest.raises(sagas.SagaNotFound):
                await two.client.get("w").describe()
            assert await two.client.count() == 0

    run(scenario())


def test_a_store_that_does_not_answer() -> None:
    async def scenario() -> None:
        with pytest.raises(sagas.StoreUnavailable):
            async with sagas.embedded("redis://127.0.0.1:1/0"):
                pass

    run(scenario())


def test_modules_by_name_and_a_name_that_is_wrong() -> None:
    async def scenario() -> None:
        async with sagas.embedded(modules=[__name__]) as client:
            assert await client.count() == 0
        with pytest.raises((ImportError, sagas.SagaError)):
            async with sagas.embedded(modules=["no_such_module_here"]):
                pass

    run(scenario())


def test_two_hosts_in_one_namespace_share_the_work(valkey_url: str) -> None:
    @saga
    async def flow(n: int) -> int:
        await asyncio.sleep(0.02)
        return n

    namespace = "conformance-two-hosts"

    async def scenario() -> None:
        async with (
            sagas.embedded(valkey_url, namespace=namespace) as one,
            sagas.embedded(valkey_url, namespace=namespace) as two,
        ):
            handles = [await (one, two)[n % 2].start(flow, n, id=f"f{n}") for n in range(40)]
            assert [await handle.result() for handle in handles] == list(range(40))

    run(scenario())


def test_importing_sagas_brings_in_neither_ray_nor_redis() -> None:
    code = (
        "import sys, sagas; sagas.saga, sagas.activity, sagas.compensating; "
        "print({'ray', 'redis'} & {name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"
