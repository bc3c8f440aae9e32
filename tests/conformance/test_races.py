"""Two things that arrive together: which of them wins is decided, is the same everywhere, and nothing is lost.

"Together" is made certain by a pause, or by a host that is away: what comes meanwhile is applied in one activation
afterwards, which the history shows. Damaged histories stand here too: they concern their own instance, never its host.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgpack
import pytest

import sagas
from sagas import Handle, Retry, activity, query, saga, signal
from sagas.kernel.events import Activated, Event
from sagas.testing import Environment
from tests.conformance.world import Gate, World, event_names

_ENDS = {"RunCompleted", "RunFailed", "RunCancelled", "RunTimedOut", "RunTerminated"}

log: list[str] = []
"""What the activity of this module did."""


@pytest.fixture(autouse=True)
def _fresh_log() -> None:
    log.clear()


@activity(retry=Retry(max_attempts=1))
async def note(what: str) -> str:
    log.append(what)
    return what


@saga
class Box:
    """Returns what it was told within a minute, or "late"; what it saw is kept."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def run(self) -> str:
        try:
            await sagas.wait_until(lambda: self.told, timeout=60)
        except TimeoutError:
            return f"late, told {self.told}"
        return f"told {self.told}"

    @signal
    def tell(self, what: str) -> None:
        self.told.append(what)

    @query
    def heard(self) -> list[str]:
        return self.told


async def together(handle: Handle[Any], *happenings: Callable[[], Awaitable[object]]) -> None:
    """All of these become facts of one activation, once the instance goes on."""
    await handle.pause()
    for happen in happenings:
        await happen()
    await handle.resume()


async def while_away(env: Environment, *happenings: Callable[[], Awaitable[object]]) -> None:
    """All of these have happened when the next host takes over."""
    await env.stop()
    for happen in happenings:
        await happen()
    await env.start()


def in_one_activation(history: list[Event], *names: str) -> bool:
    """Whether facts of all these types were applied before the same run of its code."""
    batch: set[str] = set()
    for event in history:
        if isinstance(event, Activated):
            if set(names) <= batch:
                return True
            batch.clear()
        batch.add(type(event).__name__)
    return False


async def ends_of(handle: Handle[Any]) -> list[str]:
    """The events that end the run; more than one would be two outcomes."""
    return [name for name in await event_names(handle) if name in _ENDS]


# --- a signal, and something else -----------------------------------------------------------------------


def test_a_signal_that_comes_with_the_timeout_of_its_wait_is_in_time(timed: World) -> None:
    async def scenario() -> None:
        handle = await timed.client.start(Box, id="b")
        await timed.env.settle()
        await while_away(timed.env, lambda: handle.signal(Box.tell, "now"), lambda: timed.env.advance(seconds=60))
        assert await handle.result() == "told ['now']"
        assert in_one_activation(await handle.history(), "TimerFired", "SignalReceived")

    timed.run(scenario)


def test_a_signal_that_comes_with_a_completion_is_seen_by_the_code_after_the_step(timed: World) -> None:
    @saga
    class Reader(Box):
        async def run(self) -> list[str]:
            await note("read")
            return list(self.told)

    async def scenario() -> None:
        gate = Gate()

        async def slow(what: str) -> str:
            await gate()
            return what

        timed.env.replace(note, slow)
        handle = await timed.client.start(Reader, id="r")
        await timed.until(lambda: gate.came)

        async def completed() -> None:
            gate.open()
            await timed.until_event(handle, "StepCompleted")

        await together(handle, completed, lambda: handle.signal("tell", "beside"))
        assert await handle.result() == ["beside"]
        assert in_one_activation(await handle.history(), "StepCompleted", "SignalReceived")

    timed.run(scenario)


# --- two ends -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["cancel", "terminate"])
def test_terminate_beside_a_cancel_ends_it_at_once_whichever_came_first(durable: World, first: str) -> None:
    @saga
    async def flow() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await note("cleaned up")

    async def scenario() -> None:
        handle = await durable.client.start(flow, id="f")
        await durable.until_waiting(handle, "timer")
        await handle.pause()
        await durable.until_event(handle, "Paused")
        ways = [handle.cancel, handle.terminate] if first == "cancel" else [handle.terminate, handle.cancel]
        for way in ways:
            try:
                await way()
            except sagas.SagaClosed:  # it may have ended between the two, and then says so
                assert way == handle.cancel
        with pytest.raises(sagas.SagaTerminated):
            await handle.result()
        assert await ends_of(handle) == ["RunTerminated"]

    durable.run(scenario)


def test_the_first_of_two_ends_counts_and_the_other_is_told(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Box, id="b")
        await handle.signal(Box.tell, "done")
        assert await handle.result() == "told ['done']"
        before = await event_names(handle)
        for way in (handle.cancel, handle.terminate):
            with pytest.raises(sagas.SagaClosed):
                await way()
        assert await event_names(handle) == before
        assert len(await ends_of(handle)) == 1

    everywhere.run(scenario)


def test_a_cancel_while_handlers_are_finished_cancels_the_run(everywhere: World) -> None:
    @saga
    class Talking:
        async def run(self) -> str:
            await sagas.wait_until(lambda: hasattr(self, "talking"))
            return "run is over"

        @signal
        async def talk(self) -> None:
            self.talking = True
            await asyncio.sleep(3600)

    async def scenario() -> None:
        handle = await everywhere.client.start(Talking, id="t")
        await handle.signal(Talking.talk)
        await everywhere.until_waiting(handle, "timer")
        await handle.cancel("enough")
        with pytest.raises(sagas.SagaCancelled, match="enough"):
            await handle.result()
        assert await ends_of(handle) == ["RunCancelled"]

    everywhere.run(scenario)


# --- cancel ---------------------------------------------------------------------------------------------


def test_a_cancel_goes_through_a_shield_and_the_shielded_work_is_left_behind(timed: World) -> None:
    @saga
    async def flow() -> str:
        async def slowly() -> None:
            await asyncio.sleep(60)
            await note("after the run")

        work = asyncio.ensure_future(slowly())
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            await note(f"work cancelled: {work.cancelled()}")
            raise
        return "never"

    async def scenario() -> None:
        handle = await timed.client.start(flow, id="f")
        await timed.env.settle()
        await handle.cancel()
        with pytest.raises(sagas.SagaCancelled):
            await handle.result()
        await timed.env.advance(seconds=120)
        assert log == ["work cancelled: False"]
        assert await ends_of(handle) == ["RunCancelled"]

    timed.run(scenario)


def test_a_shielded_step_that_is_awaited_after_the_cancel_is_not_lost(timed: World) -> None:
    @saga
    async def flow() -> str:
        work = asyncio.ensure_future(asyncio.sleep(60, "the result"))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            return f"{await work}, late"  # a swallowed cancel: the run goes on

    async def scenario() -> None:
        handle = await timed.client.start(flow, id="f")
        await timed.env.settle()
        await handle.cancel()
        assert await handle.result() == "the result, late"
        assert await ends_of(handle) == ["RunCompleted"]

    timed.run(scenario)


def test_a_loop_that_shields_and_swallows_every_cancel_does_not_spin(timed: World) -> None:
    """Level-triggered cancels made this spin elsewhere: here a cancel is delivered once."""
    turns: list[int] = []

    @saga
    async def flow() -> str:
        work = asyncio.ensure_future(asyncio.sleep(60))
        while not work.done():
            turns.append(1)
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                continue
        return "out"

    async def scenario() -> None:
        handle = await timed.client.start(flow, id="f")
        await timed.env.settle()
        turns.clear()
        await handle.cancel()
        await timed.env.settle()
        assert len(turns) <= 3  # once more when it is delivered; a passivated one is replayed
        assert await handle.result() == "out"

    timed.run(scenario)


def test_a_cancel_with_a_start_and_signals_in_one_batch_leaves_no_step(timed: World) -> None:
    @saga
    class Eager(Box):
        async def run(self) -> str:
            return await note("began")

    async def scenario() -> None:
        await timed.env.stop()
        handle = await timed.client.start(Eager, id="e")
        await handle.signal("tell", "before")
        await handle.cancel("at once")
        await timed.env.start()
        with pytest.raises(sagas.SagaCancelled):
            await handle.result()
        assert log == []
        assert "StepScheduled" not in await event_names(handle)

    timed.run(scenario)


# --- what cannot be read --------------------------------------------------------------------------------


def _newer_schema(_chunk: bytes) -> bytes:
    packed: bytes = msgpack.packb((99, 1, []))
    return packed


def _newer_event(_chunk: bytes) -> bytes:
    packed: bytes = msgpack.packb((1, 1, [(999, "what is this")]))
    return packed


def _cut(chunk: bytes) -> bytes:
    return chunk[: len(chunk) // 2]


def _noise(chunk: bytes) -> bytes:
    return b"\xc1" * len(chunk)


@pytest.mark.parametrize("damage", [_newer_schema, _newer_event, _cut, _noise])
def test_a_history_that_cannot_be_read_stands_still_visibly_and_its_host_goes_on(
    timed: World, damage: Callable[[bytes], bytes]
) -> None:
    async def scenario() -> None:
        env = timed.env
        ill, well = [await timed.client.start(Box, id=id) for id in ("ill", "well")]
        await env.settle()
        await env.stop()
        [chunks] = [
            history for shard in env.store._shards for (id, _), history in shard.histories.items() if id == "ill"
        ]
        intact = chunks[-1]
        chunks[-1] = damage(intact)
        await env.start()
        await ill.signal(Box.tell, "kept")
        await well.signal(Box.tell, "fine")
        assert await well.result() == "told ['fine']"
        assert str((await ill.describe()).status) == "running"
        with pytest.raises(sagas.QueryFailed, match=r"damaged|newer version|schema 99"):
            await ill.query(Box.heard)
        # With a host that can read it, nothing is lost.
        await env.stop()
        chunks[-1] = intact
        await env.start()
        assert await ill.result() == "told ['kept']"

    timed.run(scenario)
