"""A host: what it does when it is killed, stopped, refused, lied to, or given an instance that breaks everything."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack
import pytest

import sagas
from sagas import Rejected, Retry, activity, compensating, query, saga, signal, wait_until
from sagas.engine.host import Host
from sagas.engine.resident import Resident, Turn
from sagas.errors import SagaFailed, StoreUnavailable
from sagas.store.keys import shard_of
from sagas.store.memory import MemoryStore
from sagas.store.port import Admission, Batch, Committed, Mail, Status
from tests.engine.rig import HeldExecutor, Rig, done, play, until
from tests.simulation.faulty_store import CALM, FaultyStore
from tests.simulation.time_skipping import LoopClock

EFFECTS: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _no_effects() -> None:
    EFFECTS.clear()


@activity(retry=Retry(initial=0.1, jitter=0))
async def step(name: str) -> str:
    EFFECTS[f"{sagas.step().idempotency_key} {name}"] += 1
    return name


@activity(retry=Retry(initial=0.1, jitter=0))
async def slow(name: str) -> str:
    await asyncio.sleep(30)
    EFFECTS[f"{sagas.step().idempotency_key} {name}"] += 1
    return name


@activity(retry=Retry(max_attempts=1))
async def slow_once(name: str) -> str:
    await asyncio.sleep(30)
    return name


@activity
async def refuse() -> None:
    raise Rejected("no")


@activity
async def book(name: str) -> str:
    EFFECTS[f"{sagas.step().idempotency_key} book {name}"] += 1
    return name


@book.compensation
async def cancel_booking(booking: str | None, name: str) -> None:
    EFFECTS[f"{sagas.step().undo_of} undone"] += 1


@saga
async def two(first: str, second: str) -> list[str]:
    return [await step(first), await step(second)]


@saga
async def napping(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "awake"


@saga
async def patient() -> str:
    return await slow("x")


@saga
async def patient_once() -> str:
    return await slow_once("x")


@saga
async def trip() -> None:
    async with compensating():
        await book("hotel")
        await asyncio.sleep(5)
        await book("car")
        await refuse()


@saga
@dataclass
class Box:
    items: list[str] = field(default_factory=list)

    async def run(self) -> list[str]:
        await wait_until(lambda: "end" in self.items)
        return self.items

    @signal
    def put(self, item: str) -> None:
        if item == "bug":
            raise KeyError(item)
        self.items.append(item)

    @query
    def look(self) -> list[str]:
        return self.items


@saga
async def exiting() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    await asyncio.create_task(leave())


KNOWN = (two, napping, patient, patient_once, trip, Box, exiting, step, slow, slow_once, refuse, book)


def ids_of(shard: int) -> Any:
    return (id for id in map("i{}".format, range(10**6)) if shard_of(id) == shard)


# --- killed, and another one


class MortalStore(MemoryStore):
    """Kills whoever commits, just before or just after the nth commit."""

    def __init__(self, at: int, after: bool) -> None:
        super().__init__(clock=lambda: LoopClock().now_ms())
        self.at = at
        self.after = after
        self.victim: Host | None = None
        self.commits = 0

    async def commit(self, batches: Sequence[Batch]) -> list[Committed]:
        self.commits += 1
        dies = self.commits == self.at and self.victim is not None
        if not dies or self.after:
            verdicts = await super().commit(batches)
        if dies:
            assert self.victim is not None
            self.victim.kill()
            await asyncio.sleep(0)  # cancelled here, as dead as can be
        return verdicts


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_host_killed_at_any_commit_loses_and_repeats_nothing(after: bool) -> None:
    deaths = 0
    for at in range(1, 30):
        EFFECTS.clear()
        store = MortalStore(at, after)

        async def scenario(rig: Rig, store: MortalStore = store) -> None:
            first = store.victim = await rig.host()
            handle = await rig.client.start(trip, id="t")
            await until(lambda: first.stopped or self_closed(rig))
            if first.stopped:
                await rig.kill(first)
                store.victim = None
                await rig.host()
            with pytest.raises(SagaFailed) as failed:
                await handle.result()
            assert failed.value.cause_type == "Rejected"
            keys = {key.split()[0] for key in EFFECTS if "book" in key}
            assert {key.split()[0] for key in EFFECTS if "undone" in key} == keys
            assert len(keys) == 2
            assert rig.kinds("t").count("CompensationCompleted") == 2

        def self_closed(rig: Rig) -> bool:
            return "t" in rig.shard("t").heads and rig.head("t").status is not Status.RUNNING

        play(scenario, *KNOWN, store=store)
        deaths += store.commits >= at
    assert deaths > 5


def test_two_hosts_share_the_instances_and_one_takes_over_the_other() -> None:
    async def scenario(rig: Rig) -> None:
        first, second = await rig.host(), await rig.host()
        await until(lambda: len(first.shards) == len(second.shards) == 32)
        handles = [await rig.client.start(napping, 60, id=f"n{number}") for number in range(40)]
        await until(lambda: all("TimerSet" in rig.kinds(handle.id) for handle in handles))
        await rig.kill(first)
        assert [await handle.result() for handle in handles] == ["awake"] * 40
        assert len(second.shards) == 64
        assert second.violations == 0

    play(scenario, *KNOWN)


def test_a_host_that_is_fenced_lets_go_and_comes_back() -> None:
    async def scenario(rig: Rig) -> None:
        assert isinstance(rig.store, FaultyStore)
        host = await rig.host()
        handle = await rig.client.start(two, "a", "b", id="t")
        await rig.store.steal(shard_of("t"))
        assert await handle.result() == ["a", "b"]
        assert shard_of("t") in host.shards
        assert sorted(key.split()[1] for key in EFFECTS) == ["a", "b"]

    play(scenario, *KNOWN, store=FaultyStore(lambda: LoopClock().now_ms(), 0, CALM))


# --- stop


def test_stop_waits_for_the_steps_in_flight_and_runs_no_more_code() -> None:
    async def scenario(rig: Rig) -> None:
        held = HeldExecutor()
        host = await rig.host(held=held)
        handle = await rig.client.start(two, "a", "b", id="t")
        await until(lambda: held.tasks)
        stopping = asyncio.ensure_future(host.stop(600))
        await asyncio.sleep(60)
        assert not stopping.done()
        host.deliver([done(held.tasks[0], "a")])
        await stopping
        assert rig.kinds("t")[-1] == "StepCompleted"
        assert len(held.tasks) == 1
        assert all(shard.lease is None for shard in rig.store._shards)
        await rig.host()
        assert await handle.result() == ["a", "b"]
        assert [key.split()[1] for key in EFFECTS] == ["b"]

    play(scenario, *KNOWN)


def test_stop_gives_up_on_steps_that_outlast_its_grace() -> None:
    async def scenario(rig: Rig) -> None:
        host = await rig.host()
        handle = await rig.client.start(patient, id="t")
        await until(lambda: "StepScheduled" in rig.kinds("t"))
        await host.stop(5)
        await rig.kill(host)
        assert not EFFECTS
        await rig.host()
        assert await handle.result() == "x"
        (step_key,) = {key.split()[0] for key in EFFECTS}
        assert step_key.endswith("/1")

    play(scenario, *KNOWN)


def test_stop_does_not_wait_for_a_store_that_is_down() -> None:
    class Down(MemoryStore):
        down = False

        async def commit(self, batches: Sequence[Batch]) -> list[Committed]:
            if self.down:
                raise StoreUnavailable("down")
            return await super().commit(batches)

        async def release(self, claims: Any, owner: str) -> None:
            raise StoreUnavailable("down")

    store = Down(clock=lambda: LoopClock().now_ms())

    async def scenario(rig: Rig) -> None:
        host = await rig.host()
        store.down = True
        await rig.client.start(two, "a", "b", id="t")
        await asyncio.sleep(1)
        async with asyncio.timeout(60):
            await host.stop(5)
        assert host.stopped

    play(scenario, *KNOWN, store=store)


def test_a_stop_that_is_cancelled_ends_the_host_all_the_same() -> None:
    async def scenario(rig: Rig) -> None:
        host = await rig.host()
        await rig.client.start(patient, id="t")
        await until(lambda: "StepScheduled" in rig.kinds("t"))
        stopping = asyncio.ensure_future(host.stop(1000))
        await asyncio.sleep(1)
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        assert host.stopped
        assert host.shards == []

    play(scenario, *KNOWN)


# --- long steps and short memories


@pytest.mark.parametrize("kind", [patient, patient_once])
def test_a_step_that_outlasts_its_instance_in_memory_is_made_once(kind: Any) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.host(residents=0)
        handle = await rig.client.start(kind, id="t")
        assert await handle.result() == "x"
        assert rig.kinds("t").count("StepCompleted") == 1
        assert sum(EFFECTS.values()) <= 1

    play(scenario, *KNOWN)


def test_every_kind_of_instance_works_with_no_memory_at_all() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.host(residents=0)
        box = await rig.client.start(Box, id="b")
        for item in ("a", "b"):
            await box.signal(Box.put, item)
            await until(lambda: rig.kinds("b") and len(rig.shard("b").mailbox) == 0)
        assert await box.query(Box.look) == ["a", "b"]
        await box.signal(Box.put, "end")
        assert await box.result() == ["a", "b", "end"]
        assert await box.query(Box.look) == ["a", "b", "end"]

    play(scenario, *KNOWN)


# --- timers


def test_all_due_timers_fire_however_small_the_limit() -> None:
    limits: list[tuple[int, int]] = []

    class Counting(MemoryStore):
        async def timers(self, shard: int, upto_ms: int, limit: int) -> tuple[list[tuple[str, int]], int | None]:
            found = await super().timers(shard, upto_ms, limit)
            limits.append((limit, len(found[0])))
            return found

    async def scenario(rig: Rig) -> None:
        await rig.host(timer_limit=3)
        ids = ids_of(7)
        handles = [await rig.client.start(napping, 100, id=next(ids)) for _ in range(30)]
        assert [await handle.result() for handle in handles] == ["awake"] * 30
        assert len(rig.shard(handles[0].id).timers) == 0

    play(scenario, *KNOWN, store=Counting(clock=lambda: LoopClock().now_ms()))
    assert max(found for _, found in limits) <= 6  # three in hand, three more


def test_what_cannot_be_read_does_not_crowd_out_the_timers_of_others() -> None:
    calls = [0]

    class Counting(MemoryStore):
        async def timers(self, shard: int, upto_ms: int, limit: int) -> tuple[list[tuple[str, int]], int | None]:
            calls[0] += 1
            assert calls[0] < 1000, "it looks again and again"
            return await super().timers(shard, upto_ms, limit)

    async def scenario(rig: Rig) -> None:
        first = await rig.host()
        ids = ids_of(7)
        handles = [await rig.client.start(napping, 50 + number, id=next(ids)) for number in range(4)]
        await until(lambda: all("TimerSet" in rig.kinds(handle.id) for handle in handles))
        await rig.kill(first)
        shard = rig.shard(handles[0].id)
        for handle in handles[:2]:
            (key,) = [key for key in shard.histories if key[0] == handle.id]
            shard.histories[key].append(msgpack.packb((99, 0, [])))
        await rig.host(timer_limit=1)
        async with asyncio.timeout(200):
            assert [await handle.result() for handle in handles[2:]] == ["awake"] * 2

    play(scenario, *KNOWN, store=Counting(clock=lambda: LoopClock().now_ms()))


def test_a_parked_instance_leaves_the_timer_set_and_comes_back_with_a_resume() -> None:
    @saga
    @dataclass
    class Fragile(Box):
        async def run(self) -> list[str]:
            await asyncio.sleep(100)
            return self.items

    async def scenario(rig: Rig) -> None:
        await rig.host()
        handle = await rig.client.start(Fragile, id="f")
        await until(lambda: len(rig.shard("f").timers) == 1)
        await handle.signal(Box.put, "bug")
        await until(lambda: rig.head("f").parked if "f" in rig.shard("f").heads else False)
        assert len(rig.shard("f").timers) == 0
        await asyncio.sleep(500)
        assert rig.kinds("f")[-1] == "Parked"
        await handle.cancel()
        with pytest.raises(sagas.SagaParked):  # the bug is still there
            await handle.result()

    play(scenario, Fragile)


def test_a_stale_entry_in_the_timer_set_is_repaired() -> None:
    async def scenario(rig: Rig) -> None:
        host = await rig.host()
        await rig.client.start(napping, 1000, id="n")
        await until(lambda: len(rig.shard("n").timers) == 1)
        true = rig.shard("n").timers.upto(2**53, 1)[0]
        rig.shard("n").timers.put("n", 1)
        await rig.kill(host)
        await rig.host()
        await until(lambda: rig.shard("n").timers.upto(2**53, 1)[0] == true)
        assert "TimerFired" not in rig.kinds("n")

    play(scenario, *KNOWN)


def test_a_timer_read_that_fails_is_made_again() -> None:
    class Flaky(MemoryStore):
        failures = 0

        async def timers(self, shard: int, upto_ms: int, limit: int) -> tuple[list[tuple[str, int]], int | None]:
            if self._shards[shard].timers.upto(upto_ms, 1)[0] and self.failures < 3:
                self.failures += 1
                raise StoreUnavailable("injected")
            return await super().timers(shard, upto_ms, limit)

    store = Flaky(clock=lambda: LoopClock().now_ms())

    async def scenario(rig: Rig) -> None:
        host = await rig.host()
        handle = await rig.client.start(napping, 10, id="n")
        async with asyncio.timeout(20):
            assert await handle.result() == "awake"
        assert store.failures == 3
        assert host.violations == 0

    play(scenario, *KNOWN, store=store)


def test_a_shard_whose_busy_set_cannot_be_read_is_not_taken_yet() -> None:
    class Flaky(MemoryStore):
        failing = False

        async def busy(self, shard: int) -> list[str]:
            if self.failing and shard == shard_of("t"):
                self.failing = False
                raise StoreUnavailable("injected")
            return await super().busy(shard)

    store = Flaky(clock=lambda: LoopClock().now_ms())

    async def scenario(rig: Rig) -> None:
        first = await rig.host()
        handle = await rig.client.start(patient, id="t")
        await until(lambda: "StepScheduled" in rig.kinds("t"))
        second = await rig.host()
        store.failing = True
        await rig.kill(first)
        assert await handle.result() == "x"
        assert not store.failing
        assert second.violations == 0

    play(scenario, *KNOWN, store=store)


# --- instances that break things


def test_an_instance_that_makes_the_engine_raise_stops_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def turn(self: Resident, now_ms: int, *, run: bool = True, original: Any = Resident.turn) -> Turn:
        if self.id == "bad":
            raise RuntimeError("a defect of ours")
        made: Turn = original(self, now_ms, run=run)
        return made

    monkeypatch.setattr(Resident, "turn", turn)

    async def scenario(rig: Rig) -> None:
        host = await rig.host()
        await rig.client.start(two, "x", "y", id="bad")
        same = next(id for id in ids_of(shard_of("bad")))
        assert await rig.client.execute(two, "a", "b", id=same) == ["a", "b"]
        assert await rig.client.execute(two, "a", "b", id="other") == ["a", "b"]
        assert not host.stopped
        assert len(rig.shard("bad").mailbox) == 1

    play(scenario, *KNOWN)


@pytest.mark.parametrize("damage", ["head", "history", "steps"])
def test_an_instance_that_cannot_be_loaded_stops_nobody_else(damage: str) -> None:
    async def scenario(rig: Rig) -> None:
        first = await rig.host()
        await rig.client.start(napping, 50, id="bad")
        await until(lambda: len(rig.shard("bad").timers) == 1)
        await rig.kill(first)
        shard = rig.shard("bad")
        match damage:
            case "head":
                shard.heads["bad"] = msgpack.packb([99, "run of a newer version", "type"])
            case "history":
                (key,) = [key for key in shard.histories if key[0] == "bad"]
                shard.histories[key].append(msgpack.packb((99, 0, [])))
            case "steps":
                shard.steps["bad"] = b"\xc1"
        second = await rig.host()
        await asyncio.sleep(100)
        assert not second.stopped
        assert await rig.client.execute(two, "a", "b", id="other") == ["a", "b"]

    play(scenario, *KNOWN)


def test_a_system_exit_in_saga_code_parks_it_and_leaves_the_host_alone() -> None:
    async def scenario(rig: Rig) -> None:
        host = await rig.host()
        handle = await rig.client.start(exiting, id="e")
        with pytest.raises(sagas.SagaParked, match="SystemExit"):
            await handle.result()
        assert await rig.client.execute(two, "a", "b") == ["a", "b"]
        assert not host.stopped

    play(scenario, *KNOWN)


def test_a_type_nobody_knows_waits_and_starts_when_a_host_with_the_code_comes() -> None:
    async def scenario(rig: Rig) -> None:
        without = await rig.host(napping)
        handle = await rig.client.start(two, "a", "b", id="t")
        await until(lambda: "t" in rig.shard("t").heads)
        assert rig.head("t").waiting[0][0] == "code"
        assert not rig.head("t").parked
        assert rig.kinds("t") == ["RunStarted"]
        await rig.host()
        await without.stop()
        assert await handle.result() == ["a", "b"]

    play(scenario, *KNOWN)


# --- mail


def test_mail_that_cannot_be_read_stays_and_the_rest_arrives() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.host()
        handle = await rig.client.start(Box, id="b")
        odd = [msgpack.packb((99, "of a newer version")), b"\xc1", msgpack.packb(7)]
        for number, body in enumerate(odd):
            await rig.store.enqueue(Admission(id="b", kind="message", message_id=f"odd-{number}", mail=body))
        await handle.signal(Box.put, "end")
        assert await handle.result() == ["end"]
        assert [mail.body for mail in rig.shard("b").mailbox.after("0", 10)] == odd

    play(scenario, *KNOWN)


def test_mail_behind_a_start_that_cannot_be_read_waits_for_a_host_that_can() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.host()
        newer = msgpack.packb((99, "a start of a newer version"))
        await rig.store.enqueue(Admission(id="b", kind="start", message_id="s", mail=newer, run_id="r"))
        await rig.client.get("b").signal(Box.put, "end")
        await asyncio.sleep(10)
        assert len(rig.shard("b").mailbox) == 2

    play(scenario, *KNOWN)


class GatedStore(MemoryStore):
    """Holds commits while its gate is closed; tells when one has come to it."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: LoopClock().now_ms())
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0

    async def commit(self, batches: Sequence[Batch]) -> list[Committed]:
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        return await super().commit(batches)


def test_a_signal_accepted_before_a_runs_end_is_durable_is_never_lost() -> None:
    """The run ends in memory while another commit is in flight; then a signal comes, is accepted, and is read."""
    store = GatedStore()

    async def scenario(rig: Rig) -> None:
        await rig.host()
        handle = await rig.client.start(Box, id="b")
        await until(lambda: rig.kinds("b"))
        store.gate.clear()
        await rig.client.start(napping, 1, id="other")
        await until(lambda: store.waiting == 1)
        await handle.signal(Box.put, "end")
        await asyncio.sleep(1)  # it has ended in memory by now
        await handle.signal(Box.put, "late", message_id="late")
        await asyncio.sleep(1)
        assert rig.head("b").status is Status.RUNNING
        store.gate.set()
        await handle.result()
        assert [getattr(event, "message_id", "") for event in rig.history("b")].count("late") == 1

    play(scenario, *KNOWN, store=store)


def test_signals_keep_their_order_when_an_end_is_made_again() -> None:
    store = GatedStore()

    async def scenario(rig: Rig) -> None:
        await rig.host()
        handle = await rig.client.start(Box, id="b")
        await until(lambda: rig.kinds("b"))
        await handle.signal(Box.put, "first")
        store.gate.clear()
        await rig.client.start(napping, 1, id="other")
        for item in ("end", "second", "third", "fourth"):
            await handle.signal(Box.put, item)
            await asyncio.sleep(0.5)
        store.gate.set()
        assert await handle.result() == ["first", "end", "second", "third", "fourth"]

    play(scenario, *KNOWN, store=store)


def test_a_read_that_outlives_its_shard_does_not_skip_mail_of_the_next_one() -> None:
    """A blocking read began for one ownership of the shard; its answer comes in the next one, which reads anew."""

    class SlowMail(MemoryStore):
        hold: asyncio.Event | None = None
        held = 0

        async def read_mail(self, after: Mapping[int, str], block_ms: int, limit: int = 1000) -> list[Mail]:
            mails = await super().read_mail(after, block_ms, limit)
            if mails and self.hold is not None and block_ms:
                hold, self.hold = self.hold, None
                self.held += 1
                await hold.wait()
                return mails[-1:]  # what came last, after what the shard had read before it was lost
            return mails

    store = SlowMail(clock=lambda: LoopClock().now_ms())

    async def scenario(rig: Rig) -> None:
        host = await rig.host()
        handle = await rig.client.start(Box, id="b")
        await until(lambda: rig.kinds("b"))
        hold = store.hold = asyncio.Event()
        await handle.signal(Box.put, "first")
        await handle.signal(Box.put, "end")
        await until(lambda: store.held)
        shard = host._shards[shard_of("b")]
        host.lose(shard, "for this test")
        await until(lambda: host._shards.get(shard_of("b")) not in (None, shard))
        hold.set()
        assert await handle.result() == ["first", "end"]

    play(scenario, *KNOWN, store=store)


def test_mail_for_an_ended_run_is_taken_out_of_the_mailbox() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.host()
        handle = await rig.client.start(two, "a", "b", id="t")
        await handle.result()
        with pytest.raises(sagas.SagaClosed):
            await handle.signal("late")
        await asyncio.sleep(10)
        assert len(rig.shard("t").mailbox) == 0

    play(scenario, *KNOWN)
