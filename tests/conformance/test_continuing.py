"""``continue_as_new``: one instance, many runs, and nothing lost or done twice between two of them."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

import sagas
from sagas import Handle, activity, compensating, query, saga, signal, update
from sagas.kernel.events import Event, RunContinued, RunStarted, SignalReceived
from tests.conformance.shop import Shop
from tests.conformance.world import START, Gate, World, event_names


@saga
class Counter:
    """Counts what it is told, and begins anew after every few numbers; 0 ends it."""

    def __init__(self, every: int, got: list[int]) -> None:
        self.every = every
        self.got = got
        self.here = 0

    async def run(self) -> list[int]:
        await sagas.wait_until(lambda: self.here >= self.every or 0 in self.got)
        if 0 in self.got:
            return self.got
        sagas.continue_as_new(self.every, self.got)

    @signal
    def put(self, n: int) -> None:
        self.got.append(n)
        self.here += 1

    @signal
    async def put_slowly(self, n: int) -> None:
        self.put(n)

    @query
    def all(self) -> list[int]:
        return self.got


@saga
async def countdown(left: int, seen: list[str]) -> list[str]:
    if left:
        sagas.continue_as_new(left - 1, [*seen, sagas.info().run_id])
    return [*seen, sagas.info().run_id]


async def history_of(world: World, id: str, run_id: str | None) -> list[Event]:
    return await world.client.get(id, run_id).history()


def test_a_handle_from_start_follows_the_chain(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(countdown, 3, [], id="c", attributes={"plan": "pro"})
        runs = await handle.result()
        assert runs[0] == handle.run_id
        assert len(set(runs)) == 4
        described = await handle.describe()
        assert (described.run_id, described.status, described.continued_as) == (runs[-1], "completed", None)
        assert described.attributes == {"plan": "pro"}
        assert (await handle.history())[-1] == (await history_of(everywhere, "c", None))[-1]
        for run, following in itertools.pairwise(runs):
            old = everywhere.client.get("c", run_id=run)
            described = await old.describe()
            assert (described.run_id, described.status, described.continued_as) == (run, "completed", following)
            assert described.closed is not None
            first, *_, last = await old.history()
            assert isinstance(last, RunContinued)
            assert isinstance(first, RunStarted)
            assert (last.next_run, first.run_id) == (following, run)
            assert await old.result() == runs, "what it continued as is its result"
        (listed,) = [each async for each in everywhere.client.list("id = 'c'")]
        assert (listed.run_id, listed.status) == (runs[-1], "completed")
        assert await everywhere.client.count("status = 'running'") == 0

    everywhere.run(scenario)


def test_a_handle_still_follows_when_another_start_has_taken_the_id(world: World) -> None:
    async def scenario() -> None:
        first = await world.client.start(countdown, 3, [], id="c")
        runs = await first.result()
        other = await world.client.start(countdown, 0, [], id="c")
        assert await other.result() == [other.run_id]
        assert await first.result() == runs
        assert (await first.describe()).run_id == runs[-1]
        assert await world.client.get("c").result() == [other.run_id]

    world.run(scenario)


def test_signals_that_come_all_the_time_are_handled_once_each_in_order(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Counter, 3, [], id="c")
        handles = [
            handle,
            everywhere.client.get("c"),
            await everywhere.client.start(Counter, 3, [], id="c", on_conflict="use_existing"),
        ]
        for n in range(1, 61):
            await handles[n % 3].signal(Counter.put_slowly if n % 2 else Counter.put, n)
        await handle.signal(Counter.put_slowly, 0)
        got = await handle.result()
        assert sorted(got) == sorted([*range(1, 61), 0])
        assert [n for n in got if n % 2] == list(range(1, 61, 2))
        chain = await runs_of(everywhere, handle)
        assert 2 <= len(chain) <= 21

    everywhere.run(scenario)


async def runs_of(world: World, handle: Handle[Any]) -> list[list[Event]]:
    """The history of each run of the chain, the first one first."""
    found = [await history_of(world, handle.id, handle.run_id)]
    while isinstance(end := found[-1][-1], RunContinued):
        found.append(await history_of(world, handle.id, end.next_run))
    return found


def test_signals_survive_crashes_between_runs(durable: World) -> None:
    async def scenario() -> None:
        first = await durable.client.start(Counter, 2, [], id="c")
        for n in range(1, 13):
            handle = durable.again(first)
            await handle.signal(Counter.put_slowly, n)
            if n % 3 == 0:
                await durable.reopen(Counter)
        await durable.again(first).signal(Counter.put_slowly, 0)
        assert await durable.again(first).result() == [*range(1, 13), 0]

    durable.run(scenario)


def test_messages_that_wait_when_it_continues_are_the_next_runs(timed: World) -> None:
    """All of them in one batch: each is handled by the run that continues or by the next one, none by both."""

    async def scenario() -> None:
        handle = await timed.client.start(Counter, 1, [], id="c")
        await timed.until_waiting(handle, "message")
        await timed.env.stop()
        for n in range(1, 6):
            await handle.signal(Counter.put_slowly, n)
        await timed.env.start()
        await timed.until(lambda: counted(handle))
        await handle.signal(Counter.put_slowly, 0)
        assert await handle.result() == [1, 2, 3, 4, 5, 0]

    async def counted(handle: Handle[Any]) -> bool:
        return len(await handle.query(Counter.all)) == 5

    timed.run(scenario)


def test_a_handler_that_waits_is_finished_by_its_run_and_what_comes_meanwhile_is_the_next_ones(timed: World) -> None:
    finished: list[str] = []

    @saga
    class Slow:
        def __init__(self, runs: int, told: list[str]) -> None:
            self.runs = runs
            self.told = told
            self.went_on = False

        async def run(self) -> list[str]:
            if self.runs == 2:
                await sagas.wait_until(lambda: len(self.told) >= 2)
                return self.told
            await sagas.wait_until(lambda: self.went_on)
            sagas.continue_as_new(self.runs + 1, self.told)

        @signal
        async def work(self, what: str) -> None:
            await sagas.sleep(60)
            finished.append(what)

        @signal
        def tell(self, what: str) -> None:
            self.told.append(f"{what} in {self.runs}")
            self.went_on = True

    async def scenario() -> None:
        handle = await timed.client.start(Slow, 1, [], id="s")
        await handle.signal(Slow.work, "slowly")
        await timed.until_waiting(handle, "timer")
        await handle.signal(Slow.tell, "a")
        await timed.env.settle()
        assert (await handle.describe()).run_id == handle.run_id, "its handler still works"
        await handle.signal(Slow.tell, "b")
        assert await handle.result() == ["a in 1", "b in 2"]
        assert set(finished) == {"slowly"}
        assert timed.env.now == START + timedelta(seconds=60)
        first, second = await runs_of(timed, handle)
        assert [event.name for event in first if isinstance(event, SignalReceived)] == ["work", "tell", "tell"]
        assert [event.name for event in second if isinstance(event, SignalReceived)] == ["tell"]

    timed.run(scenario)


GATES: list[Gate] = []


@activity
async def pass_gate() -> None:
    await GATES[-1]()


@saga
class Plan:
    """Begins anew after each change."""

    def __init__(self, plan: str, turn: int) -> None:
        self.plan = plan
        self.turn = turn
        self.changed = False

    async def run(self) -> str:
        await sagas.wait_until(lambda: self.changed)
        if self.plan == "none":
            return self.plan
        sagas.continue_as_new(self.plan, self.turn + 1)

    @update
    async def change(self, plan: str) -> str:
        before, self.plan, self.changed = self.plan, plan, True
        return f"{before} -> {plan}"

    @update
    def change_at_once(self, plan: str) -> str:
        before, self.plan, self.changed = self.plan, plan, True
        return f"{before} -> {plan}"

    @change.validator
    def check(self, plan: str) -> None:
        if plan == self.plan:
            raise ValueError(f"it is {plan} already")

    @update
    async def change_slowly(self, plan: str) -> str:
        self.changed = True
        await pass_gate()
        return f"would have been {plan}"


def test_an_update_is_done_by_one_run_and_none_is_undone_by_the_next(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Plan, "0", 1, id="p")
        plans = [str(n) for n in range(1, 13)]
        calls = [
            asyncio.create_task(handle.update(Plan.change if n % 3 else Plan.change_at_once, plan))
            for n, plan in enumerate(plans)
        ]
        told = await asyncio.gather(*calls)
        assert sorted(each.split(" -> ")[1] for each in told) == sorted(plans)
        befores = [each.split(" -> ")[0] for each in told]
        assert len(set(befores)) == len(plans), f"each changed what the one before had made of it: {told}"
        assert await handle.update(Plan.change, "none") in {f"{plan} -> none" for plan in plans}
        assert await handle.result() == "none"

    everywhere.run(scenario)


def test_an_update_that_waits_for_the_next_run_is_validated_by_it_and_outlives_a_crash(timed: World) -> None:
    async def scenario() -> None:
        GATES.append(Gate())
        handle = await timed.client.start(Plan, "a", 1, id="p")
        slow = asyncio.create_task(handle.update(Plan.change_slowly, "b"))
        await timed.until(lambda: GATES[-1].came)
        calls = [asyncio.create_task(handle.update(Plan.change, plan)) for plan in ("a", "c")]
        await timed.until_event(timed.client.get("p", handle.run_id), "UpdateReceived")
        await timed.env.restart()
        assert not calls[0].done()
        GATES[-1].open()
        assert await slow == "would have been b"
        with pytest.raises(sagas.UpdateRejected, match="it is a already"):
            await calls[0]
        assert await calls[1] == "a -> c"

    timed.run(scenario)


def test_attributes_timeout_and_seed_of_the_chain_are_carried_over(timed: World) -> None:
    @saga(timeout=timedelta(hours=1))
    async def monthly(turn: int) -> None:
        sagas.set_attributes(turn=turn)
        await sagas.sleep(600)
        sagas.continue_as_new(turn + 1)

    async def scenario() -> None:
        handle = await timed.client.start(monthly, 1, id="m", attributes={"plan": "pro"})
        with pytest.raises(sagas.SagaTimedOut):
            await handle.result()
        assert timed.env.now == START + timedelta(hours=1)
        described = await handle.describe()
        assert (described.status, described.attributes) == ("timed_out", {"plan": "pro", "turn": 6})
        chain = await runs_of(timed, handle)
        starts = [events[0] for events in chain if isinstance(events[0], RunStarted)]
        assert len({start.deadline_ms for start in starts}) == 1
        assert [start.chain[:3] for start in starts[1:]] == [
            (handle.run_id, before.run_id, 1) for before in starts[:-1]
        ]

    timed.run(scenario)


def test_what_is_open_when_it_continues_is_given_up(world: World) -> None:
    gates: list[Gate] = []

    @activity
    async def wait() -> None:
        await gates[0]()

    @saga
    async def leaves(turn: int) -> str:
        if turn == 2:
            return "done"
        left = [asyncio.create_task(wait()), asyncio.create_task(asyncio.sleep(3600))]
        await asyncio.wait(left, timeout=0.001)
        sagas.continue_as_new(2)

    async def scenario() -> None:
        gates.append(Gate())
        handle = await world.client.start(leaves, 1, id="l")
        assert await handle.result() == "done"
        gates[0].open()
        assert "StepCompleted" not in await event_names(handle)

    world.run(scenario)


@pytest.mark.parametrize("wrap", ["timeout", "group"])
def test_it_comes_out_of_asyncio(world: World, wrap: str) -> None:
    @saga
    async def wrapped(turn: int) -> int:
        if turn == 3:
            return turn
        async with asyncio.timeout(5) if wrap == "timeout" else asyncio.TaskGroup():
            sagas.continue_as_new(turn + 1)

    async def scenario() -> None:
        assert await world.client.execute(wrapped, 1, id="w") == 3

    world.run(scenario)


def test_inside_a_block_it_is_refused_and_nothing_is_undone(world: World) -> None:
    shop = Shop()

    @saga
    async def inside() -> None:
        async with compensating():
            await shop.act("a")
            sagas.continue_as_new()

    async def scenario() -> None:
        handle = await world.client.start(inside, id="i")
        assert "inside compensating()" in await world.until_parked(handle)
        assert shop.log == ["do a"]
        await handle.cancel()
        with pytest.raises(sagas.SagaCancelled):
            await handle.result()
        assert shop.log == ["do a", "undo a <a>"]

    world.run(scenario)


def test_after_a_block_it_is_not(world: World) -> None:
    shop = Shop()

    @saga
    async def outside(turn: int) -> int:
        async with compensating():
            await shop.act(f"{turn}")
        if turn < 3:
            sagas.continue_as_new(turn + 1)
        return turn

    async def scenario() -> None:
        assert await world.client.execute(outside, 1, id="o") == 3
        assert shop.log == ["do 1", "do 2", "do 3"]

    world.run(scenario)


def test_only_run_itself_may_call_it(world: World) -> None:
    @saga
    class Elsewhere:
        async def run(self) -> str:
            with pytest.raises(sagas.DefinitionError, match="for run"):
                await asyncio.create_task(self.elsewhere())
            with pytest.raises(sagas.ArgumentMismatch):
                sagas.continue_as_new("too many")
            return "refused"

        async def elsewhere(self) -> None:
            sagas.continue_as_new()

    async def scenario() -> None:
        assert await world.client.execute(Elsewhere, id="e") == "refused"
        with pytest.raises(sagas.NotInSaga):
            sagas.continue_as_new()

    world.run(scenario)


def test_one_that_is_caught_parks(world: World) -> None:
    @saga
    async def catches() -> None:
        try:
            sagas.continue_as_new()
        except BaseException:
            return

    async def scenario() -> None:
        handle = await world.client.start(catches, id="c")
        assert "continue_as_new() was caught" in await world.until_parked(handle)

    world.run(scenario)


def test_a_cancel_that_comes_while_handlers_are_finished_is_for_the_chain(timed: World) -> None:
    @saga
    class Slow:
        def __init__(self, turn: int) -> None:
            self.turn = turn
            self.told = False

        async def run(self) -> int:
            await sagas.wait_until(lambda: self.told)
            sagas.continue_as_new(self.turn + 1)

        @signal
        async def tell(self) -> None:
            self.told = True
            await sagas.sleep(60)

    async def scenario() -> None:
        handle = await timed.client.start(Slow, 1, id="s")
        await handle.signal(Slow.tell)
        await timed.env.settle()
        await handle.cancel("enough")
        with pytest.raises(sagas.SagaCancelled, match="enough"):
            await handle.result()
        assert (await handle.describe()).run_id == handle.run_id

    timed.run(scenario)


def test_a_thousand_runs_leave_the_head_and_the_host_as_small_as_one(timed: World) -> None:
    @saga
    async def many(left: int) -> str:
        if left:
            sagas.continue_as_new(left - 1)
        await sagas.wait_until(lambda: False)
        return "never"

    async def scenario() -> None:
        sizes = []
        for runs in (1, 1000):
            handle = await timed.client.start(many, runs, id=f"m{runs}")
            await timed.until(partial(over, handle, f"{handle.run_id}~{runs}"))
            sizes.append(len(await timed.env.store.head(handle.id) or b""))
            await handle.cancel()
            with pytest.raises(sagas.SagaCancelled):
                await handle.result()
        assert sizes[1] - sizes[0] <= 8, "three digits more of a run id, and an id"

    async def over(handle: Handle[Any], last: str) -> bool:
        described = await handle.describe()
        return described.run_id == last and bool(described.waiting_for)

    timed.run(scenario)
