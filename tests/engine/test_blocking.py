"""Saga code that does not come to rest is broken off, tried again, parked at the third time; its host goes on."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest

import sagas
from sagas import Client, QueryFailed, SagaParked, activity, compensating, query, saga, signal
from sagas.engine.watchdog import Watchdog
from sagas.kernel.instance import Instance
from sagas.kernel.saga import saga_type_of
from tests.kernel.driver import Run

TRIES: list[int] = []
BLOCKED = [3]
"""How many of its tries do not come to rest."""


@pytest.fixture(autouse=True)
def _none_tried() -> None:
    TRIES.clear()
    BLOCKED[0] = 3


@activity
async def work(number: int) -> int:
    return number


@work.compensation
async def undo(result: int | None, number: int) -> None: ...


def keep_busy() -> None:
    TRIES.append(1)
    while len(TRIES) <= BLOCKED[0]:
        pass


async def keep_spinning() -> None:
    TRIES.append(1)
    while len(TRIES) <= BLOCKED[0]:
        await asyncio.sleep(0)


@saga
async def busy() -> int:
    async with compensating():
        await work(1)
        keep_busy()
    return 7


@saga
async def stubborn() -> int:
    await work(1)
    try:
        keep_busy()
    except BaseException:
        while len(TRIES) <= BLOCKED[0]:
            pass
        raise
    return 7


@saga
async def spinning() -> int:
    await work(1)
    await keep_spinning()
    return 7


@saga
async def quick(number: int) -> int:
    return await work(number) + await work(number)


def play(scenario: Callable[[Client], Coroutine[Any, Any, None]], limit_s: float = 0.1, **options: Any) -> None:
    async def main() -> None:
        async with sagas.embedded(activation_limit=limit_s, **options) as client:
            await asyncio.wait_for(scenario(client), 60)

    asyncio.run(main())


async def kinds(handle: sagas.Handle[Any]) -> list[str]:
    return [type(event).__name__ for event in await handle.history()]


@pytest.mark.parametrize(("flow", "kind"), [(busy, "Blocked"), (stubborn, "Blocked"), (spinning, "Spinning")])
def test_it_parks_at_the_third_time_and_the_others_go_on(flow: Any, kind: str) -> None:
    async def scenario(client: Client) -> None:
        handle = await client.start(flow, id="it")
        others = [await client.start(quick, number, id=f"other-{number}") for number in range(5)]
        with pytest.raises(SagaParked, match=kind) as parked:
            await handle.result()
        assert (len(TRIES), "without" in parked.value.reason) == (3, True)
        assert [await other.result() for other in others] == [0, 2, 4, 6, 8]
        assert "CompensationStarted" not in await kinds(handle)
        BLOCKED[0] = 0
        await handle.resume()
        assert await handle.result() == 7

    play(scenario, limit_s=0.1 if kind == "Blocked" else 30)


def test_where_it_stood_is_said() -> None:
    async def scenario(client: Client) -> None:
        handle = await client.start(busy, id="it")
        with pytest.raises(SagaParked) as parked:
            await handle.result()
        assert f"{__file__}, line " in parked.value.reason
        assert "belong in an @activity" in parked.value.reason

    play(scenario)


@pytest.mark.parametrize("flow", [busy, spinning])
def test_a_try_that_comes_to_rest_goes_on_as_if_nothing_had_been(flow: Any) -> None:
    async def scenario(client: Client) -> None:
        BLOCKED[0] = 2
        handle = await client.start(flow, id="it")
        assert await handle.result() == 7
        assert "Parked" not in await kinds(handle)
        assert len(TRIES) == 3

    play(scenario, limit_s=0.1 if flow is busy else 30)


@saga
@dataclass
class Asked:
    done: bool = False

    async def run(self) -> int:
        await sagas.wait_until(lambda: self.done)
        return 7

    @query
    def think(self) -> None:
        keep_busy()

    @signal
    def end(self) -> None:
        self.done = True


def test_a_query_that_blocks_fails_and_the_run_goes_on() -> None:
    async def scenario(client: Client) -> None:
        handle = await client.start(Asked, id="it")
        with pytest.raises(QueryFailed) as failed:
            await handle.query(Asked.think)
        assert failed.value.cause_type == "Blocked"
        await handle.signal(Asked.end)
        assert await handle.result() == 7

    play(scenario)


def test_a_replay_that_blocks_is_counted_too() -> None:
    async def scenario(client: Client) -> None:
        handle = await client.start(replayed, id="it")
        while "TimerSet" not in await kinds(handle):
            await asyncio.sleep(0.01)
        BLOCKED[0] = 4  # the code of another day: its first try was good, its replays are not
        await handle.signal("nobody_hears")
        with pytest.raises(SagaParked, match="Blocked"):
            await handle.result()
        assert len(TRIES) == 4

    BLOCKED[0] = 0
    play(scenario, residents=0)


@saga
async def replayed() -> int:
    keep_busy()
    await sagas.sleep(3600)
    return 7


# It may arrive while Python runs the finalizer of some garbage, which swallows it: the activation is void all the same.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_it_strikes_inside_an_activation_or_not_at_all() -> None:
    """Activations that end at about the limit: each ends well or is broken off, and nobody else ever is."""

    @saga
    async def about(turns: int) -> int:
        for _ in range(turns):
            await asyncio.sleep(0)
        return 7

    kind, ends = saga_type_of(about), list[str]()
    started = [Run(about, turns) for turns in (1, 200, 2000)]
    dog = Watchdog(0.001)
    dog.start()
    until = time.monotonic() + 1
    try:
        for run in itertools.cycle(started):
            instance = Instance(kind)
            with_facts = [run._started]
            ends.append(instance.activate(with_facts, run.now_ms).park.partition(":")[0])
            instance.evict()
            if time.monotonic() > until and "Blocked" in ends:
                break
    finally:
        dog.stop()
    assert set(ends) == {"", "Blocked"}


def test_a_thread_that_runs_no_saga_is_never_struck() -> None:
    dog = Watchdog(0.001)
    dog.start()
    until = time.monotonic() + 0.05
    while time.monotonic() < until:
        pass
    dog.stop()
    assert threading.current_thread().is_alive()
