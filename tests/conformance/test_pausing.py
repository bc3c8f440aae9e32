"""Pause and resume: no code runs, nothing is lost. Parking: what a bug does to an instance, and how it goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import sagas
from sagas import Handle, Retry, activity, query, saga, signal
from tests.conformance.world import Gate, World, event_names

log: list[str] = []
broken: list[bool] = [True]
"""Whether the code of this module has its bug."""


@pytest.fixture(autouse=True)
def _fresh() -> None:
    log.clear()
    broken[:] = [True]


@activity(retry=Retry(max_attempts=1))
async def note(what: str) -> str:
    log.append(what)
    return what


@saga
class Counter:
    def __init__(self) -> None:
        self.got: list[int] = []

    async def run(self) -> list[int]:
        for seen in range(3):
            await sagas.wait_until(lambda seen=seen: len(self.got) > seen)
            await note(f"saw {self.got[seen]}")
        return self.got

    @signal
    def put(self, n: int) -> None:
        self.got.append(n)

    @query
    def all(self) -> list[int]:
        return self.got


async def is_paused(handle: Handle[Any]) -> bool:
    return (await handle.describe()).paused


# --- pause ----------------------------------------------------------------------------------------------


def test_a_paused_instance_runs_no_code_and_loses_nothing(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Counter, id="c")
        await everywhere.until_waiting(handle, "message")
        await handle.pause()
        await everywhere.until(lambda: is_paused(handle))
        for n in range(3):
            await handle.signal(Counter.put, n)
        # Another instance's whole life passes; the paused one has not moved.
        other = await everywhere.client.start(Counter, id="other")
        for n in range(3):
            await other.signal(Counter.put, 10 + n)
        assert await other.result() == [10, 11, 12]
        assert [line for line in log if line in ("saw 0", "saw 1", "saw 2")] == []
        assert (await handle.describe()).status == "running"
        await handle.resume()
        assert await handle.result() == [0, 1, 2]
        assert log[3:] == ["saw 0", "saw 1", "saw 2"]

    everywhere.run(scenario)


def test_a_timer_falls_due_during_a_pause_and_is_late(timed: World) -> None:
    @saga
    async def flow() -> str:
        await asyncio.sleep(60)
        await note("awake")
        return "done"

    async def scenario() -> None:
        handle = await timed.client.start(flow, id="f")
        await timed.env.settle()
        await handle.pause()
        await timed.env.advance(hours=1)
        assert log == []
        await handle.resume()
        assert await handle.result() == "done"

    timed.run(scenario)


def test_a_step_that_ends_during_a_pause_is_recorded(world: World) -> None:
    gates: list[Gate] = []

    @activity
    async def wait() -> str:
        gates.append(Gate())
        await gates[-1]()
        return "done"

    @saga
    async def flow() -> str:
        found = await wait()
        await note("after")
        return found

    async def scenario() -> None:
        handle = await world.client.start(flow, id="f")
        await world.until(lambda: gates)
        await handle.pause()
        await world.until(lambda: is_paused(handle))
        gates[0].open()
        await world.until_event(handle, "StepCompleted")
        assert log == []
        await handle.resume()
        assert await handle.result() == "done"
        assert len(gates) == 1

    world.run(scenario)


def test_a_pause_outlives_the_host(durable: World) -> None:
    async def scenario() -> None:
        handle = await durable.client.start(Counter, id="c")
        await handle.pause()
        await durable.until(lambda: is_paused(handle))
        await durable.reopen(Counter, note)
        handle = durable.client.get("c")
        for n in range(3):
            await handle.signal("put", n)
        assert (await handle.describe()).paused
        assert log == []
        await handle.resume()
        assert await handle.result() == [0, 1, 2]

    durable.run(scenario)


def test_pause_twice_resume_once(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Counter, id="c")
        await handle.pause()
        await handle.pause()
        await handle.resume()
        for n in range(3):
            await handle.signal(Counter.put, n)
        assert await handle.result() == [0, 1, 2]

    world.run(scenario)


def test_a_paused_instance_can_be_terminated(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Counter, id="c")
        await handle.pause()
        await handle.terminate()
        with pytest.raises(sagas.SagaTerminated):
            await handle.result()

    world.run(scenario)


# --- parking --------------------------------------------------------------------------------------------


def test_a_run_may_park_again_until_its_bug_is_gone(world: World) -> None:
    @saga
    async def flow() -> str:
        await note("before")
        if broken[0]:
            raise AssertionError("cannot be")
        return await note("after")

    async def scenario() -> None:
        handle = await world.client.start(flow, id="f")
        for _ in range(2):
            with pytest.raises(sagas.SagaParked, match="cannot be"):
                await handle.result()
        await handle.resume()
        with pytest.raises(sagas.SagaParked):
            await handle.result()
        broken[0] = False
        await handle.resume()
        assert await handle.result() == "after"
        assert log == ["before", "after"]
        assert (await handle.describe()).parked is None

    world.run(scenario)


@pytest.mark.parametrize(
    "bug",
    [
        NameError("oops"),
        UnboundLocalError("oops"),
        AttributeError("oops"),
        TypeError("oops"),
        LookupError("oops"),
        KeyError("oops"),
        IndexError("oops"),
        AssertionError("oops"),
        ImportError("oops"),
        ModuleNotFoundError("oops"),
    ],
)
def test_what_only_a_bug_raises_parks(world: World, bug: Exception) -> None:
    @saga
    async def flow() -> None:
        raise bug

    async def scenario() -> None:
        handle = await world.client.start(flow, id="f")
        with pytest.raises(sagas.SagaParked) as parked:
            await handle.result()
        assert parked.value.id == "f"
        assert "oops" in parked.value.reason
        assert type(bug).__name__ in parked.value.reason
        described = await handle.describe()
        assert described.status == "running"
        assert described.closed is None
        assert described.parked is not None
        assert "oops" in described.parked

    world.run(scenario)


def test_the_failing_activations_commands_are_discarded(everywhere: World) -> None:
    @saga
    async def flow() -> list[str]:
        first = await note("one")
        task = asyncio.create_task(note("two"))
        await asyncio.sleep(0)  # the step is asked for ...
        if broken[0]:
            raise AttributeError("and then the bug")
        return [first, await task]

    async def scenario() -> None:
        handle = await everywhere.client.start(flow, id="f")
        with pytest.raises(sagas.SagaParked):
            await handle.result()
        assert log == ["one"]
        assert (await event_names(handle)).count("StepScheduled") == 1
        broken[0] = False
        await handle.resume()
        assert await handle.result() == ["one", "two"]
        assert log == ["one", "two"]

    everywhere.run(scenario)


def test_a_bug_in_init_parks(world: World) -> None:
    @saga
    class Flow:
        def __init__(self) -> None:
            if broken[0]:
                raise AttributeError("in init")

        async def run(self) -> str:
            return "done"

    async def scenario() -> None:
        handle = await world.client.start(Flow, id="f")
        with pytest.raises(sagas.SagaParked, match="in init"):
            await handle.result()
        broken[0] = False
        await handle.resume()
        assert await handle.result() == "done"

    world.run(scenario)


def test_a_bug_in_a_task_group_parks(world: World) -> None:
    @saga
    async def flow() -> str:
        async def child() -> str:
            await note("child")
            if broken[0]:
                return {}["missing"]
            return "done"

        async with asyncio.TaskGroup() as group:
            task = group.create_task(child())
        return task.result()

    async def scenario() -> None:
        handle = await world.client.start(flow, id="f")
        with pytest.raises(sagas.SagaParked, match="missing"):
            await handle.result()
        broken[0] = False
        await handle.resume()
        assert await handle.result() == "done"

    world.run(scenario)


def test_a_bug_that_the_saga_catches_does_not_park(world: World) -> None:
    @saga
    async def flow() -> str:
        try:
            return {}["missing"]
        except KeyError:
            return await note("caught")

    async def scenario() -> None:
        assert await world.client.execute(flow, id="f") == "caught"

    world.run(scenario)


def test_a_bug_in_an_activity_fails_the_step_and_does_not_park(world: World) -> None:
    @activity(retry=Retry(max_attempts=1))
    async def buggy() -> None:
        raise TypeError("in the activity")

    @saga
    async def flow() -> None:
        await buggy()

    async def scenario() -> None:
        with pytest.raises(sagas.SagaFailed) as failed:
            await world.client.execute(flow, id="f")
        assert failed.value.cause_type == "ActivityFailed"

    world.run(scenario)


def test_a_result_that_cannot_be_encoded_parks(world: World) -> None:
    @saga
    async def flow() -> Any:
        return object() if broken[0] else "plain"

    async def scenario() -> None:
        handle = await world.client.start(flow, id="f")
        with pytest.raises(sagas.SagaParked, match="object"):
            await handle.result()
        broken[0] = False
        await handle.resume()
        assert await handle.result() == "plain"

    world.run(scenario)


def test_signals_to_a_parked_instance_are_applied_after_resume(everywhere: World) -> None:
    @saga
    class Flow(Counter):
        async def run(self) -> list[int]:
            await note("before")
            if broken[0]:
                raise NameError("bug")
            await sagas.wait_until(lambda: len(self.got) == 2)
            return self.got

    async def scenario() -> None:
        handle = await everywhere.client.start(Flow, id="f")
        await everywhere.until_parked(handle)
        await handle.signal(Flow.put, 1)
        await handle.signal(Flow.put, 2)
        assert (await handle.describe()).parked
        broken[0] = False
        await handle.resume()
        assert await handle.result() == [1, 2]

    everywhere.run(scenario)


def test_a_parked_instance_stays_parked_through_a_crash_until_resumed(durable: World) -> None:
    @saga
    async def flow() -> str:
        await note("before")
        if broken[0]:
            raise NameError("bug")
        return "done"

    async def scenario() -> None:
        handle = await durable.client.start(flow, id="f")
        await durable.until_parked(handle)
        await durable.reopen(flow, note)
        handle = durable.client.get("f")
        with pytest.raises(sagas.SagaParked, match="bug"):
            await handle.result()
        broken[0] = False
        await handle.resume()
        assert await handle.result() == "done"
        assert log == ["before"]

    durable.run(scenario)


def test_cancel_works_on_a_parked_instance(everywhere: World) -> None:
    @saga
    async def flow() -> None:
        try:
            await note("before")
            raise NameError("bug")
        except asyncio.CancelledError:
            await note("cancelled")
            raise

    async def scenario() -> None:
        handle = await everywhere.client.start(flow, id="f")
        await everywhere.until_parked(handle)
        await handle.cancel("give up")
        with pytest.raises(sagas.SagaCancelled, match="give up"):
            await handle.result()
        assert (await handle.describe()).parked is None

    everywhere.run(scenario)


def test_terminate_works_on_a_parked_instance(everywhere: World) -> None:
    @saga
    async def flow() -> None:
        raise NameError("bug")

    async def scenario() -> None:
        handle = await everywhere.client.start(flow, id="f")
        await everywhere.until_parked(handle)
        await handle.terminate("give up")
        with pytest.raises(sagas.SagaTerminated, match="give up"):
            await handle.result()

    everywhere.run(scenario)


def test_one_parked_instance_does_not_hold_up_others(world: World) -> None:
    @saga
    async def flow(bug: bool) -> str:
        if bug:
            raise NameError("bug")
        return await note("fine")

    async def scenario() -> None:
        handles = [await world.client.start(flow, n % 2 == 0, id=f"f{n}") for n in range(6)]
        for n in (1, 3, 5):
            assert await handles[n].result() == "fine"
        for n in (0, 2, 4):
            await world.until_parked(handles[n])
        assert await world.client.count("status = 'running'") == 3

    world.run(scenario)


# --- the code and the history part ----------------------------------------------------------------------


@activity
async def left() -> str:
    log.append("left")
    return "left"


@activity
async def right() -> str:
    log.append("right")
    return "right"


@saga
class Forked:
    """Its first step depends on a flag outside, as if the code were another version."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.told = False

    async def run(self) -> str:
        if broken[0]:
            first = await left()
        elif self.kind == "other step":
            first = await right()
        elif self.kind == "a timer":
            await asyncio.sleep(0.01)
            first = "slept"
        else:
            first = "nothing"
        await sagas.wait_until(lambda: self.told)
        if self.kind == "nothing at all":
            await right()
        return first

    @signal
    def tell(self) -> None:
        self.told = True


@pytest.mark.parametrize("kind", ["other step", "a timer", "nothing at all"])
def test_code_that_parts_from_its_history_parks(durable: World, kind: str) -> None:
    async def scenario() -> None:
        handle = await durable.client.start(Forked, kind, id="f")
        await durable.until_waiting(handle, "message")
        broken[0] = False  # now it is other code
        await durable.reopen(Forked, left, right)
        handle = durable.client.get("f")
        await handle.signal("tell")
        with pytest.raises(sagas.SagaParked, match="NondeterminismError"):
            await handle.result()
        assert log == ["left"]
        broken[0] = True  # the old code is back
        await handle.resume()
        assert await handle.result() == "left"
        assert log == (["left", "right"] if kind == "nothing at all" else ["left"])

    durable.run(scenario)


def test_code_may_change_after_what_has_happened(durable: World) -> None:
    @saga
    class Flow:
        def __init__(self) -> None:
            self.told = False

        async def run(self) -> str:
            await left()
            await sagas.wait_until(lambda: self.told)
            return await (left() if broken[0] else right())

        @signal
        def tell(self) -> None:
            self.told = True

    async def scenario() -> None:
        handle = await durable.client.start(Flow, id="f")
        await durable.until_waiting(handle, "message")
        broken[0] = False
        await durable.reopen(Flow, left, right)
        handle = durable.client.get("f")
        await handle.signal("tell")
        assert await handle.result() == "right"

    durable.run(scenario)


def test_a_type_the_host_does_not_know_waits_for_code(valkey_url: str) -> None:
    @saga
    async def other() -> str:
        return "other"

    world = World(virtual=False, url=valkey_url)

    async def scenario() -> None:
        handle = await world.client.start(Counter, id="c")
        await world.until_waiting(handle, "message")
        await world.reopen(other)
        handle = world.client.get("c")
        for n in range(3):
            await handle.signal("put", n)
        assert await world.client.execute(other, id="other") == "other"
        described = await handle.describe()
        assert described.status == "running"
        assert described.parked is None
        await world.reopen(Counter, note, other)
        assert await world.client.get("c").result() == [0, 1, 2]

    world.run(scenario)


def test_an_owner_with_other_code_tries_a_parked_instance_once(durable: World, monkeypatch: pytest.MonkeyPatch) -> None:
    code = ["v1"]
    monkeypatch.setattr("sagas.engine.resident.fingerprint", lambda _saga_type: code[0])

    @saga
    async def flow() -> str:
        await note("before")
        if broken[0]:
            raise NameError("bug")
        return "done"

    async def opened_with(version: str) -> sagas.Handle[str]:
        code[0] = version
        await durable.reopen(flow, note)
        return durable.client.get("f")

    async def scenario() -> None:
        await durable.until_parked(await durable.client.start(flow, id="f"))
        broken[0] = False
        handle = await opened_with("v1")  # code has not changed: nobody may believe that it was mended
        with pytest.raises(sagas.SagaParked, match="bug"):
            await handle.result()
        broken[0] = True
        handle = await opened_with("v2")
        while len(parks := [e for e in await handle.history() if type(e).__name__ == "Parked"]) < 2:
            await asyncio.sleep(0.01)
        assert [each.code for each in parks] == ["v1", "v2"]
        broken[0] = False
        handle = await opened_with("v2")
        with pytest.raises(sagas.SagaParked, match="bug"):
            await handle.result()
        handle = await opened_with("v3")
        while (await handle.describe()).parked:
            await asyncio.sleep(0.01)
        assert await handle.result() == "done"

    durable.run(scenario)
