"""The everyday life of sagas in each place they can live: virtual time, reloaded at every point, Redis, and on Ray.

On Ray hosts and workers are processes of their own; that the same scenarios pass there is what this file is for.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import sagas
from sagas import Handle
from tests.conformance.everyday import SoldOut, Till, breaks, double, doubles, naps, order, read, too_long
from tests.conformance.world import World, event_names


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    return tmp_path / "diary"


async def open_till(world: World, diary: Path, *, id: str | None = None) -> Handle[int]:
    handle = await world.client.start(Till, str(diary), id=id)
    await world.until_waiting(handle, "message")
    return handle


def test_steps_in_processes_and_threads_are_retried_under_one_key(wherever: World, diary: Path) -> None:
    async def scenario() -> None:
        assert await wherever.client.execute(order, str(diary), ["book", "lamp"], 2) == "paid at 3"
        lines = read(diary)
        assert lines[:2] == ["reserve book", "reserve lamp"]
        assert [line.split()[:3] for line in lines[2:]] == [["pay", "1", "0"], ["pay", "2", "1"], ["pay", "3", "2"]]
        assert len({line.split()[3] for line in lines[2:]}) == 1

    wherever.run(scenario)


def test_what_was_done_is_undone_newest_first_and_the_callers_error_is_the_first(wherever: World, diary: Path) -> None:
    async def scenario() -> None:
        handle = await wherever.client.start(order, str(diary), ["book", "lamp", "sold out"])
        with pytest.raises(sagas.SagaFailed) as failed:
            await handle.result()
        assert SoldOut.__name__ in str(failed.value)
        assert read(diary) == ["reserve book", "reserve lamp", "release lamp <lamp>", "release book <book>"]
        described = await handle.describe()
        assert (str(described.status), str(described.compensation)) == ("failed", "done")

    wherever.run(scenario)


def test_timers_fire_in_order_and_timeouts_end_waits(wherever: World, diary: Path) -> None:
    async def scenario() -> None:
        assert await wherever.client.execute(naps, str(diary)) == ["a", "b", "c", "in time"]

    wherever.run(scenario)


def test_children_are_awaited_for_their_results(wherever: World) -> None:
    async def scenario() -> None:
        assert await wherever.client.execute(doubles, [1, 2, 3]) == [2, 4, 6]

    wherever.run(scenario)


def test_signals_queries_and_updates_meet_one_instance(wherever: World, diary: Path) -> None:
    async def scenario() -> None:
        till = await open_till(wherever, diary)
        for cents in (500, 250):
            await till.signal(Till.put, cents)
        assert await till.query(Till.content) == 750
        assert await till.update(Till.take, 700) == 50
        with pytest.raises(sagas.UpdateRejected):
            await till.update(Till.take, 700)
        await till.signal(Till.close)
        assert await till.result() == 50
        assert read(diary) == ["reserve counter", "reserve 700 taken"]

    wherever.run(scenario)


def test_one_saga_signals_another(wherever: World, diary: Path) -> None:
    async def scenario() -> None:
        one, other = [await open_till(wherever, diary) for _ in range(2)]
        await one.signal(Till.put, 5)
        await one.signal(Till.send_home, other.id)

        async def arrived() -> bool:
            return await other.query(Till.content) == 5

        await wherever.until(arrived)

    wherever.run(scenario)


def test_a_cancel_undoes_and_a_terminate_does_not(wherever: World, diary: Path) -> None:
    async def scenario() -> None:
        cancelled, terminated = [await open_till(wherever, diary) for _ in range(2)]
        await cancelled.cancel("enough")
        with pytest.raises(sagas.SagaCancelled, match="enough"):
            await cancelled.result()
        await terminated.terminate("at once")
        with pytest.raises(sagas.SagaTerminated, match="at once"):
            await terminated.result()
        assert read(diary) == ["reserve counter", "reserve counter", "release counter <counter>"]

    wherever.run(scenario)


def test_what_takes_too_long_is_undone_and_times_out(wherever: World, diary: Path) -> None:
    async def scenario() -> None:
        handle = await wherever.client.start(too_long, str(diary))
        with pytest.raises(sagas.SagaTimedOut):
            await handle.result()
        assert read(diary) == ["reserve patience", "release patience <patience>"]

    wherever.run(scenario)


def test_a_bug_parks_and_a_terminate_ends_it(wherever: World) -> None:
    async def scenario() -> None:
        handle = await wherever.client.start(breaks)
        with pytest.raises(sagas.SagaParked, match="KeyError"):
            await handle.result()
        assert "KeyError" in await wherever.until_parked(handle)
        await handle.terminate()
        with pytest.raises(sagas.SagaTerminated):
            await handle.result()

    wherever.run(scenario)


def test_a_paused_run_loses_nothing(wherever: World, diary: Path) -> None:
    async def scenario() -> None:
        till = await open_till(wherever, diary)
        await till.pause()
        await till.signal(Till.put, 5)
        await till.signal(Till.close)
        await wherever.until_event(till, "Paused", "SignalReceived")
        assert "RunCompleted" not in await event_names(till)
        await till.resume()
        assert await till.result() == 5

    wherever.run(scenario)


def test_ids_conflict_and_are_taken_again(wherever: World, diary: Path) -> None:
    async def scenario() -> None:
        till = await open_till(wherever, diary)
        with pytest.raises(sagas.SagaAlreadyStarted):
            await wherever.client.start(Till, str(diary), id=till.id)
        await till.signal(Till.close)
        assert await till.result() == 0
        assert await wherever.client.execute(double, 4, id=till.id) == 8
        with pytest.raises(sagas.SagaNotFound):
            await wherever.client.get(f"{till.id}-never").describe()

    wherever.run(scenario)


def test_many_at_once(wherever: World, diary: Path) -> None:
    async def scenario() -> None:
        starts = (wherever.client.start(order, str(diary), [f"thing {number}"]) for number in range(50))
        handles = await asyncio.gather(*starts)
        assert {await handle.result() for handle in handles} == {"paid at 1"}
        assert len(read(diary)) == 100
        assert len({line for line in read(diary) if line.startswith("pay")}) == 50

    wherever.run(scenario)
