"""How long ended runs are kept, and how they are deleted: with all that is stored of them, and nothing else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import sagas
from sagas import Handle, InvalidArgument, SagaNotFound, SagaRunning, activity, query, saga, signal
from sagas.store.keys import SHARD_KEYS, shard_of
from sagas.store.memory import MemoryStore
from tests.conformance.world import START, World

SECOND = timedelta(seconds=1)


@activity
async def echo(word: str) -> str:
    return word


@saga(retention=7)
class Note:
    def __init__(self, word: str) -> None:
        self.word = word
        self.over = False

    async def run(self) -> str:
        await sagas.wait_until(lambda: self.over)
        return await echo(self.word)

    @signal
    def finish(self) -> None:
        self.over = True

    @query
    def said(self) -> str:
        return self.word


@saga
async def by_default(word: str) -> str:
    return await echo(word)


@saga(retention=None)
async def for_ever(word: str) -> str:
    return await echo(word)


@saga(retention=timedelta(hours=1))
async def an_hour(word: str) -> str:
    return await echo(word)


def left(store: MemoryStore) -> set[str]:
    """The sorts of keys that hold something of an instance."""
    found = set()
    for shard in store._shards:
        for name in ("heads", "histories", "blobs", "steps", "earlier", "busy", "marks", "outbox"):
            if any(getattr(shard, name)):
                found.add(name)
        if len(shard.timers) or len(shard.expiries) or any(len(index) for index in shard.indexes.values()):
            found.add("scores")
    return found


def test_an_ended_run_is_kept_as_long_as_its_saga_says(timed: World) -> None:
    async def scenario() -> None:
        client, env = timed.client, timed.env
        kept: dict[Any, Handle[str]] = {
            Note: await client.start(Note, "x"),
            by_default: await client.start(by_default, "x"),
            for_ever: await client.start(for_ever, "x"),
            an_hour: await client.start(an_hour, "x"),
        }
        await kept[Note].signal(Note.finish)
        for handle in kept.values():
            assert await handle.result() == "x"
        expected = {an_hour: 1 / 24, Note: 7, by_default: 30}
        for saga_type, days in expected.items():
            await env.advance_to(START + timedelta(days=days) - SECOND)
            assert await kept[saga_type].result() == "x"
            await env.advance(seconds=2)
            with pytest.raises(SagaNotFound):
                await kept[saga_type].describe()
            with pytest.raises(SagaNotFound):
                await kept[saga_type].history()
        await env.advance(days=5000)
        assert [each.type async for each in client.list()] == ["for_ever"]
        await kept[for_ever].delete()
        assert left(env.store) == set()

    timed.run(scenario)


def test_a_run_that_goes_on_is_never_removed(timed: World) -> None:
    async def scenario() -> None:
        h = await timed.client.start(Note, "x", id="note-1")
        await timed.env.advance(days=400)
        await h.signal(Note.finish)
        assert await h.result() == "x"

    timed.run(scenario)


def test_a_run_outlives_the_end_of_one_before_it(timed: World) -> None:
    async def scenario() -> None:
        client, env = timed.client, timed.env
        first = await client.start(Note, "one", id="note-1")
        await first.signal(Note.finish)
        await first.result()
        await env.advance(days=6)
        second = await client.start(Note, "two", id="note-1")
        await env.advance(days=2)
        assert await second.query(Note.said) == "two"
        assert await env.store.history("note-1", str(first.run_id)) == []
        await second.signal(Note.finish)
        assert await second.result() == "two"
        await env.advance(days=8)
        with pytest.raises(SagaNotFound):
            await second.describe()
        assert left(env.store) == set()

    timed.run(scenario)


@saga(retention=7)
async def monthly(word: str, months: int) -> str:
    await echo(word)
    await sagas.sleep(30 * 86_400)
    if months:
        sagas.continue_as_new(word, months - 1)
    return word


def test_runs_of_a_chain_go_one_by_one_and_the_chain_goes_on(timed: World) -> None:
    async def scenario() -> None:
        client, store = timed.client, timed.env.store
        h = await client.start(monthly, "x" * 300_000, 3, id="chain-1")
        await timed.env.advance(days=95)
        shard = store._shards[shard_of("chain-1")]
        assert len(shard.histories) == 2, "the run of this month, and that of the last one"
        assert len(shard.blobs) == 2
        assert (await h.describe()).status == "running"
        assert await h.result() == "x" * 300_000
        await h.delete()
        assert left(store) == set()

    timed.run(scenario)


def test_what_has_expired_goes_after_a_crash_too(timed: World) -> None:
    async def scenario() -> None:
        h = await timed.client.start(an_hour, "x", id="a")
        await h.result()
        await timed.env.stop()
        await timed.env.advance(days=2)
        await timed.env.start()
        await timed.env.settle()
        with pytest.raises(SagaNotFound):
            await h.describe()

    timed.run(scenario)


def test_delete_removes_every_run_and_frees_the_id(everywhere: World) -> None:
    async def scenario() -> None:
        client = everywhere.client
        for word in ("one", "two"):
            h = await client.start(Note, word, id="note-1")
            await h.signal(Note.finish)
            assert await h.result() == word
        other = await client.start(Note, "other", id="note-2")
        await h.delete()
        for call in (h.describe, h.history, h.result, h.delete):
            with pytest.raises(SagaNotFound):
                await call()
        with pytest.raises(SagaNotFound):
            await h.signal(Note.finish)
        assert [each.id async for each in client.list()] in (["note-2"], [])
        again = await client.start(Note, "again", id="note-1", on_reuse="reject")
        assert await again.query(Note.said) == "again"
        assert await other.query(Note.said) == "other"
        assert sorted([each.id async for each in client.list("type = 'Note'")]) == ["note-1", "note-2"]

    everywhere.run(scenario)


def test_what_runs_is_not_deleted(everywhere: World) -> None:
    async def scenario() -> None:
        h = await everywhere.client.start(Note, "x", id="note-1")
        await everywhere.until_waiting(h, "message")
        with pytest.raises(SagaRunning, match="cancel"):
            await h.delete()
        assert await h.query(Note.said) == "x"
        await h.terminate()
        with pytest.raises(sagas.SagaTerminated):
            await h.result()
        await h.delete()

    everywhere.run(scenario)


def test_erase_deletes_what_matches_and_names_what_still_runs(everywhere: World) -> None:
    async def scenario() -> None:
        client = everywhere.client
        handles = {}
        for n, customer in enumerate(("ada", "ada", "ada", "bob")):
            h = handles[n] = await client.start(Note, "x", id=f"note-{n}", attributes={"customer": customer})
            if n:
                await h.signal(Note.finish)
                await h.result()
            else:
                await everywhere.until_waiting(h, "message")
        with pytest.raises(InvalidArgument):
            await client.erase(" ")
        done = await client.erase("attributes.customer = 'ada'")
        assert (sorted(done.deleted), done.running) == (["note-1", "note-2"], ("note-0",))
        assert sorted([each.id async for each in client.list()]) == ["note-0", "note-3"]
        assert await client.erase("attributes.customer = 'nobody'") == sagas.Erasure(deleted=(), running=())

    everywhere.run(scenario)


def test_every_sort_of_key_was_thought_of() -> None:
    """A new key of an instance must be removed with it: then add it here and to ``left``."""
    of_an_instance = {"i", "h", "b", "u", "p", "m", "v", "t", "r", "busy", "x", "ad"}
    of_a_shard = {"ep", "lease", "in", "ob", "src"}
    assert {kind.name.partition(":")[0] for kind in SHARD_KEYS} == of_an_instance | of_a_shard


@pytest.mark.parametrize("wrong", [-1, float("inf"), "30", True])
def test_a_retention_that_cannot_be_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidArgument, match="retention"):
        saga(retention=wrong)  # type: ignore[call-overload]
