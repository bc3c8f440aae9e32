"""``@saga(retry=)``: a run that failed, and was undone, is followed by another try of its arguments."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

import pytest

import sagas
from sagas import DefinitionError, Handle, Permanent, Rejected, Retry, SagaFailed, compensating, saga, signal
from sagas.kernel.events import RunFailed, RunStarted
from tests.conformance.shop import Shop
from tests.conformance.world import START, World

BRIEF = Retry(initial=0.01, jitter=0, max_attempts=3)
MINUTES = Retry(initial=60, backoff=2, max_interval=3600, jitter=0, max_attempts=4)


class Refused(Rejected): ...


class Broken(Permanent): ...


class Failing:
    """What the sagas of this module raise, one error a run; made anew for each test."""

    errors: ClassVar[list[Exception]] = []
    began: ClassVar[list[str]] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Failing.errors, Failing.began = [], []


def fail() -> None:
    """Raise the error of this try, if it has one; the same in every replay."""
    run_id = sagas.info().run_id
    if run_id not in Failing.began:
        Failing.began.append(run_id)
    tried = Failing.began.index(run_id)
    if tried < len(Failing.errors):
        raise Failing.errors[tried]


@saga(retry=BRIEF)
async def briefly(n: int) -> int:
    fail()
    return n


@saga(retry=MINUTES)
async def patiently(n: int) -> list[Any]:
    sagas.set_attributes(seen=n)
    fail()
    return [n, (sagas.now() - START).total_seconds()]


async def chain_of(world: World, handle: Handle[Any]) -> list[str]:
    """The runs of its chain that have a history."""
    runs = [str(handle.run_id)]
    while await world.client.get(handle.id, runs[0]).describe():
        following = f"{handle.run_id}~{len(runs)}"
        if not await world.client.access.store.history(handle.id, following):
            return runs
        runs.append(following)
    return runs


def test_a_run_that_failed_is_tried_again_and_its_handle_follows(everywhere: World) -> None:
    Failing.errors = [ValueError("first"), OSError("second")]

    async def scenario() -> None:
        handle = await everywhere.client.start(briefly, 5, id="b", attributes={"plan": "pro"})
        assert await handle.result() == 5
        described = await handle.describe()
        assert (described.status, described.attempt, described.attributes) == ("completed", 3, {"plan": "pro"})
        first, second, third = await chain_of(everywhere, handle)
        for run, attempt, following in ((first, 1, second), (second, 2, third)):
            old = everywhere.client.get("b", run)
            described = await old.describe()
            assert (described.status, described.attempt, described.continued_as) == ("failed", attempt, following)
            history = await old.history()
            assert isinstance(history[0], RunStarted)
            assert isinstance(history[-1], RunFailed)
            assert history[0].args == (await handle.history())[0].args  # type: ignore[attr-defined]
            with pytest.raises(SagaFailed):
                await old.result()
        assert await everywhere.client.count("status = 'failed'") == 0

    everywhere.run(scenario)


def test_the_last_try_says_how_it_failed(world: World) -> None:
    Failing.errors = [ValueError(f"number {n}") for n in range(9)]

    async def scenario() -> None:
        handle = await world.client.start(briefly, 5, id="b")
        with pytest.raises(SagaFailed, match="number 2"):
            await handle.result()
        assert len(await chain_of(world, handle)) == 3

    world.run(scenario)


def test_tries_wait_longer_and_longer_and_are_seen_to_wait(timed: World) -> None:
    Failing.errors = [ValueError("1"), ValueError("2"), ValueError("3")]

    async def scenario() -> None:
        handle = await timed.client.start(patiently, 7, id="p")
        await timed.until_waiting(handle, "timer")
        described = await handle.describe()
        assert (described.status, described.attempt, described.attributes) == ("running", 2, {"seen": 7})
        assert [wait.at for wait in described.waiting_for] == [START + timedelta(seconds=60)]
        await timed.env.restart()
        assert await handle.result() == [7, 60.0 + 120.0 + 240.0]

    timed.run(scenario)


@pytest.mark.parametrize(
    "error", [Refused("no"), Broken("no"), KeyboardInterrupt, ExceptionGroup("g", [Refused("no")])]
)
def test_what_is_final_is_not_tried_again(world: World, error: Any) -> None:
    fatal = error is KeyboardInterrupt
    Failing.errors = [OSError("disk full") if fatal else error]

    @saga(retry=Retry(initial=0.01, jitter=0, max_attempts=3, fatal=(OSError,)))
    async def choosy() -> None:
        fail()

    async def scenario() -> None:
        handle = await world.client.start(choosy, id="c")
        with pytest.raises(SagaFailed):
            await handle.result()
        assert await chain_of(world, handle) == [handle.run_id]

    world.run(scenario)


def test_it_is_undone_before_each_try(world: World) -> None:
    shop = Shop()
    shop.fail("b", OSError("1"), OSError("2"))

    @saga(retry=BRIEF)
    async def trip() -> str:
        async with compensating():
            await shop.act("a")
            await shop.act.options(retry=Retry(max_attempts=1), compensate=False)("b")
        return "there"

    async def scenario() -> None:
        assert await world.client.execute(trip, id="t") == "there"
        undone = ["do a", "do b", "undo a <a>"]
        assert shop.log == [*undone, *undone, "do a", "do b"]

    world.run(scenario)


def test_a_run_that_is_cancelled_parked_or_terminated_is_not_tried_again(timed: World) -> None:
    async def ended(handle: Handle[Any], error: type[Exception]) -> None:
        with pytest.raises(error):
            await handle.result()
        assert (await handle.describe()).attempt == 2, "it was waiting for its second try"
        await timed.env.advance(hours=1)
        assert (await handle.describe()).closed is not None

    async def scenario() -> None:
        for end in ("cancel", "terminate"):
            Failing.began, Failing.errors = [], [ValueError("1")]
            handle = await timed.client.start(patiently, 1, id=end)
            await timed.until_waiting(handle, "timer")
            await getattr(handle, end)("enough")
            await ended(handle, sagas.SagaCancelled if end == "cancel" else sagas.SagaTerminated)
            assert len(Failing.began) == 1
        Failing.began, Failing.errors = [], [TypeError("a bug")]
        handle = await timed.client.start(patiently, 1, id="bug")
        assert "a bug" in await timed.until_parked(handle)
        assert (await handle.describe()).attempt == 1

    timed.run(scenario)


def test_the_timeout_holds_over_all_tries(timed: World) -> None:
    Failing.errors = [ValueError(f"number {n}") for n in range(9)]

    @saga(retry=Retry(initial=60, backoff=1, jitter=0), timeout=150)
    async def bounded() -> None:
        fail()

    @saga(retry=Retry(initial=60, backoff=1, jitter=0), timeout=90)
    async def slow() -> None:
        fail()
        await sagas.sleep(3600)

    async def scenario() -> None:
        handle = await timed.client.start(bounded, id="b")
        with pytest.raises(SagaFailed, match="number 2"):  # a fourth could not begin in time
            await handle.result()
        assert timed.env.now == START + timedelta(seconds=120)
        Failing.began, Failing.errors = [], [ValueError("once")]
        handle = await timed.client.start(slow, id="s")
        with pytest.raises(sagas.SagaTimedOut):
            await handle.result()
        assert timed.env.now == START + timedelta(seconds=120 + 90)

    timed.run(scenario)


def test_signals_while_it_waits_are_the_next_tries(timed: World) -> None:
    @saga(retry=MINUTES)
    class Listening:
        def __init__(self) -> None:
            self.told: list[str] = []

        async def run(self) -> list[str]:
            fail()
            await sagas.wait_until(lambda: self.told)
            return self.told

        @signal
        async def tell(self, what: str) -> None:
            self.told.append(what)

    Failing.errors = [ValueError("1")]

    async def scenario() -> None:
        handle = await timed.client.start(Listening, id="l")
        await timed.until_waiting(handle, "timer")
        await handle.signal(Listening.tell, "meanwhile")
        assert await handle.result() == ["meanwhile"]

    timed.run(scenario)


def test_a_continued_run_has_tries_of_its_own(world: World) -> None:
    @saga(retry=Retry(initial=0.01, jitter=0, max_attempts=2))
    async def twice(turn: int) -> int:
        fail()
        if turn == 1:
            sagas.continue_as_new(2)
        return turn

    Failing.errors = [ValueError("first try of 1")]

    async def scenario() -> None:
        handle = await world.client.start(twice, 1, id="t")
        assert await handle.result() == 2
        described = await handle.describe()
        assert (described.run_id, described.attempt) == (f"{handle.run_id}~2", 1)

    world.run(scenario)


def test_a_parent_hears_of_the_last_try_alone(world: World) -> None:
    Failing.errors = [ValueError("1"), ValueError("2")]

    @saga
    async def parent() -> int:
        return await sagas.child(briefly, 6)

    async def scenario() -> None:
        assert await world.client.execute(parent, id="p") == 6

    world.run(scenario)


def test_a_retry_that_would_park_is_refused() -> None:
    with pytest.raises(DefinitionError, match="park_after"):
        saga(retry=Retry(park_after=3))
    with pytest.raises(DefinitionError, match="Retry"):
        saga(retry=3)  # type: ignore[call-overload]
