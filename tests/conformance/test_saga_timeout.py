"""``@saga(timeout=)``: what takes too long is undone and ends TIMED_OUT; nothing else changes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

import sagas
from sagas import Handle, SagaTimedOut, activity, compensating, query, saga, signal
from tests.conformance.shop import Shop
from tests.conformance.world import START, Gate, World, event_names

HOUR = 3600


@saga(timeout=timedelta(hours=1))
class Bounded:
    """Waits to be told, inside a block with an undo; ``stubborn`` code waits on, whatever cancels it."""

    shop: Shop

    def __init__(self, stubborn: bool = False) -> None:
        self.told: list[str] = []
        self.stubborn = stubborn

    async def run(self) -> str:
        async with compensating():
            await self.shop.act("a")
            try:
                await sagas.wait_until(lambda: self.told)
            except asyncio.CancelledError:
                if not self.stubborn:
                    raise
                return "went on"
        return self.told[0]

    @signal
    def tell(self, what: str) -> None:
        self.told.append(what)

    @query
    def heard(self) -> list[str]:
        return self.told


@pytest.fixture(autouse=True)
def shop() -> Shop:
    Bounded.shop = Shop()
    return Bounded.shop


async def timed_out(handle: Handle[Any]) -> None:
    with pytest.raises(SagaTimedOut) as raised:
        await handle.result()
    assert (raised.value.id, raised.value.reason) == (handle.id, "its timeout has passed")
    described = await handle.describe()
    assert described.status == "timed_out"
    assert described.closed is not None
    assert (await event_names(handle))[-1] == "RunTimedOut"


def test_what_takes_too_long_is_undone_and_times_out(timed: World, shop: Shop) -> None:
    async def scenario() -> None:
        handle = await timed.client.start(Bounded, id="b")
        await timed.until_waiting(handle, "message")
        await timed.env.advance(HOUR - 1)
        described = await handle.describe()
        assert described.status == "running"
        assert not any("timer" in str(wait) for wait in described.waiting_for), "nothing of it waits for its deadline"
        await timed.env.advance(1)
        await timed_out(handle)
        assert shop.log == ["do a", "undo a <a>"]
        assert (await handle.describe()).compensation == "done"
        assert timed.env.now == START + timedelta(hours=1)

    timed.run(scenario)


def test_it_times_out_on_a_real_clock_too(everywhere: World) -> None:
    @saga(timeout=0.05)
    async def brief() -> None:
        await asyncio.Event().wait()

    async def scenario() -> None:
        await timed_out(await everywhere.client.start(brief, id="b"))

    everywhere.run(scenario)


def test_what_ends_in_time_leaves_no_timer(timed: World) -> None:
    async def scenario() -> None:
        handle = await timed.client.start(Bounded, id="b")
        await handle.signal(Bounded.tell, "x")
        assert await handle.result() == "x"
        await timed.env.advance(days=1)
        assert (await handle.describe()).status == "completed"
        assert not {"TimerSet", "TimerFired"} & set(await event_names(handle))

    timed.run(scenario)


def test_the_timeout_outlives_its_host(timed: World) -> None:
    async def scenario() -> None:
        handle = await timed.client.start(Bounded, id="b")
        await timed.until_waiting(handle, "message")
        await timed.env.stop()
        await timed.env.advance(2 * HOUR)
        await timed.env.start()
        await timed_out(handle)

    timed.run(scenario)


@pytest.mark.parametrize("first", ["cancel", "timeout"])
def test_of_a_cancel_and_the_timeout_the_first_counts(timed: World, shop: Shop, first: str) -> None:
    """Both while its undo runs, which neither interrupts: so both wait there, in the order in which they came."""

    async def scenario() -> None:
        undo = shop.gate("undo a")
        handle = await timed.client.start(Bounded, id="b")
        await timed.until_waiting(handle, "message")
        if first == "cancel":
            await handle.cancel("enough")
            await timed.until(lambda: undo.came)
            await timed.env.advance(HOUR)
        else:
            await timed.env.advance(HOUR)
            await timed.until(lambda: undo.came)
            await handle.cancel("enough")
        undo.open()
        with pytest.raises(sagas.SagaCancelled if first == "cancel" else SagaTimedOut):
            await handle.result()
        assert shop.log.count("undo a <a>") == 1

    timed.run(scenario)


def test_code_that_goes_on_after_the_timeout_may_end_otherwise(timed: World) -> None:
    async def scenario() -> None:
        handle = await timed.client.start(Bounded, True, id="b")
        assert await handle.result() == "went on"
        assert (await handle.describe()).status == "completed"

    timed.run(scenario)


def test_a_paused_run_times_out_when_it_is_resumed(timed: World) -> None:
    async def scenario() -> None:
        handle = await timed.client.start(Bounded, id="b")
        await timed.until_waiting(handle, "message")
        await handle.pause()
        await timed.env.advance(2 * HOUR)
        described = await handle.describe()
        assert (described.status, described.paused) == ("running", True)
        await handle.signal(Bounded.tell, "too late")
        await handle.resume()
        await timed_out(handle)

    timed.run(scenario)


def test_a_parked_run_times_out_when_it_is_resumed_though_its_code_would_park_again(timed: World) -> None:
    @activity
    async def done() -> None: ...

    @saga(timeout=HOUR)
    async def broken() -> None:
        await done()
        raise TypeError("a bug")

    async def scenario() -> None:
        handle = await timed.client.start(broken, id="b")
        assert "a bug" in await timed.until_parked(handle)
        await timed.env.advance(2 * HOUR)
        assert (await handle.describe()).parked
        await handle.resume()
        await timed_out(handle)

    timed.run(scenario)


def test_a_step_that_runs_is_stopped_and_settles_first(timed: World) -> None:
    gates: list[Gate] = []

    @activity
    async def slow() -> None:
        await gates[0]()

    @saga(timeout=HOUR)
    async def flow() -> None:
        await slow()

    async def scenario() -> None:
        gates.append(Gate())
        handle = await timed.client.start(flow, id="f")
        await timed.until(lambda: gates[0].came)
        await timed.env.advance(HOUR)
        await timed_out(handle)

    timed.run(scenario)


@pytest.mark.parametrize("timeout", [0, -1, "1h", float("nan")])
def test_a_timeout_is_a_duration(timeout: Any) -> None:
    with pytest.raises(sagas.InvalidArgument, match="timeout"):
        saga(timeout=timeout)
