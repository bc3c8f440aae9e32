"""Heartbeats: progress that outlives attempts, silence that ends them, and the way a cancel reaches running work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import sagas
from sagas import ActivityTimeout, Outcome, Retry, activity, compensating, saga
from tests.conformance.world import START, Gate, World

ONCE = Retry(max_attempts=1)
SOON = Retry(initial=0.01, jitter=0)


def test_outside_an_activity_it_says_so(world: World) -> None:
    with pytest.raises(sagas.NotInSaga, match="activity"):
        sagas.heartbeat(1)

    @saga
    async def flow() -> str:
        try:
            sagas.heartbeat(1)
        except sagas.NotInSaga as error:
            return str(error)
        return "taken"

    async def scenario() -> None:
        assert "activity" in await world.client.execute(flow, id="flow")

    world.run(scenario)


# --- details --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("local", [False, True])
def test_the_last_details_of_a_failed_attempt_reach_the_next(everywhere: World, local: bool) -> None:
    seen: list[Any] = []

    @activity(retry=SOON, local=local)
    async def walk() -> None:
        seen.append(sagas.step().heartbeat_details)
        for row in range(3):
            sagas.heartbeat({"row": row + 10 * len(seen)})
        if len(seen) < 3:
            raise OSError("down")

    @saga
    async def flow() -> None:
        await walk()

    async def scenario() -> None:
        await everywhere.client.execute(flow, id="flow")
        assert seen == [None, {"row": 12}, {"row": 22}]

    everywhere.run(scenario)


def test_a_thread_beats_alike_and_a_beat_without_details_keeps_the_last(world: World) -> None:
    seen: list[Any] = []

    @activity(retry=SOON)
    def walk() -> None:
        seen.append(sagas.step().heartbeat_details)
        if len(seen) == 1:
            sagas.heartbeat([1, 2])
            sagas.heartbeat()
        if len(seen) < 3:
            raise OSError("down")

    @saga
    async def flow() -> None:
        await walk()

    async def scenario() -> None:
        await world.client.execute(flow, id="flow")
        assert seen == [None, [1, 2], [1, 2]]

    world.run(scenario)


def test_details_are_as_they_were_when_they_were_told(world: World) -> None:
    seen: list[Any] = []

    @activity(retry=SOON)
    async def walk() -> None:
        seen.append(sagas.step().heartbeat_details)
        rows = [1]
        sagas.heartbeat(rows)
        rows.append(2)
        if len(seen) == 1:
            raise OSError("down")

    @saga
    async def flow() -> None:
        await walk()

    async def scenario() -> None:
        await world.client.execute(flow, id="flow")
        assert seen == [None, [1]]

    world.run(scenario)


def test_details_that_cannot_be_kept_are_refused(world: World) -> None:
    @activity(retry=ONCE)
    async def walk() -> list[str]:
        refused: list[str] = []
        for details in (threading.Lock(), b"x" * 70_000):
            with pytest.raises(sagas.PayloadError) as error:
                sagas.heartbeat(details)
            refused.append(str(error.value))
        return refused

    @saga
    async def flow() -> list[str]:
        return await walk()

    async def scenario() -> None:
        unencodable, large = await world.client.execute(flow, id="flow")
        assert "lock" in unencodable.lower()
        assert "70" in large

    world.run(scenario)


def test_details_outlive_a_host_that_dies_in_mid_attempt(timed: World) -> None:
    """The attempt dies with its host and never reports; what it has told was written before."""
    seen: list[Any] = []

    @activity(retry=SOON)
    async def walk() -> str:
        seen.append(sagas.step().heartbeat_details)
        if len(seen) == 1:
            sagas.heartbeat("half way")
            await Gate()()
        return "done"

    @saga
    async def flow() -> str:
        return await walk()

    async def scenario() -> None:
        handle = await timed.client.start(flow, id="flow")
        await timed.until(lambda: len(seen) == 1)
        await timed.env.settle()
        await timed.env.restart()
        assert await timed.again(handle).result() == "done"
        assert seen == [None, "half way"]

    timed.run(scenario)


# --- heartbeat_timeout ----------------------------------------------------------------------------------


def test_silence_ends_an_attempt_and_its_details_reach_the_next(timed: World) -> None:
    starts: list[tuple[float, Any]] = []

    @activity(retry=Retry(initial=1, jitter=0, max_attempts=2), heartbeat_timeout=30)
    async def hang() -> None:
        starts.append(((timed.env.now - START).total_seconds(), sagas.step().heartbeat_details))
        sagas.heartbeat(len(starts))
        await Gate()()

    @saga
    async def flow() -> None:
        with pytest.raises(ActivityTimeout) as silent:
            await hang()
        assert (silent.value.kind, silent.value.attempts, silent.value.outcome) == ("heartbeat", 2, Outcome.UNKNOWN)

    async def scenario() -> None:
        await timed.client.execute(flow, id="flow")
        assert starts == [(0, None), (31, 1)]

    timed.run(scenario)


def test_who_beats_may_take_as_long_as_it_likes(timed: World) -> None:
    gate = Gate()

    @activity(retry=ONCE)
    async def walk() -> None:
        await gate()
        sagas.heartbeat()
        await Gate()()

    @saga
    async def flow() -> float:
        with pytest.raises(ActivityTimeout, match="heartbeat"):
            await walk.options(heartbeat_timeout=timedelta(seconds=10))()
        return (sagas.now() - START).total_seconds()

    async def scenario() -> None:
        handle = await timed.client.start(flow, id="flow")
        await timed.env.advance(seconds=9)
        gate.open()
        assert await handle.result() == 19

    timed.run(scenario)


def test_a_silent_thread_is_given_up_and_hears_of_it_at_its_next_beat(everywhere: World) -> None:
    opened, heard = threading.Event(), threading.Event()

    @activity(retry=ONCE, heartbeat_timeout=0.1)
    def hang() -> str:
        opened.wait(30)
        try:
            sagas.heartbeat("too late")
        except asyncio.CancelledError:
            assert sagas.step().cancelled
            heard.set()
            raise
        return "nobody asks"

    @saga
    async def flow() -> str:
        try:
            return await hang()
        except ActivityTimeout as error:
            return error.kind

    async def scenario() -> None:
        assert await everywhere.client.execute(flow, id="flow") == "heartbeat"
        opened.set()
        await everywhere.until(heard.is_set)

    everywhere.run(scenario)


# --- a cancel reaches the work --------------------------------------------------------------------------


def ended_by_a_cancel(world: World, work: Any, works: Callable[[], bool]) -> list[tuple[str, Any]]:
    """What becomes of a step with an undo whose saga is cancelled while it works: (what, its result) as undone."""
    undone: list[tuple[str, Any]] = []

    @work.compensation
    async def undo(result: Any) -> None:
        undone.append(("undone", result))

    @saga
    async def flow() -> None:
        async with compensating():
            await work()

    async def scenario() -> None:
        handle = await world.client.start(flow, id="flow")
        await world.until(works)
        await handle.cancel("enough")
        with pytest.raises(sagas.SagaCancelled, match="enough"):
            await handle.result(timeout=50)

    world.run(scenario)
    return undone


def test_a_cancel_reaches_a_thread_at_its_next_heartbeat(everywhere: World) -> None:
    beats: list[int] = []

    @activity
    def work() -> str:
        for _ in range(100_000):
            beats.append(1)
            sagas.heartbeat(len(beats))
            threading.Event().wait(0.001)
        return "never heard of it"

    assert ended_by_a_cancel(everywhere, work, lambda: len(beats) > 1) == [("undone", None)]


def test_a_thread_may_look_whether_it_was_cancelled(world: World) -> None:
    beats: list[int] = []

    @activity
    def work() -> str:
        while not sagas.step().cancelled:
            beats.append(1)
            threading.Event().wait(0.001)
        return "stopped in order"

    # It ignored the cancel and returned: that is its outcome, and its undo gets the result.
    assert ended_by_a_cancel(world, work, lambda: len(beats) > 1) == [("undone", "stopped in order")]


def test_a_coroutine_that_swallows_its_cancel_meets_it_again_at_its_next_heartbeat(world: World) -> None:
    came: list[str] = []

    @activity
    async def work() -> None:
        try:
            came.append("began")
            await Gate()()
        except asyncio.CancelledError:
            came.append("swallowed")
        sagas.heartbeat()
        came.append("went on")

    assert ended_by_a_cancel(world, work, lambda: len(came) == 1) == [("undone", None)]
    assert came == ["began", "swallowed"]


def test_one_that_refuses_when_it_is_cancelled_needs_no_undo(world: World) -> None:
    came: list[str] = []

    @activity
    async def work() -> None:
        try:
            came.append("began")
            await Gate()()
        except asyncio.CancelledError:
            raise sagas.Rejected("nothing was booked") from None

    assert ended_by_a_cancel(world, work, lambda: len(came) == 1) == []


# --- queue_timeout --------------------------------------------------------------------------------------


def test_a_wait_for_a_thread_that_takes_too_long_leaves_nothing_behind(timed: World) -> None:
    """Virtual environments have four threads: a fifth call waits for one."""
    release, busy, begun = threading.Event(), threading.Semaphore(0), []

    @activity
    def occupy() -> None:
        busy.release()
        release.wait(30)

    @activity
    def late() -> None:
        begun.append(1)

    @saga
    async def flow() -> tuple[str, str]:
        occupied = [asyncio.ensure_future(occupy()) for _ in range(4)]
        await asyncio.sleep(0)
        try:
            await late.options(queue_timeout=60)()
        except ActivityTimeout as error:
            release.set()
            await asyncio.gather(*occupied)
            return error.kind, error.outcome.value
        return "begun", ""

    async def scenario() -> None:
        handle = await timed.client.start(flow, id="flow")
        await timed.until(lambda: busy._value == 4)
        await timed.env.advance(seconds=61)
        assert tuple(await handle.result()) == ("queue", Outcome.NONE.value)
        assert begun == []

    timed.run(scenario)


def test_who_gets_a_thread_in_time_has_no_queue_timeout_any_more(timed: World) -> None:
    opened = threading.Event()

    @activity(retry=ONCE, queue_timeout=5)
    def work() -> str:
        opened.wait(30)
        return "done"

    @saga
    async def flow() -> str:
        return await work()

    async def scenario() -> None:
        handle = await timed.client.start(flow, id="flow")
        await timed.env.advance(seconds=6)
        opened.set()
        assert await handle.result() == "done"

    timed.run(scenario)
