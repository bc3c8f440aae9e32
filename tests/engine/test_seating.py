"""Dedicated instances: their code runs in a process of its own, which may be absent, die, hang, or come back late."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from sagas import (
    DefinitionError,
    QueryFailed,
    SagaTerminated,
    activity,
    compensating,
    query,
    saga,
    signal,
    sleep,
    wait_until,
)
from sagas.engine.host import Host
from sagas.kernel.saga import saga_type_of
from sagas.store.keys import shard_of
from tests.engine.rig import Rig, play, until
from tests.engine.seats import Rooms

done: list[str] = []


@activity
async def work(name: str) -> str:
    done.append(name)
    return name.upper()


@work.compensation
async def undo(_result: str | None, name: str) -> None:
    done.append(f"not {name}")


@saga(placement="dedicated", ray={"num_gpus": 1})
@dataclass
class Studio:
    films: list[str] = field(default_factory=list)

    async def run(self) -> list[str]:
        async with compensating():
            self.films.append(await work("a"))
            await sleep(100)
            self.films += await asyncio.gather(work("b"), work("c"))
            await wait_until(lambda: "end" in self.films)
        return self.films

    @signal
    async def add(self, film: str) -> None:
        self.films.append(await work(film))

    @signal
    def end(self) -> None:
        self.films.append("end")

    @query
    def shown(self) -> list[str]:
        return self.films


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    done.clear()


WHOLE = ["A", "X", "B", "C", "end"]


async def season(rig: Rig) -> list[str]:
    handle = await rig.client.start(Studio, id="studio")
    await until(lambda: done == ["a"])
    await handle.signal(Studio.add, "x")
    assert await handle.query(Studio.shown) in (["A"], ["A", "X"])
    await until(lambda: "c" in done)
    await handle.signal(Studio.end)
    return await handle.result()


def test_a_whole_life_in_a_process_of_its_own() -> None:
    async def scenario(rig: Rig) -> None:
        rooms = Rooms(Studio, work)
        await rig.host(placement=rooms, seat_idle_s=10)
        assert await season(rig) == WHOLE
        assert done == ["a", "x", "b", "c"]
        assert len(rooms.opened) >= 2, "it slept for longer than a process is kept"
        await until(lambda: not rooms.open_seats())

    play(scenario, Studio, work)


@pytest.mark.parametrize("when", ["dies_at", "dies_after"])
def test_a_process_killed_at_any_turn_is_followed_by_another(when: str) -> None:
    async def lived(dies_in: int) -> bool:
        """Whether it got so far."""
        done.clear()
        got: list[bool] = []

        async def scenario(rig: Rig) -> None:
            rooms = Rooms(Studio, work)
            setattr(rooms, when, lambda turn: turn == dies_in)
            await rig.host(placement=rooms)
            assert await season(rig) == WHOLE
            assert done == ["a", "x", "b", "c"], "no step is made twice for it"
            got.append(rooms.turns >= dies_in)

        rig = Rig(Studio, work)
        try:
            await scenario(rig)
        finally:
            await rig.close()
        return got[0]

    async def all_turns(_rig: Rig) -> None:
        for number in range(1, 50):
            if not await lived(number):
                assert number > 5
                return

    play(all_turns)


def test_three_that_hang_park_it_and_resuming_tries_again() -> None:
    async def scenario(rig: Rig) -> None:
        rooms = Rooms(Studio, work)
        await rig.host(placement=rooms, seat_turn_s=5)
        rooms.answers.clear()
        handle = await rig.client.start(Studio, id="studio")
        await until(lambda: "Parked" in rig.kinds("studio"))
        assert rig.head("studio").parked == (
            "3 processes of its own were lost over one turn, the last one: it did not answer"
        )
        assert len(rooms.opened) == 3
        assert not rooms.open_seats()
        rooms.answers.set()
        await handle.resume()
        await until(lambda: done == ["a"])

    play(scenario, Studio, work)


def test_until_there_is_a_process_mail_is_recorded_and_says_why() -> None:
    async def scenario(rig: Rig) -> None:
        rooms = Rooms(Studio, work)
        rooms.free.clear()
        host = await rig.host(placement=rooms)
        waiting = await rig.client.start(Studio, id="waiting")
        ended = await rig.client.start(Studio, id="ended")
        asked = asyncio.ensure_future(waiting.query(Studio.shown))
        asked_in_vain = asyncio.ensure_future(ended.query(Studio.shown))
        await waiting.signal(Studio.add, "x")
        await until(lambda: rig.kinds("waiting") == ["RunStarted", "SignalReceived"])
        (wait,) = (await waiting.describe()).waiting_for
        assert str(wait) == "the code of 'Studio' waits for a process of its own (num_gpus=1)"
        await ended.terminate("nobody comes")
        with pytest.raises(SagaTerminated):
            await ended.result()
        with pytest.raises(QueryFailed):
            await asked_in_vain
        assert not asked.done()
        rooms.free.set()
        assert await asked == []
        await until(lambda: done in (["x", "a"], ["a", "x"]))
        assert rooms.open_seats() == ["waiting"]
        assert not host.violations

    play(scenario, Studio, work)


def test_what_comes_back_for_a_lost_shard_is_dropped() -> None:
    async def scenario(rig: Rig) -> None:
        rooms = Rooms(Studio, work)
        host = await rig.host(placement=rooms, lease_ms=None)
        rooms.answers.clear()
        await rig.client.start(Studio, id="studio")
        await until(lambda: rooms.turns == 1)
        shard = host._shards[shard_of("studio")]
        host.lose(shard, "a test says so")
        assert not rooms.open_seats()
        rooms.answers.set()
        await host.rebalance()
        await until(lambda: done == ["a"])
        assert rig.kinds("studio").count("StepScheduled") == 1

    play(scenario, Studio, work)


def test_no_more_processes_than_there_may_be_and_none_for_who_sleeps() -> None:
    async def scenario(rig: Rig) -> None:
        rooms = Rooms(Studio, work, limit=1)
        host: Host = await rig.host(placement=rooms, seat_idle_s=1000)
        first = await rig.client.start(Studio, id="first")
        await until(lambda: done == ["a"])
        second = await rig.client.start(Studio, id="second")
        await until(lambda: done == ["a", "a"])
        assert rooms.open_seats() == ["second"], "the first one sleeps, and needs none"
        assert await first.query(Studio.shown) == ["A"]
        assert rooms.open_seats() == ["first"]
        for handle in (first, second):
            await handle.signal(Studio.end)
        assert sorted(await first.result()) == sorted(await second.result()) == ["A", "B", "C", "end"]
        await until(lambda: not rooms.open_seats())
        assert not host.violations

    play(scenario, Studio, work)


def test_without_a_placement_it_runs_where_all_do() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.host()
        assert await season(rig) == WHOLE

    play(scenario, Studio, work)


def test_declarations() -> None:
    assert saga_type_of(Studio).ray == {"num_gpus": 1}

    async def flow() -> None: ...

    with pytest.raises(DefinitionError, match="placement is 'pooled' or 'dedicated', not 'alone'"):
        saga(placement="alone")(flow)  # type: ignore[call-overload]
    with pytest.raises(DefinitionError, match="say placement='dedicated' too"):
        saga(ray={"num_gpus": 1})(flow)
    with pytest.raises(DefinitionError, match="@saga: ray= knows no 'gpu'"):
        saga(placement="dedicated", ray={"gpu": 1})(flow)  # type: ignore[typeddict-unknown-key]
