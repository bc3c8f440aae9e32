"""How a run ends: it returns, raises, is cancelled or terminated; who wins when two of these meet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

import sagas
from sagas import Retry, activity, query, saga, signal
from tests.conformance.world import Gate, World, event_names

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
class Waiting:
    """Waits to be told; a query says what it saw."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def run(self) -> str:
        await sagas.wait_until(lambda: self.told)
        return self.told[0]

    @signal
    def tell(self, what: str) -> None:
        self.told.append(what)

    @query
    def heard(self) -> list[str]:
        return self.told


# --- returning and raising ------------------------------------------------------------------------------


def test_a_run_that_returns_is_completed(everywhere: World) -> None:
    @saga
    async def flow(n: int) -> dict[str, int]:
        return {"n": n}

    async def scenario() -> None:
        handle = await everywhere.client.start(flow, 1, id="f")
        assert await handle.result() == {"n": 1}
        assert await handle.result() == {"n": 1}
        described = await handle.describe()
        assert described.status == "completed"
        assert described.closed is not None

    everywhere.run(scenario)


@pytest.mark.parametrize("error", [ValueError("why"), RuntimeError("why"), OSError("why"), TimeoutError("why")])
def test_a_run_that_raises_is_failed(world: World, error: Exception) -> None:
    @saga
    async def flow() -> None:
        await note("step")
        raise error

    async def scenario() -> None:
        handle = await world.client.start(flow, id="f")
        for _ in range(2):
            with pytest.raises(sagas.SagaFailed) as failed:
                await handle.result()
            assert (failed.value.id, failed.value.cause_type, failed.value.message) == (
                "f",
                type(error).__name__,
                "why",
            )
        assert (await handle.describe()).status == "failed"
        assert (await event_names(handle))[-1] == "RunFailed"

    world.run(scenario)


def test_an_init_that_raises_fails_the_run(world: World) -> None:
    @saga
    class Picky:
        def __init__(self, n: int) -> None:
            if n < 0:
                raise ValueError("negative")

        async def run(self) -> int:
            return 1

    async def scenario() -> None:
        with pytest.raises(sagas.SagaFailed, match="negative"):
            await world.client.execute(Picky, -1, id="p")

    world.run(scenario)


def test_result_gives_up_after_its_timeout(world: World) -> None:
    @saga
    class Slow(Waiting):
        async def run(self) -> str:
            await asyncio.wait(
                [asyncio.create_task(_sleeping()), asyncio.create_task(super().run())],
                return_when=asyncio.FIRST_COMPLETED,
            )
            return self.told[0]

    async def scenario() -> None:
        handle = await world.client.start(Slow, id="w")
        with pytest.raises(TimeoutError):
            await handle.result(timeout=0.05)
        await handle.signal(Slow.tell, "at last")
        assert await handle.result(timeout=30) == "at last"

    world.run(scenario)


def test_many_may_wait_for_one_result(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Waiting, id="w")
        await handle.signal(Waiting.tell, "all")
        assert await asyncio.gather(*(world.client.get("w").result() for _ in range(5))) == ["all"] * 5

    world.run(scenario)


def test_a_handle_by_id_gives_the_plain_result(world: World) -> None:
    @saga
    async def flow() -> list[int]:
        return [1, 2]

    async def scenario() -> None:
        await world.client.start(flow, id="f")
        assert await world.client.get("f").result() == [1, 2]

    world.run(scenario)


# --- cancel ---------------------------------------------------------------------------------------------


async def _sleeping() -> None:
    await asyncio.sleep(3600)


async def _waiting_for_ever() -> None:
    await sagas.wait_until(lambda: False)


async def _in_a_task() -> None:
    await asyncio.create_task(asyncio.sleep(3600))


async def _in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(3600))
        group.create_task(asyncio.sleep(7200))


async def _gathering() -> None:
    await asyncio.gather(asyncio.sleep(3600), sagas.wait_until(lambda: False))


async def _with_a_timeout() -> None:
    async with asyncio.timeout(7200):
        await asyncio.sleep(3600)


async def _at_an_event() -> None:
    await asyncio.gather(asyncio.Event().wait(), asyncio.sleep(3600))


@pytest.mark.parametrize(
    "place", [_sleeping, _waiting_for_ever, _in_a_task, _in_a_group, _gathering, _with_a_timeout, _at_an_event]
)
def test_cancel_raises_at_the_current_await(world: World, place: Callable[[], Coroutine[Any, Any, None]]) -> None:
    @saga
    async def flow() -> str:
        try:
            await place()
        except asyncio.CancelledError:
            await note("cancelled")
            raise
        return "returned"

    async def scenario() -> None:
        handle = await world.client.start(flow, id="f")
        await world.until_event(handle, "Activated")
        await handle.cancel("no more")
        with pytest.raises(sagas.SagaCancelled) as cancelled:
            await handle.result()
        assert (cancelled.value.id, cancelled.value.reason) == ("f", "no more")
        assert log == ["cancelled"]
        described = await handle.describe()
        assert described.status == "cancelled"
        assert described.compensation == "none"

    world.run(scenario)


def test_cancel_during_a_step(everywhere: World) -> None:
    gates: list[Gate] = []

    @activity
    async def wait() -> None:
        gates.append(Gate())
        await gates[-1]()

    @saga
    async def flow() -> None:
        await wait()
        await note("after")

    async def scenario() -> None:
        handle = await everywhere.client.start(flow, id="f")
        await everywhere.until(lambda: gates)
        await handle.cancel()
        with pytest.raises(sagas.SagaCancelled):
            await handle.result()
        for gate in gates:
            gate.open()
        assert log == []

    everywhere.run(scenario)


def test_except_exception_does_not_swallow_a_cancel(world: World) -> None:
    @saga
    async def flow() -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except Exception:
                await note("swallowed")

    async def scenario() -> None:
        handle = await world.client.start(flow, id="f")
        await world.until_waiting(handle, "timer")
        await handle.cancel()
        with pytest.raises(sagas.SagaCancelled):
            await handle.result()
        assert log == []

    world.run(scenario)


def test_a_swallowed_cancel_lets_the_run_complete(everywhere: World) -> None:
    @saga
    async def flow() -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        first = await note("went on")
        await asyncio.sleep(0.01)
        return first

    async def scenario() -> None:
        handle = await everywhere.client.start(flow, id="f")
        await everywhere.until_waiting(handle, "timer")
        await handle.cancel()
        assert await handle.result() == "went on"
        assert (await handle.describe()).status == "completed"

    everywhere.run(scenario)


def test_a_second_cancel_after_a_swallowed_one(world: World) -> None:
    @saga
    class Stubborn:
        def __init__(self) -> None:
            self.swallowed = 0

        async def run(self) -> None:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self.swallowed += 1
            await asyncio.sleep(3600)

        @query
        def count(self) -> int:
            return self.swallowed

    async def scenario() -> None:
        handle = await world.client.start(Stubborn, id="f")
        await world.until_waiting(handle, "timer")
        await handle.cancel("first")

        async def swallowed() -> bool:
            return await handle.query(Stubborn.count) == 1

        await world.until(swallowed)
        await handle.cancel("second")
        with pytest.raises(sagas.SagaCancelled):
            await handle.result()

    world.run(scenario)


def test_an_error_in_place_of_the_cancel_fails_the_run(world: World) -> None:
    @saga
    async def flow() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise ValueError("cannot stop") from None

    async def scenario() -> None:
        handle = await world.client.start(flow, id="f")
        await world.until_waiting(handle, "timer")
        await handle.cancel()
        with pytest.raises(sagas.SagaFailed, match="cannot stop"):
            await handle.result()

    world.run(scenario)


def test_cancel_together_with_the_start_leaves_no_step(timed: World) -> None:
    @saga
    async def flow() -> None:
        await note("step")

    async def scenario() -> None:
        await timed.env.stop()
        handle = await timed.client.start(flow, id="f")
        await handle.cancel()
        await timed.env.start()
        with pytest.raises(sagas.SagaCancelled):
            await handle.result()
        assert log == []
        assert "StepScheduled" not in await event_names(handle)

    timed.run(scenario)


def test_cancel_wins_over_a_step_that_completed_beside_it(everywhere: World) -> None:
    gates: list[Gate] = []

    @activity
    async def wait() -> str:
        gates.append(Gate())
        await gates[-1]()
        return "done"

    @saga
    async def flow() -> str:
        return await wait()

    async def scenario() -> None:
        handle = await everywhere.client.start(flow, id="f")
        await everywhere.until(lambda: gates)
        await handle.pause()
        await everywhere.until(lambda: paused(handle))
        gates[0].open()
        await everywhere.until_event(handle, "StepCompleted")
        await handle.cancel()
        with suppress(sagas.SagaClosed):  # whether a cancel also ends a pause is not promised
            await handle.resume()
        with pytest.raises(sagas.SagaCancelled):
            await handle.result()

    everywhere.run(scenario)


def test_cancel_wins_over_a_timer_that_fired_beside_it(timed: World) -> None:
    @saga
    async def flow() -> str:
        await asyncio.sleep(60)
        return "slept"

    async def scenario() -> None:
        handle = await timed.client.start(flow, id="f")
        await timed.env.settle()
        await handle.pause()
        await timed.env.advance(seconds=61)
        await handle.cancel()
        with suppress(sagas.SagaClosed):  # whether a cancel also ends a pause is not promised
            await handle.resume()
        with pytest.raises(sagas.SagaCancelled):
            await handle.result()

    timed.run(scenario)


def test_cancel_wins_over_a_signal_that_came_before_it_in_one_batch(timed: World) -> None:
    """Apply all, then run: the signal is applied, and the run is cancelled."""

    async def scenario() -> None:
        handle = await timed.client.start(Waiting, id="w")
        await timed.env.settle()
        await timed.env.stop()
        await handle.signal(Waiting.tell, "heard")
        await handle.cancel()
        await timed.env.start()
        with pytest.raises(sagas.SagaCancelled):
            await handle.result()
        assert await handle.query(Waiting.heard) == ["heard"]

    timed.run(scenario)


def test_cancel_survives_a_crash(durable: World) -> None:
    async def scenario() -> None:
        handle = await durable.client.start(Waiting, id="w")
        await durable.until_waiting(handle, "message")
        await handle.cancel("gone")
        await durable.reopen(Waiting)
        with pytest.raises(sagas.SagaCancelled, match="gone"):
            await durable.client.get("w").result()

    durable.run(scenario)


async def paused(handle: sagas.Handle[Any]) -> bool:
    return (await handle.describe()).paused


# --- terminate ------------------------------------------------------------------------------------------


def test_terminate_runs_no_code(everywhere: World) -> None:
    @saga
    async def flow() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await note("step")

    async def scenario() -> None:
        handle = await everywhere.client.start(flow, id="f")
        await everywhere.until_waiting(handle, "timer")
        await handle.terminate("enough")
        with pytest.raises(sagas.SagaTerminated) as terminated:
            await handle.result()
        assert terminated.value.reason == "enough"
        assert (await handle.describe()).status == "terminated"

    everywhere.run(scenario)
    assert log == []


def test_terminate_during_a_step_drops_its_result(world: World) -> None:
    gates: list[Gate] = []

    @activity
    async def wait() -> None:
        gates.append(Gate())
        await gates[-1]()

    @saga
    async def flow() -> None:
        await wait()
        await note("after")

    async def scenario() -> None:
        handle = await world.client.start(flow, id="f")
        await world.until(lambda: gates)
        await handle.terminate()
        with pytest.raises(sagas.SagaTerminated):
            await handle.result()
        for gate in gates:
            gate.open()
        await world.client.execute(Quick, id="other")
        assert log == []
        assert (await event_names(handle))[-1] == "RunTerminated"

    world.run(scenario)


@saga
class Quick:
    async def run(self) -> None: ...


def test_what_has_ended_stays_as_it_ended(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Waiting, id="w")
        await handle.signal(Waiting.tell, "first")
        assert await handle.result() == "first"
        for late in (handle.cancel, handle.terminate):
            with suppress(sagas.SagaClosed):
                await late()
        assert await handle.result() == "first"
        assert (await handle.describe()).status == "completed"

    world.run(scenario)


@pytest.mark.parametrize("call", ["cancel", "terminate", "pause", "resume", "describe", "history", "result"])
def test_an_id_that_never_was(world: World, call: str) -> None:
    async def scenario() -> None:
        with pytest.raises(sagas.SagaNotFound) as missing:
            await getattr(world.client.get("nobody"), call)()
        assert missing.value.id == "nobody"

    world.run(scenario)
