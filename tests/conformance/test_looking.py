"""Looking at instances: describe, list, count and history."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

import sagas
from sagas import Retry, activity, saga, signal
from tests.conformance.world import START, Gate, World, event_names


@activity(retry=Retry(max_attempts=1))
async def echo(n: int) -> int:
    return n


@saga
class Job:
    def __init__(self) -> None:
        self.how = ""

    async def run(self) -> str:
        await sagas.wait_until(lambda: self.how)
        if self.how == "fail":
            raise ValueError("told to")
        if self.how == "bug":
            raise NameError("told to")
        return self.how

    @signal
    def end(self, how: str) -> None:
        self.how = how


@saga(name="short.sleep")
async def short() -> None:
    await asyncio.sleep(3600)


# --- describe -------------------------------------------------------------------------------------------


def test_describe_a_running_instance(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Job, id="j", attributes={"k": "v"})
        await everywhere.until_waiting(handle, "message")
        found = await handle.describe()
        assert (found.id, found.type, found.attributes) == ("j", "Job", {"k": "v"})
        assert found.run_id
        assert (found.status, found.compensation) == ("running", "none")
        assert isinstance(found.status, str)
        assert isinstance(found.compensation, str)
        assert found.status is sagas.Status.RUNNING
        assert found.parked is None
        assert found.closed is None
        assert found.started.utcoffset() == timedelta(0)
        assert found.history_length == len(await handle.history()) > 0

    everywhere.run(scenario)


def test_describe_an_ended_instance(timed: World) -> None:
    @saga
    async def flow() -> None:
        await asyncio.sleep(60)

    async def scenario() -> None:
        await timed.env.advance(seconds=5)
        handle = await timed.client.start(flow, id="f")
        await handle.result()
        found = await handle.describe()
        assert found.status == "completed"
        assert found.started == START + timedelta(seconds=5)
        assert found.closed == START + timedelta(seconds=65)
        assert not found.waiting_for
        assert found.history_length == len(await handle.history())

    timed.run(scenario)


def test_waiting_for_says_what(everywhere: World) -> None:
    gates: list[Gate] = []

    @activity
    async def slow_step() -> None:
        gates.append(Gate())
        await gates[-1]()

    @saga
    async def stepping() -> None:
        await slow_step()

    async def scenario() -> None:
        job = await everywhere.client.start(Job, id="message")
        sleeper = await everywhere.client.start(short, id="timer")
        stepper = await everywhere.client.start(stepping, id="step")
        await everywhere.until(lambda: gates)
        await everywhere.until_waiting(job, "message")
        await everywhere.until_waiting(sleeper, "timer")
        await everywhere.until_waiting(stepper, "step")
        (wait,) = (await stepper.describe()).waiting_for
        assert "slow_step" in str(wait)
        gates[0].open()
        await stepper.result()

    everywhere.run(scenario)


def test_waiting_for_several_things_says_all(world: World) -> None:
    @saga
    async def flow() -> None:
        await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(7200), sagas.wait_until(lambda: False))

    async def scenario() -> None:
        handle = await world.client.start(flow, id="f")
        await world.until_waiting(handle, "timer")
        waits = [str(wait) for wait in (await handle.describe()).waiting_for]
        assert sum("timer" in wait for wait in waits) >= 1
        assert len(waits) >= 1

    world.run(scenario)


def test_describe_says_when_the_timer_is_due(timed: World) -> None:
    async def scenario() -> None:
        handle = await timed.client.start(short, id="f")
        await timed.env.settle()
        (wait,) = (await handle.describe()).waiting_for
        assert "01:00:00" in str(wait)

    timed.run(scenario)


# --- list and count -------------------------------------------------------------------------------------


async def some(world: World) -> None:
    """Instances of two types in every state there is."""
    client = world.client
    for id, how in (("completed", "well"), ("failed", "fail")):
        handle = await client.start(Job, id=id)
        await handle.signal(Job.end, how)
        try:
            await handle.result()
        except sagas.SagaFailed:
            assert how == "fail"
    cancelled = await client.start(Job, id="cancelled")
    await cancelled.cancel()
    terminated = await client.start(Job, id="terminated")
    await terminated.terminate()
    for handle in (cancelled, terminated):
        with pytest.raises((sagas.SagaCancelled, sagas.SagaTerminated)):
            await handle.result()
    parked = await client.start(Job, id="parked")
    await parked.signal(Job.end, "bug")
    await world.until_parked(parked)
    for id in ("job's", "job 2"):
        await world.until_waiting(await client.start(Job, id=id), "message")
    await world.until_waiting(await client.start(short, id="sleeper"), "timer")


FILTERS = {
    "": {"completed", "failed", "cancelled", "terminated", "parked", "job's", "job 2", "sleeper"},
    "status = 'running'": {"parked", "job's", "job 2", "sleeper"},
    "status = 'completed'": {"completed"},
    "status = 'failed'": {"failed"},
    "status = 'cancelled'": {"cancelled"},
    "status = 'terminated'": {"terminated"},
    "status = 'timed_out'": set(),
    "type = 'Job'": {"completed", "failed", "cancelled", "terminated", "parked", "job's", "job 2"},
    "type = 'short.sleep'": {"sleeper"},
    "status = 'running' and type = 'Job'": {"parked", "job's", "job 2"},
    "type = 'nothing of the kind'": set(),
    "id = 'job 2'": {"job 2"},
    "status = 'running' and type = 'Job' and id = 'job 2'": {"job 2"},
}


def test_list_and_count_by_status_type_and_id(everywhere: World) -> None:
    async def scenario() -> None:
        await some(everywhere)
        for query, wanted in FILTERS.items():
            rows = [row async for row in everywhere.client.list(query)]
            assert {row.id for row in rows} == wanted, query
            assert len(rows) == len(wanted), query
            assert await everywhere.client.count(query) == len(wanted), query

    everywhere.run(scenario)


def test_what_was_started_is_listed_once_a_host_has_taken_it(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Job, id="j")
        await handle.describe()  # which waits for that
        assert [row.id async for row in everywhere.client.list()] == ["j"]
        assert await everywhere.client.count("status = 'running'") == 1

    everywhere.run(scenario)


def test_a_row_is_a_description(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Job, id="j", attributes={"k": 1})
        await world.until_waiting(handle, "message")
        (row,) = [row async for row in world.client.list("id = 'j'")]
        assert row == await handle.describe()

    world.run(scenario)


@pytest.mark.parametrize(
    "query",
    ["status", "status =", "status = running", "colour = 'red'", "= 'x'", "status = 'running' and", "; drop", "'"],
)
def test_a_query_that_makes_no_sense_says_so(world: World, query: str) -> None:
    async def scenario() -> None:
        with pytest.raises(sagas.SagaError):
            await world.client.count(query)
        with pytest.raises(sagas.SagaError):
            _ = [row async for row in world.client.list(query)]

    world.run(scenario)


def test_an_id_has_one_row_for_its_latest_run(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Job, id="j")
        await handle.signal(Job.end, "well")
        await handle.result()
        await world.until_waiting(await world.client.start(Job, id="j"), "message")
        assert await world.client.count("id = 'j' and status = 'running'") == 1
        assert await world.client.count("id = 'j'") == 1

    world.run(scenario)


def test_many_instances_are_all_listed(everywhere: World) -> None:
    @saga
    async def quick(n: int) -> int:
        return n

    async def scenario() -> None:
        handles = [await everywhere.client.start(quick, n, id=f"q{n}") for n in range(150)]
        assert sum([await handle.result() for handle in handles]) == sum(range(150))
        assert await everywhere.client.count("status = 'completed'") == 150
        assert len({row.id async for row in everywhere.client.list("type = 'quick'")}) == 150

    everywhere.run(scenario)


# --- history --------------------------------------------------------------------------------------------


def test_history_is_a_list_of_typed_events(everywhere: World) -> None:
    @saga
    class Flow:
        def __init__(self) -> None:
            self.told = False

        async def run(self) -> int:
            first = await echo(1)
            await asyncio.sleep(0.01)
            await sagas.wait_until(lambda: self.told)
            return first

        @signal
        def tell(self) -> None:
            self.told = True

    async def scenario() -> None:
        handle = await everywhere.client.start(Flow, id="f")
        await everywhere.until_event(handle, "StepCompleted")
        if everywhere.virtual:
            await everywhere.env.advance(seconds=1)
        await everywhere.until_event(handle, "TimerFired")
        await handle.signal(Flow.tell)
        await handle.result()
        history = await handle.history()
        assert isinstance(history, list)
        names = [type(event).__name__ for event in history if type(event).__name__ != "Activated"]
        assert names == [
            "RunStarted",
            "StepScheduled",
            "StepCompleted",
            "TimerSet",
            "TimerFired",
            "SignalReceived",
            "RunCompleted",
        ]

    everywhere.run(scenario)


def test_history_grows_and_never_changes(timed: World) -> None:
    @saga
    async def flow() -> None:
        for n in range(5):
            await echo(n)
            await asyncio.sleep(10)

    async def scenario() -> None:
        handle = await timed.client.start(flow, id="f")
        before: list[object] = []
        for _ in range(6):
            await timed.env.advance(seconds=10)
            now = await handle.history()
            assert now[: len(before)] == before
            assert len(now) >= len(before)
            before = now
        await handle.result()

    timed.run(scenario)


def test_history_of_each_run(world: World) -> None:
    async def scenario() -> None:
        first = await world.client.start(Job, id="j")
        await first.signal(Job.end, "well")
        await first.result()
        run_id = (await first.describe()).run_id
        second = await world.client.start(Job, id="j")
        await second.signal(Job.end, "fail")
        with pytest.raises(sagas.SagaFailed):
            await second.result()
        assert (await event_names(world.client.get("j", run_id=run_id)))[-1] == "RunCompleted"
        assert (await event_names(first))[-1] == "RunCompleted"
        assert (await event_names(world.client.get("j")))[-1] == "RunFailed"

    world.run(scenario)


def test_a_long_history(everywhere: World) -> None:
    @saga
    async def flow() -> int:
        total = 0
        for n in range(120):
            total += await echo(n)
        return total

    async def scenario() -> None:
        handle = await everywhere.client.start(flow, id="f")
        assert await handle.result() == sum(range(120))
        assert (await event_names(handle)).count("StepCompleted") == 120

    everywhere.run(scenario)
