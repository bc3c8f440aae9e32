"""``start_delay=``: a run that is there at once, takes messages, and begins when it is due."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import sagas
from sagas import Client, Handle, saga, signal
from tests.conformance.world import START, World, event_names


@saga
class Delayed:
    """Says what it was told, and when it began, in seconds of virtual time."""

    made = 0
    begun = 0

    def __init__(self, first: str) -> None:
        type(self).made += 1
        self.told = [first]

    async def run(self) -> list[Any]:
        type(self).begun += 1
        return [*self.told, (sagas.now() - sagas.info().started).total_seconds()]

    @signal
    async def tell(self, what: str) -> None:
        await sagas.sleep(1)
        self.told.append(what)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Delayed.made = Delayed.begun = 0


async def start(client: Client, delay: float | timedelta = timedelta(hours=1), **options: Any) -> Handle[list[Any]]:
    return await client.start(Delayed, "a", id="d", start_delay=delay, **options)


def test_it_is_there_at_once_and_begins_when_it_is_due(timed: World) -> None:
    async def scenario() -> None:
        handle = await start(timed.client, attributes={"plan": "pro"})
        described = await handle.describe()
        assert (described.status, described.started, described.closed) == ("running", START, None)
        assert [(wait.kind, wait.at) for wait in described.waiting_for] == [("timer", START + timedelta(hours=1))]
        assert described.attributes == {"plan": "pro"}
        assert (Delayed.made > 0, Delayed.begun) == (True, 0)
        await timed.env.advance(minutes=59)
        assert Delayed.begun == 0
        await timed.env.advance(minutes=1)
        assert Delayed.begun > 0
        assert await handle.result() == ["a", 3600.0]

    timed.run(scenario)


def test_on_a_real_clock_too(everywhere: World) -> None:
    async def scenario() -> None:
        said, waited = await (await start(everywhere.client, 0.05)).result()
        assert said == "a"
        assert waited >= 0.05

    everywhere.run(scenario)


def test_messages_are_handled_before_it_begins(timed: World) -> None:
    async def scenario() -> None:
        handle = await start(timed.client)
        await handle.signal(Delayed.tell, "b")
        await timed.env.advance(minutes=30)
        assert "TimerFired" in await event_names(handle), "the handler slept and went on"
        await handle.signal(Delayed.tell, "c")
        assert await handle.result() == ["a", "b", "c", 3600.0]

    timed.run(scenario)


def test_it_outlives_its_host(timed: World) -> None:
    async def scenario() -> None:
        handle = await start(timed.client)
        await handle.signal(Delayed.tell, "b")
        await timed.env.settle()
        await timed.env.stop()
        await timed.env.advance(minutes=45)
        await timed.env.start()
        assert (await handle.describe()).status == "running"
        assert Delayed.begun == 0
        assert await handle.result() == ["a", "b", 3600.0]

    timed.run(scenario)


def test_one_that_is_cancelled_before_never_begins(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await start(everywhere.client)
        await everywhere.until_waiting(handle, "timer")
        await handle.cancel("changed my mind")
        with pytest.raises(sagas.SagaCancelled, match="changed my mind"):
            await handle.result()
        assert (await handle.describe()).status == "cancelled"
        assert Delayed.begun == 0

    everywhere.run(scenario)


def test_one_that_is_paused_begins_when_it_is_resumed(timed: World) -> None:
    async def scenario() -> None:
        handle = await start(timed.client)
        await handle.pause()
        await timed.env.advance(hours=2)
        assert Delayed.begun == 0
        await handle.resume()
        assert await handle.result() == ["a", 7200.0]

    timed.run(scenario)


def test_its_timeout_counts_from_when_it_is_due(timed: World) -> None:
    @saga(timeout=60)
    async def bounded() -> None:
        await sagas.sleep(3600)

    async def scenario() -> None:
        handle = await timed.client.start(bounded, id="b", start_delay=3600)
        with pytest.raises(sagas.SagaTimedOut):
            await handle.result()
        assert timed.env.now == START + timedelta(seconds=3660)

    timed.run(scenario)


@pytest.mark.parametrize("delay", [-1, "1h", float("inf")])
def test_a_delay_is_a_duration(world: World, delay: Any) -> None:
    async def scenario() -> None:
        with pytest.raises(sagas.InvalidArgument, match="start_delay"):
            await start(world.client, delay)

    world.run(scenario)
