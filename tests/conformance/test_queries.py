"""Queries: what an instance says of its state, running or ended, without changing anything."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import pytest

import sagas
from sagas import activity, query, saga, signal
from tests.conformance.world import World, event_names


@activity
async def echo(n: int) -> int:
    return n


@dataclass
class View:
    total: int
    parts: list[int]


@saga
class Account:
    def __init__(self, first: int = 0) -> None:
        self.parts = [first]
        self.drawn: list[float] = []
        self.closed = False

    async def run(self) -> int:
        await sagas.wait_until(lambda: self.closed)
        if sum(self.parts) < 0:
            raise ValueError("overdrawn")
        return sum(self.parts)

    @signal
    def add(self, n: int) -> None:
        self.parts.append(n)

    @signal
    def draw(self) -> None:
        self.drawn.append(sagas.random())

    @signal
    def close(self) -> None:
        self.closed = True

    @query
    def view(self) -> View:
        return View(sum(self.parts), self.parts)

    @query
    def part(self, index: int, default: int = -1) -> int:
        return self.parts[index] if index < len(self.parts) else default

    @query
    def draws(self) -> list[float]:
        return self.drawn

    @query
    def broken(self) -> int:
        raise ValueError("cannot say")

    @query
    def starts_a_step(self) -> None:
        self.task = asyncio.ensure_future(echo(1))

    @query
    def rolls(self) -> float:
        return sagas.random()

    @query
    def secret(self) -> object:
        return object()


def test_a_query_sees_what_was_signalled_before(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Account, 1, id="a")
        await handle.signal(Account.add, 2)
        assert await handle.query(Account.view) == View(3, [1, 2])

    everywhere.run(scenario)


def test_a_query_by_name_and_with_arguments(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Account, 1, id="a")
        assert await handle.query("part", 0) == 1
        assert await handle.query(Account.part, 7) == -1
        assert await world.client.get("a").query(Account.part, 7, -2) == -2

    world.run(scenario)


def test_a_query_of_an_ended_instance_sees_its_last_state(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Account, 1, id="a")
        await handle.signal(Account.close)
        assert await handle.result() == 1
        assert await handle.query(Account.part, 0) == 1

    everywhere.run(scenario)


def test_a_query_of_failed_cancelled_and_terminated_instances(world: World) -> None:
    async def scenario() -> None:
        failed = await world.client.start(Account, -5, id="failed")
        await failed.signal(Account.close)
        cancelled = await world.client.start(Account, 6, id="cancelled")
        await cancelled.cancel()
        terminated = await world.client.start(Account, 7, id="terminated")
        await world.until_waiting(terminated, "message")
        await terminated.terminate()
        for handle in (failed, cancelled, terminated):
            with pytest.raises(sagas.SagaError):
                await handle.result()
        assert await failed.query(Account.part, 0) == -5
        assert await terminated.query(Account.part, 0) == 7

    world.run(scenario)


def test_a_query_after_a_crash(durable: World) -> None:
    async def scenario() -> None:
        handle = await durable.client.start(Account, 1, id="a")
        await handle.signal(Account.add, 2)
        await durable.until_event(handle, "SignalReceived")
        await durable.reopen(Account)
        assert await durable.client.get("a").query(Account.view) == View(3, [1, 2])

    durable.run(scenario)


def test_an_unknown_query_fails(everywhere: World) -> None:
    async def scenario() -> None:
        await everywhere.client.start(Account, id="a")
        with pytest.raises(sagas.QueryFailed, match="no_such") as failed:
            await everywhere.client.get("a").query("no_such")
        assert failed.value.name == "no_such"

    everywhere.run(scenario)


@pytest.mark.parametrize("name", ["add", "run", "__init__", "parts"])
def test_only_queries_can_be_asked(world: World, name: str) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Account, 1, id="a")
        with pytest.raises(sagas.QueryFailed):
            await world.client.get("a").query(name)
        assert await handle.query(Account.view) == View(1, [1])

    world.run(scenario)


def test_a_query_that_raises_fails_for_its_caller_alone(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Account, 1, id="a")
        with pytest.raises(sagas.QueryFailed) as failed:
            await handle.query(Account.broken)
        assert (failed.value.name, failed.value.cause_type, failed.value.message) == (
            "broken",
            "ValueError",
            "cannot say",
        )
        assert (await handle.describe()).parked is None
        await handle.signal(Account.close)
        assert await handle.result() == 1

    world.run(scenario)


def test_a_query_with_a_bug_does_not_park(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Account, 1, id="a")
        with pytest.raises(sagas.QueryFailed):
            await handle.query(Account.part, -9)
        assert (await handle.describe()).parked is None

    world.run(scenario)


def test_a_query_with_wrong_arguments(world: World) -> None:
    async def scenario() -> None:
        await world.client.start(Account, 1, id="a")
        for args in ((), (1, 2, 3), ("x",)):
            with pytest.raises(sagas.SagaError):
                await world.client.get("a").query("part", *args)

    world.run(scenario)


def test_a_query_whose_answer_cannot_be_encoded(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Account, 1, id="a")
        with pytest.raises(sagas.SagaError):
            await handle.query(Account.secret)
        assert await handle.query(Account.part, 0) == 1

    world.run(scenario)


def test_a_query_may_only_read(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Account, 1, id="a")
        with pytest.raises(sagas.QueryFailed) as failed:
            await handle.query(Account.starts_a_step)
        assert failed.value.cause_type == "ReadOnlyError"
        await handle.signal(Account.close)
        assert await handle.result() == 1
        assert "StepScheduled" not in await event_names(handle)

    world.run(scenario)


def test_a_query_leaves_no_history_and_no_trace_in_chance(timed: World) -> None:
    async def scenario() -> None:
        handle = await timed.client.start(Account, 1, id="a")
        await timed.until_waiting(handle, "message")
        before = await event_names(handle)
        await handle.query(Account.view)
        with suppress(sagas.QueryFailed):
            await handle.query(Account.rolls)
        assert await event_names(handle) == before
        await handle.signal(Account.draw)
        drawn = await handle.query(Account.draws)
        await timed.env.restart()
        handle = timed.client.get("a")
        assert await handle.query(Account.draws) == drawn
        await handle.signal("close")
        assert await handle.result() == 1

    timed.run(scenario)


def test_a_query_of_an_id_that_never_was(everywhere: World) -> None:
    async def scenario() -> None:
        with pytest.raises(sagas.SagaNotFound):
            await everywhere.client.get("nobody").query("view")

    everywhere.run(scenario)


def test_a_query_that_fails_says_what_there_is(world: World) -> None:
    async def scenario() -> None:
        await world.client.start(Account, 1, id="a")
        handle = world.client.get("a")
        with pytest.raises(sagas.QueryFailed, match=r"broken.*part.*view"):
            await handle.query("no_such")
        for args in ((), (1, 2, 3), ("x",)):
            with pytest.raises(sagas.QueryFailed, match=r"Account.part\(index: "):
                await handle.query("part", *args)

    world.run(scenario)


def test_a_parked_instance_is_asked_for_what_is_known_of_it(durable: World) -> None:
    async def scenario() -> None:
        changed[0] = bug[0] = False
        await durable.client.start(Teller, id="t")
        handle = durable.client.get("t")
        await durable.until_waiting(handle, "message")
        await handle.signal("add", 1)
        await durable.until_event(handle, "StepCompleted")
        bug[0] = True
        await handle.signal("add", 2)
        assert "a bug" in await durable.until_parked(handle)
        assert await handle.query("all_parts") == [1]
        with pytest.raises(sagas.QueryFailed, match="all_parts"):
            await handle.query("nothing")
        bug[0] = False
        await handle.resume()
        await handle.signal("add", 3)
        await durable.until(lambda: _counted(handle, [1, 2, 3]))
        changed[0] = True  # and where code and history part, how it stood before
        await durable.reopen(Teller, echo)
        handle = durable.client.get("t")
        await handle.signal("add", 4)
        assert "NondeterminismError" in await durable.until_parked(handle)
        assert await handle.query("all_parts") == []
        assert await handle.query("all_parts") == []
        await handle.terminate()
        with pytest.raises(sagas.SagaTerminated):
            await handle.result()
        assert await handle.query("all_parts") == []

    durable.run(scenario)


async def _counted(handle: sagas.Handle[object], parts: list[int]) -> bool:
    return await handle.query("all_parts") == parts


changed, bug = [False], [False]


@saga
class Teller:
    def __init__(self) -> None:
        self.parts: list[int] = []

    async def run(self) -> None:
        await sagas.wait_until(lambda: bool(self.parts))
        if not changed[0]:
            await echo(1)
        await asyncio.sleep(3600)

    @signal
    def add(self, n: int) -> None:
        if bug[0] and n == 2:
            raise KeyError("a bug")
        self.parts.append(n)

    @query
    def all_parts(self) -> list[int]:
        return self.parts


@saga
class Stillborn:
    def __init__(self) -> None:
        raise KeyError("a bug")

    async def run(self) -> None: ...

    @query
    def anything(self) -> int:
        return 1


def test_a_query_of_what_was_never_made(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Stillborn, id="s")
        await world.until_parked(handle)
        with pytest.raises(sagas.QueryFailed, match="__init__"):
            await handle.query(Stillborn.anything)

    world.run(scenario)


def test_a_function_has_no_queries(world: World) -> None:
    @saga
    async def flow() -> None:
        await sagas.sleep(0.01)

    async def scenario() -> None:
        handle = await world.client.start(flow, id="f")
        with pytest.raises(sagas.QueryFailed, match="is a function"):
            await handle.query("anything")

    world.run(scenario)
