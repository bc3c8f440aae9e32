"""How a failing step is retried, gives up and tells the saga: Retry, timeouts, Rejected, Permanent, ActivityFailed."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

import sagas
from sagas import ActivityFailed, ActivityTimeout, Outcome, Permanent, Rejected, Retry, activity, saga
from tests.conformance.world import START, Gate, World, event_names

ONCE = Retry(max_attempts=1)


class CardDeclined(Rejected): ...


class OutOfStock(Rejected):
    def __init__(self, item: str, wanted: int) -> None:
        super().__init__(item, wanted)
        self.item = item
        self.wanted = wanted


class AccountClosed(Permanent): ...


class RateLimited(Exception):
    def __init__(self, retry_after: float | timedelta) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


# --- backing off ----------------------------------------------------------------------------------------


def attempts_at(timed: World, policy: Retry, attempts: int, error: Exception | None = None) -> list[float]:
    """Seconds between the attempts of a step that fails until the last of them."""
    moments: list[datetime] = []

    @activity(retry=policy)
    async def flaky() -> None:
        moments.append(timed.env.now)
        if len(moments) < attempts:
            raise error or OSError("down")

    @saga
    async def flow() -> None:
        await flaky()

    async def scenario() -> None:
        await timed.client.execute(flow, id="flow")

    timed.run(scenario)
    assert len(moments) == attempts
    return [(later - earlier).total_seconds() for earlier, later in pairwise(moments)]


def test_the_wait_doubles_after_each_attempt(timed: World) -> None:
    assert attempts_at(timed, Retry(jitter=0), 5) == [1, 2, 4, 8]


def test_initial_and_backoff_shape_the_waits(timed: World) -> None:
    assert attempts_at(timed, Retry(initial=timedelta(seconds=2), backoff=3, jitter=0), 4) == [2, 6, 18]


def test_max_interval_bounds_the_wait(timed: World) -> None:
    assert attempts_at(timed, Retry(initial=10, max_interval=25, jitter=0), 5) == [10, 20, 25, 25]


def test_the_default_bound_is_100_seconds(timed: World) -> None:
    assert attempts_at(timed, Retry(jitter=0), 11)[6:] == [64, 100, 100, 100]


def test_jitter_moves_a_wait_by_at_most_its_share(timed: World) -> None:
    waits = attempts_at(timed, Retry(initial=100, backoff=1, jitter=0.1), 20)
    assert all(90 <= wait <= 110 for wait in waits)
    assert len(set(waits)) > 1


def test_an_error_may_say_when_to_come_back(timed: World) -> None:
    assert attempts_at(timed, Retry(jitter=0), 3, RateLimited(500)) == [500, 500]


def test_retry_after_may_be_a_timedelta(timed: World) -> None:
    assert attempts_at(timed, Retry(jitter=0), 2, RateLimited(timedelta(hours=1))) == [3600]


def test_by_default_a_step_is_retried_for_ever(timed: World) -> None:
    assert len(attempts_at(timed, Retry(), 40)) == 39


def test_a_bare_activity_is_retried(timed: World) -> None:
    calls: list[int] = []

    @activity
    async def flaky() -> None:
        calls.append(sagas.step().attempt)
        if len(calls) < 4:
            raise OSError("down")

    @saga
    async def flow() -> None:
        await flaky()

    async def scenario() -> None:
        await timed.client.execute(flow, id="flow")
        assert calls == [1, 2, 3, 4]

    timed.run(scenario)


def test_retries_outlive_the_host(timed: World) -> None:
    attempts: list[int] = []

    @activity(retry=Retry(initial=100, backoff=1, jitter=0))
    async def flaky() -> None:
        attempts.append(sagas.step().attempt)
        if len(attempts) < 4:
            raise OSError("down")

    @saga
    async def flow() -> str:
        await flaky()
        return "up"

    async def scenario() -> None:
        handle = await timed.client.start(flow, id="flow")
        for _ in range(3):
            await timed.env.settle()
            await timed.env.restart()
            await timed.env.advance(seconds=101)
        assert await timed.again(handle).result() == "up"
        assert attempts == [1, 2, 3, 4]

    timed.run(scenario)


# --- giving up ------------------------------------------------------------------------------------------


def caught_by(world: World, act: Any, *args: Any) -> list[BaseException]:
    """What ``await act(*args)`` raises in a saga, as the saga sees it."""
    caught: list[BaseException] = []

    @saga
    async def flow() -> str:
        try:
            await act(*args)
        except Exception as error:
            caught.append(error)
            return "caught"
        return "done"

    async def scenario() -> None:
        assert await world.client.execute(flow, id="flow") == "caught"

    world.run(scenario)
    return caught


def test_an_ordinary_error_comes_back_as_activity_failed(everywhere: World) -> None:
    @activity(retry=Retry(max_attempts=3, initial=0.01))
    async def fail() -> None:
        raise ConnectionResetError("peer went away")

    error = caught_by(everywhere, fail)[-1]
    assert type(error) is ActivityFailed
    assert (error.activity, error.attempts, error.cause_type, error.message, error.outcome) == (
        "fail",
        3,
        "ConnectionResetError",
        "peer went away",
        Outcome.UNKNOWN,
    )
    assert "fail" in str(error)
    assert "peer went away" in str(error)


def test_a_sync_activity_fails_alike(world: World) -> None:
    @activity(retry=Retry(max_attempts=2, initial=0.01))
    def fail() -> None:
        raise ConnectionResetError("peer went away")

    error = caught_by(world, fail)[-1]
    assert isinstance(error, ActivityFailed)
    assert (error.attempts, error.cause_type) == (2, "ConnectionResetError")


def test_a_fatal_error_is_not_retried(world: World) -> None:
    calls: list[int] = []

    @activity(retry=Retry(fatal=(LookupError,)))
    async def fail() -> None:
        calls.append(1)
        raise KeyError("k")  # a subclass is fatal too

    error = caught_by(world, fail)[-1]
    assert isinstance(error, ActivityFailed)
    assert (error.attempts, error.cause_type, error.outcome) == (1, "KeyError", Outcome.UNKNOWN)
    assert calls == [1]


def test_an_error_that_is_not_fatal_is_retried_beside_one_that_is(world: World) -> None:
    calls: list[int] = []

    @activity(retry=Retry(fatal=(KeyError,), initial=0.01))
    async def fail() -> None:
        calls.append(1)
        raise OSError if len(calls) == 1 else KeyError("k")

    error = caught_by(world, fail)[-1]
    assert isinstance(error, ActivityFailed)
    assert error.attempts == 2


def test_rejected_comes_back_as_its_own_class(everywhere: World) -> None:
    calls: list[int] = []

    @activity
    async def charge() -> None:
        calls.append(1)
        raise CardDeclined("u1", 500)

    error = caught_by(everywhere, charge)[-1]
    assert type(error) is CardDeclined
    assert error.args == ("u1", 500)
    assert error.outcome is Outcome.NONE
    assert calls == [1]


def test_rejected_with_an_init_of_its_own(world: World) -> None:
    @activity
    async def reserve() -> None:
        raise OutOfStock("pen", 3)

    error = caught_by(world, reserve)[-1]
    assert type(error) is OutOfStock
    assert (error.item, error.wanted) == ("pen", 3)


def test_permanent_comes_back_as_its_own_class(world: World) -> None:
    calls: list[int] = []

    @activity
    async def charge() -> None:
        calls.append(1)
        raise AccountClosed("u1")

    error = caught_by(world, charge)[-1]
    assert type(error) is AccountClosed
    assert error.args == ("u1",)
    assert error.outcome is Outcome.UNKNOWN
    assert calls == [1]


@pytest.mark.parametrize("declared", [Rejected, Permanent])
def test_the_base_classes_can_be_raised_themselves(world: World, declared: type[Exception]) -> None:
    @activity
    async def refuse() -> None:
        raise declared("not today")

    error = caught_by(world, refuse)[-1]
    assert type(error) is declared
    assert error.args == ("not today",)


def test_rejected_after_a_failed_attempt_leaves_the_outcome_unknown(world: World) -> None:
    """NONE is strict: the first attempt may have done something."""
    calls: list[int] = []

    @activity(retry=Retry(initial=0.01))
    async def charge() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("reply lost")
        raise CardDeclined("u1")

    error = caught_by(world, charge)[-1]
    assert type(error) is CardDeclined
    assert error.outcome is Outcome.UNKNOWN


def test_a_declared_error_that_nobody_catches_fails_the_saga(world: World) -> None:
    @activity
    async def charge() -> None:
        raise CardDeclined("u1", 500)

    @saga
    async def flow() -> None:
        await charge()

    async def scenario() -> None:
        with pytest.raises(sagas.SagaFailed) as failed:
            await world.client.execute(flow, id="flow")
        assert failed.value.cause_type == "CardDeclined"
        assert "u1" in failed.value.message

    world.run(scenario)


def test_an_error_with_arguments_that_cannot_be_encoded_still_fails_the_step(world: World) -> None:
    @activity(retry=ONCE)
    async def charge() -> None:
        raise CardDeclined(object())

    error = caught_by(world, charge)[-1]
    assert isinstance(error, sagas.StepError)
    assert "CardDeclined" in repr(error) + str(error)


def test_retry_refuses_values_that_make_no_sense() -> None:
    for wrong in ({"max_attempts": 0}, {"initial": -1}, {"backoff": 0.5}, {"jitter": 2}, {"jitter": -0.1}):
        with pytest.raises(ValueError):
            Retry(**wrong)


# --- timeouts -------------------------------------------------------------------------------------------


def test_an_attempt_that_outlasts_its_timeout_fails_with_activity_timeout(everywhere: World) -> None:
    gates: list[Gate] = []

    @activity(retry=ONCE, timeout=0.05)
    async def hang() -> None:
        gates.append(Gate())
        await gates[-1]()

    error = caught_by(everywhere, hang)[-1]
    assert type(error) is ActivityTimeout
    assert isinstance(error, TimeoutError)
    assert (error.activity, error.kind, error.attempts, error.outcome) == ("hang", "attempt", 1, Outcome.UNKNOWN)
    assert "hang" in str(error)


def test_an_attempt_in_a_thread_times_out_too(everywhere: World) -> None:
    """A thread cannot be stopped; the step goes on without it."""
    opened = threading.Event()

    @activity(retry=ONCE, timeout=0.05)
    def hang() -> None:
        opened.wait(30)

    @saga
    async def flow() -> str:
        try:
            await hang()
        except ActivityTimeout as error:
            opened.set()
            return error.kind
        return "done"

    async def scenario() -> None:
        assert await everywhere.client.execute(flow, id="flow") == "attempt"

    everywhere.run(scenario)


def test_an_attempt_that_timed_out_is_retried(everywhere: World) -> None:
    gates: list[Gate] = []

    @activity(retry=Retry(max_attempts=4, initial=0.01), timeout=0.05)
    async def hang() -> int:
        gates.append(Gate())
        if len(gates) < 3:
            await gates[-1]()
        return sagas.step().attempt

    @saga
    async def flow() -> int:
        return await hang()

    async def scenario() -> None:
        assert await everywhere.client.execute(flow, id="flow") == 3

    everywhere.run(scenario)


def test_attempt_timeouts_count_their_attempts(timed: World) -> None:
    starts: list[float] = []

    @activity(retry=Retry(max_attempts=2, initial=5, jitter=0), timeout=timedelta(seconds=30))
    async def hang() -> None:
        starts.append((timed.env.now - START).total_seconds())
        await Gate()()

    error = caught_by(timed, hang)[-1]
    assert isinstance(error, ActivityTimeout)
    assert (error.kind, error.attempts) == ("attempt", 2)
    assert starts == [0, 35]


def test_total_timeout_bounds_all_attempts(timed: World) -> None:
    starts: list[float] = []

    @activity(retry=Retry(initial=4, backoff=1, jitter=0), total_timeout=10)
    async def fail() -> None:
        starts.append((timed.env.now - START).total_seconds())
        raise OSError("down")

    ended: list[datetime] = []

    @saga
    async def flow() -> None:
        with pytest.raises(ActivityTimeout) as late:
            await fail()
        assert (late.value.kind, late.value.outcome) == ("total", Outcome.UNKNOWN)
        ended.append(sagas.now())

    async def scenario() -> None:
        await timed.client.execute(flow, id="flow")
        assert starts == [0, 4, 8]
        assert START + timedelta(seconds=8) <= ended[-1] <= START + timedelta(seconds=10)

    timed.run(scenario)


def test_total_timeout_interrupts_an_attempt(timed: World) -> None:
    @activity(timeout=60, total_timeout=10)
    async def hang() -> None:
        await Gate()()

    error = caught_by(timed, hang)[-1]
    assert isinstance(error, ActivityTimeout)
    assert error.kind == "total"


def test_a_late_result_of_a_timed_out_attempt_is_dropped(world: World) -> None:
    """Attempt numbers are fenced: what attempt 1 says after attempt 2 began counts no more."""
    gates = {1: Gate(), 2: Gate()}

    @activity(retry=Retry(max_attempts=2, initial=0.01), timeout=0.2)
    async def slow() -> int:
        attempt = sagas.step().attempt
        try:
            await gates[attempt]()
        except BaseException:
            await gates[attempt]()  # an activity that does not let itself be stopped
        return attempt

    @saga
    async def flow() -> int:
        return await slow.options(timeout=0.2 if world.virtual else 1)()

    async def scenario() -> None:
        handle = await world.client.start(flow, id="flow")
        if world.virtual:
            await world.env.advance(seconds=0.25)
        await world.until(lambda: gates[2].came >= 1)
        gates[1].open()
        gates[2].open()
        assert await handle.result() == 2
        assert (await event_names(handle)).count("StepCompleted") == 1

    world.run(scenario)


def test_a_finished_step_leaves_no_timeout_behind(timed: World) -> None:
    @activity(timeout=5, total_timeout=20)
    async def quick() -> int:
        return 1

    @saga
    async def flow() -> int:
        first = await quick()
        await sagas.sleep(100)
        return first

    async def scenario() -> None:
        assert await timed.client.execute(flow, id="flow") == 1
        assert timed.env.now == START + timedelta(seconds=100)

    timed.run(scenario)


def test_park_after_parks_the_instance_and_a_resume_tries_the_step_again(world: World) -> None:
    tried: list[int] = []
    repaired: list[bool] = []

    @activity(retry=Retry(initial=0.01, park_after=3))
    async def fragile() -> str:
        tried.append(sagas.step().attempt)
        if not repaired:
            raise OSError("the service is gone")
        return "done"

    @saga
    async def flow() -> str:
        return await fragile()

    async def scenario() -> None:
        handle = await world.client.start(flow, id="flow")
        with pytest.raises(sagas.SagaParked, match="the service is gone"):
            await handle.result(timeout=30)
        assert tried == [1, 2, 3]
        assert (await handle.describe()).status == "running"
        repaired.append(True)
        await handle.resume()
        assert await handle.result(timeout=30) == "done"
        assert tried == [1, 2, 3, 4]

    world.run(scenario)


@pytest.mark.parametrize("kind", ["attempt", "total", "queue", "heartbeat"])
def test_each_timeout_can_be_set_for_one_call(timed: World, kind: str) -> None:
    release, busy = threading.Event(), threading.Semaphore(0)

    @activity(retry=ONCE, timeout=3600, total_timeout=7200, queue_timeout=3600, heartbeat_timeout=3600)
    def work() -> None:
        busy.release()
        release.wait(30)

    limits: dict[str, Any] = {
        "attempt": {"timeout": 5},
        "total": {"total_timeout": 5},
        "queue": {"queue_timeout": 5},
        "heartbeat": {"heartbeat_timeout": 5},
    }

    @saga
    async def flow() -> tuple[str, float]:
        occupied = [asyncio.ensure_future(work()) for _ in range(4 if kind == "queue" else 0)]  # every thread there is
        await asyncio.sleep(0)
        try:
            await work.options(**limits[kind])()
        except ActivityTimeout as error:
            took = (sagas.now() - START).total_seconds()
            release.set()
            await asyncio.gather(*occupied)
            return error.kind, took
        return "done", 0.0

    async def scenario() -> None:
        handle = await timed.client.start(flow, id="flow")
        await timed.until(lambda: busy._value == (4 if kind == "queue" else 1))
        await timed.env.advance(seconds=5)
        assert tuple(await handle.result()) == (kind, 5.0)

    timed.run(scenario)
