"""The group commit: one call at a time, the same batch until its fate is known, and nothing released before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import pytest

from sagas.engine import flush as flushing
from sagas.engine.flush import MAX_TRANSITIONS, Flush, Written
from sagas.engine.message import Signal
from sagas.engine.resident import Effects, MailInput, Resident, Turn
from sagas.engine.shard import Shard
from sagas.errors import StoreUnavailable
from sagas.kernel.registry import Registry
from sagas.store.port import Batch, Claim, Committed, CommitVerdict, Token, Transition

Answer = CommitVerdict | StoreUnavailable


class ScriptedStore:
    """Answers commits from a script, shard by shard alike; then OK. ``gate`` holds the next commit until it is set."""

    def __init__(self, *script: Answer) -> None:
        self.script = list(script)
        self.sent: list[list[Batch]] = []
        self.gate: asyncio.Event | None = None
        self.under_way = 0

    async def commit(self, batches: Sequence[Batch]) -> list[Committed]:
        self.sent.append(list(batches))
        self.under_way += 1
        assert self.under_way == 1, "two calls at once would carry one sequence"
        try:
            await (asyncio.sleep(0) if self.gate is None else self.gate.wait())
        finally:
            self.under_way -= 1
        answer = self.script.pop(0) if self.script else CommitVerdict.OK
        if isinstance(answer, StoreUnavailable):
            raise answer
        ids = tuple(step.id for step in batches[0].transitions[:1]) if answer is CommitVerdict.UNREAD else ()
        return [Committed(shard=batch.shard, verdict=answer, ids=ids) for batch in batches]


class Owner:
    """Remembers what a flush tells it."""

    def __init__(self, *numbers: int) -> None:
        self.shards = {
            number: Shard(claim=Claim(shard=number, token=Token(counter=1, nonce="n"), sequence=7), sequence=7)
            for number in numbers
        }
        self.told: list[tuple[str, int, list[str]]] = []

    def put(self, number: int, *ids: str) -> None:
        for id in ids:
            self.shards[number].turns.append((Resident(id, Registry()), turn_of(id)))

    def shards_to_flush(self) -> list[Shard]:
        return [shard for shard in self.shards.values() if shard.turns]

    def release(self, shard: Shard, written: Written) -> None:
        self._tell("release", shard, written)

    async def redo(self, shard: Shard, written: Written, ids: frozenset[str]) -> None:
        self._tell(f"redo {sorted(ids)}", shard, written)

    def written_again(self, shard: Shard) -> None:
        self._tell("written again", shard, [])

    def lose(self, shard: Shard, why: str) -> None:
        self._tell("lose", shard, [])

    def _tell(self, what: str, shard: Shard, written: Written) -> None:
        self.told.append((what, shard.number, [resident.id for resident, _ in written]))


def turn_of(id: str, closes: bool = False) -> Turn:
    step = Transition(
        id=id, run_id="r", version=0, chunk=b"x", head=b"h", timer_ms=None, busy=False, steps=None, closes=closes
    )
    return Turn(step, Effects(), ())


Scenario = Callable[[Flush, Owner, ScriptedStore], Awaitable[None]]


def play(scenario: Scenario, *script: Answer, shards: Sequence[int] = (1,), stopping: bool = False) -> Owner:
    owner, store = Owner(*shards), ScriptedStore(*script)

    async def main() -> None:
        flush = Flush(store, owner, lambda: stopping)  # type: ignore[arg-type]
        await asyncio.wait_for(_awaited(scenario(flush, owner, store)), 30)

    asyncio.run(main())
    return owner


async def _awaited(work: Awaitable[None]) -> None:
    await work


def together(*work: Coroutine[Any, Any, None]) -> Awaitable[list[None]]:
    return asyncio.gather(*work)


def test_one_call_carries_every_shard_with_something_to_write() -> None:
    async def scenario(flush: Flush, owner: Owner, store: ScriptedStore) -> None:
        owner.put(1, "a", "b")
        owner.put(3, "c")
        await flush.once()
        ((first, third),) = store.sent
        assert [step.id for step in first.transitions] == ["a", "b"]
        assert (third.shard, third.sequence, third.token.nonce) == (3, 8, "n")
        assert [shard.sequence for shard in owner.shards.values()] == [8, 7, 8]

    assert play(scenario, shards=(1, 2, 3)).told == [("release", 1, ["a", "b"]), ("release", 3, ["c"])]


def test_with_nothing_to_write_nothing_is_sent() -> None:
    async def scenario(flush: Flush, owner: Owner, store: ScriptedStore) -> None:
        await flush.once()
        assert store.sent == []

    assert play(scenario).told == []


def test_what_comes_while_a_call_is_in_flight_is_the_next_batch() -> None:
    async def scenario(flush: Flush, owner: Owner, store: ScriptedStore) -> None:
        store.gate = asyncio.Event()
        owner.put(1, "a")
        first = asyncio.ensure_future(flush.once())
        while not store.sent:
            await asyncio.sleep(0)
        assert flush.in_flight
        owner.put(1, "b", "c")
        second = asyncio.ensure_future(flush.once())
        await asyncio.sleep(0)
        assert len(store.sent) == 1
        assert owner.told == []
        store.gate.set()
        await asyncio.gather(first, second)
        assert [batch.sequence for (batch,) in store.sent] == [8, 9]
        assert not flush.in_flight

    assert play(scenario).told == [("release", 1, ["a"]), ("release", 1, ["b", "c"])]


def test_a_batch_is_cut_and_the_rest_follows_in_order() -> None:
    ids = [f"i{number}" for number in range(MAX_TRANSITIONS + 2)]

    async def scenario(flush: Flush, owner: Owner, store: ScriptedStore) -> None:
        owner.put(1, *ids)
        loop = asyncio.ensure_future(flush.run())
        flush.want()
        while len(owner.told) < 2:
            await asyncio.sleep(0)
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)

    told = play(scenario).told
    assert [written for _, _, written in told] == [ids[:MAX_TRANSITIONS], ids[MAX_TRANSITIONS:]]


@pytest.mark.parametrize("truth", [CommitVerdict.OK, CommitVerdict.DUP])
def test_a_lost_call_is_sent_again_as_it_was(monkeypatch: pytest.MonkeyPatch, truth: CommitVerdict) -> None:
    monkeypatch.setattr(flushing, "_BACK_OFF_S", (0.0,))

    async def scenario(flush: Flush, owner: Owner, store: ScriptedStore) -> None:
        owner.put(1, "a")
        sending = asyncio.ensure_future(flush.once())
        while len(store.sent) < 3:
            if store.sent:
                owner.put(1, f"more {len(owner.shards[1].turns)}")
            assert owner.told == []
            await asyncio.sleep(0)
        await sending
        assert store.sent[0] == store.sent[1] == store.sent[2]
        assert owner.shards[1].sequence == 8

    lost = StoreUnavailable("lost")
    assert play(scenario, lost, lost, truth).told[0] == ("release", 1, ["a"])


def test_unread_mail_is_a_redo_and_uses_up_no_sequence() -> None:
    async def scenario(flush: Flush, owner: Owner, store: ScriptedStore) -> None:
        owner.put(1, "a", "b")
        await flush.once()
        assert owner.shards[1].sequence == 7

    assert play(scenario, CommitVerdict.UNREAD).told == [("redo ['a']", 1, ["a", "b"])]


@pytest.mark.parametrize("verdict", [CommitVerdict.FENCED, CommitVerdict.GAP, CommitVerdict.CONFLICT])
def test_a_shard_that_is_not_where_it_was_is_lost_and_nothing_released(verdict: CommitVerdict) -> None:
    async def scenario(flush: Flush, owner: Owner, store: ScriptedStore) -> None:
        owner.put(1, "a")
        await flush.once()

    assert play(scenario, verdict).told == [("lose", 1, [])]


def test_fenced_after_a_lost_call_releases_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flushing, "_BACK_OFF_S", (0.0,))

    async def scenario(flush: Flush, owner: Owner, store: ScriptedStore) -> None:
        owner.put(1, "a")
        await flush.once()

    assert play(scenario, StoreUnavailable("lost"), CommitVerdict.FENCED).told == [("lose", 1, [])]


def test_a_host_that_stops_waits_for_no_store() -> None:
    async def scenario(flush: Flush, owner: Owner, store: ScriptedStore) -> None:
        owner.put(1, "a")
        with pytest.raises(StoreUnavailable):
            await flush.once()
        assert not flush.in_flight
        assert len(store.sent) == 1

    assert play(scenario, StoreUnavailable("down"), stopping=True).told == []


def test_the_end_of_a_run_claims_to_know_only_the_mail_its_turn_had_seen() -> None:
    owner = Owner(1)
    shard = owner.shards[1]
    shard.read_upto = "9-0"
    closing = turn_of("b", closes=True)
    closing.read_upto = "8-5"
    older = turn_of("c", closes=True)
    older.read_upto = "8-11"
    mail = MailInput("9-0", Signal(message_id="m", name="s", args=b""))
    resident = Resident("b", Registry())
    resident.inputs.append(mail)
    batch = shard.batch([(resident, closing), (Resident("c", Registry()), older)])
    assert [step.read_upto for step in batch.transitions] == ["8-5", "8-11"]
