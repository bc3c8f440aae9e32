"""A store that goes back in time, as a failover makes it: the owner writes again what it was told was written."""

from __future__ import annotations

import asyncio
import copy
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from sagas.engine.flush import Flush, Written
from sagas.engine.resident import Effects, Resident, Turn
from sagas.engine.shard import Shard
from sagas.engine.tail import Tail
from sagas.kernel.registry import Registry
from sagas.store.keys import shard_of
from sagas.store.memory import MemoryStore
from sagas.store.port import Removal, Store, Transition
from sagas.store.redis import RedisStore
from tests.contract.samples import bodies, claimed, closing, committed, eventually_up, message, start, step, unread
from tests.servers import KINDS, Server

OTHER = "b"  # in another shard than "a"


class MemoryPast:
    """A memory store that can be taken back to how it was when ``remember`` was called."""

    def __init__(self) -> None:
        self._store = MemoryStore()

    async def open(self) -> Store:
        return self._store

    def remember(self) -> None:
        self._shards = copy.deepcopy(self._store._shards)

    def go_back(self) -> None:
        self._store._shards = copy.deepcopy(self._shards)


class ServerPast:
    """The same with a server: killed, and started again on a copy of its files."""

    def __init__(self, server: Server, namespace: str, copy_to: Path) -> None:
        self._server = server
        self._namespace = namespace
        self._files = Path(server.url.removeprefix("unix://")).parent / "appendonlydir"
        self._copy = copy_to

    async def open(self) -> Store:
        return await RedisStore.connect(self._server.url, self._namespace)

    def remember(self) -> None:
        shutil.copytree(self._files, self._copy)

    def go_back(self) -> None:
        self._server.kill()
        shutil.rmtree(self._files)
        shutil.copytree(self._copy, self._files)
        self._server.restart()


Past = MemoryPast | ServerPast


@pytest.fixture(params=("memory", *KINDS))
def past(request: pytest.FixtureRequest, namespace: str, tmp_path: Path) -> Iterator[Past]:
    if request.param == "memory":
        yield MemoryPast()
        return
    server = Server(request.param)
    try:
        yield ServerPast(server, namespace, tmp_path / "copy")
    finally:
        server.stop()


class Owner:
    """Holds shards, writes what it is given, and remembers what the flush told it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.shards: dict[int, Shard] = {}
        self.released: list[str] = []
        self.redone: list[str] = []
        self.again: list[int] = []
        self.flush = Flush(store, self, lambda: False)

    async def take(self, *ids: str) -> None:
        for id in ids:
            claim = await claimed(self.store, id)
            self.shards[claim.shard] = Shard(claim=claim, sequence=claim.sequence)

    async def write(self, *steps: Transition) -> None:
        for each in steps:
            turn = Turn(each, Effects(), (), read_upto=each.read_upto)
            self.shards[shard_of(each.id)].turns.append((Resident(each.id, Registry()), turn))
        await self.flush.once()

    async def remove(self, id: str, run_id: str) -> None:
        turn = Turn(None, Effects(), (), removal=Removal(id=id, run_id=run_id, index=("x",)))
        self.shards[shard_of(id)].turns.append((Resident(id, Registry()), turn))
        await self.flush.once()

    def shards_to_flush(self) -> list[Shard]:
        return [shard for shard in self.shards.values() if shard.turns]

    def release(self, shard: Shard, written: Written) -> None:
        self.released += (resident.id for resident, _ in written)

    async def redo(self, shard: Shard, written: Written, ids: frozenset[str]) -> None:
        self.redone += ids

    def written_again(self, shard: Shard) -> None:
        self.again.append(shard.number)

    def lose(self, shard: Shard, why: str) -> None:
        if self.shards.get(shard.number) is shard:
            del self.shards[shard.number]


def play(past: Past, scenario: Callable[[Store, Owner], Awaitable[None]]) -> None:
    async def run() -> None:
        store = await past.open()
        try:
            await scenario(store, Owner(store))
        finally:
            await store.close()

    asyncio.run(run())


def test_what_was_acknowledged_is_written_again_before_what_is_new(past: Past) -> None:
    async def scenario(store: Store, owner: Owner) -> None:
        await owner.take("a")
        await store.enqueue(start("a"))
        (mail,) = await unread(store, "a")
        await owner.write(step("a", admitted=True))
        past.remember()
        await owner.write(step("a", 1, mail=(mail.entry,), outbox=(b"x", b"y"), busy=True, timer_ms=9))
        await owner.write(step("a", 2, chunk=None, steps=b"retry", busy=True, timer_ms=8))
        sent = await store.outbox(shard_of("a"))
        past.go_back()
        await owner.write(step("a", 2, busy=True, timer_ms=7, steps=b"retry", outbox=(b"z",)))
        assert owner.released == ["a"] * 4
        assert await store.history("a", "r1") == [b"r1/0", b"r1/1", b"r1/2"]
        assert await store.timers(shard_of("a"), 9, 9) == ([("a", 7)], None)
        assert await eventually_up(lambda: unread(store, "a")) == []
        assert (await store.outbox(shard_of("a")))[:2] == sent
        await owner.write(step("a", 3))
        assert await store.history("a", "r1") == [b"r1/0", b"r1/1", b"r1/2", b"r1/3"]
        assert owner.flush.lost == 0

    play(past, scenario)


def test_what_was_removed_is_removed_again(past: Past) -> None:
    async def scenario(store: Store, owner: Owner) -> None:
        await owner.take("a")
        await owner.write(step("a"))
        past.remember()
        await owner.write(closing("a", 1, index=(("x", 1),), expires_ms=5, blobs=(("0:args", b"large"),)))
        await owner.remove("a", "r1")
        past.go_back()
        await owner.write(step("a", run_id="r2"))
        assert owner.again == [shard_of("a")]
        assert await store.history("a", "r1") == []
        assert await store.blobs("a", "r1") == {}
        assert await store.history("a", "r2") == [b"r2/0"]
        assert await store.ids("x") == ([], "")
        assert await store.expired(shard_of("a"), 9, 9) == ([], None)

    play(past, scenario)


def test_a_shard_with_nothing_new_is_asked_after_the_store_was_away(past: Past) -> None:
    async def scenario(store: Store, owner: Owner) -> None:
        await owner.take("a", OTHER)
        past.remember()
        await owner.write(step("a"), step(OTHER))
        past.go_back()
        owner.flush.doubt(owner.shards.values())  # a host says so; over Redis the failed commit would say it, too
        await owner.write(step("a", 1))
        assert await store.history(OTHER, "r1") == [b"r1/0"]
        assert await store.history("a", "r1") == [b"r1/0", b"r1/1"]

    play(past, scenario)


def test_a_failed_commit_alone_makes_the_flush_ask_for_every_shard(namespace: str, tmp_path: Path) -> None:
    server = Server("valkey")
    past = ServerPast(server, namespace, tmp_path / "copy")

    async def scenario(store: Store, owner: Owner) -> None:
        await owner.take("a", OTHER)
        past.remember()
        await owner.write(step(OTHER))
        past.go_back()
        await owner.write(step("a"))
        await owner.flush.once()
        assert await store.history(OTHER, "r1") == [b"r1/0"]

    try:
        play(past, scenario)
    finally:
        server.stop()


def test_back_before_the_claim_the_shard_is_taken_again_and_written_again(past: Past) -> None:
    async def scenario(store: Store, owner: Owner) -> None:
        before = await claimed(store, "a", "before")
        await committed(store, before, 1, step("a"))
        await store.release([before], "before")
        past.remember()
        await owner.take("a")
        await owner.write(step("a", 1, outbox=(b"x",)))
        sent = await store.outbox(shard_of("a"))
        past.go_back()
        await owner.write(step("a", 2))
        assert await store.history("a", "r1") == [b"r1/0", b"r1/1", b"r1/2"]
        assert await store.outbox(shard_of("a")) == sent  # with the origin of before
        claim = owner.shards[shard_of("a")].claim
        assert claim.token.counter == before.token.counter + 2
        assert await store.renew([claim], "a", 1000) == [claim.shard]
        past.go_back()
        await owner.write(step("a", 3))
        assert await store.history("a", "r1") == [b"r1/0", b"r1/1", b"r1/2", b"r1/3"]
        assert (owner.released, owner.flush.lost) == (["a"] * 3, 0)

    play(past, scenario)


def test_an_end_that_was_told_stands_whatever_mail_has_come_since(past: Past) -> None:
    async def scenario(store: Store, owner: Owner) -> None:
        await owner.take("a")
        await owner.write(step("a"))
        past.remember()
        await owner.write(closing("a", 1))
        past.go_back()
        await eventually_up(lambda: store.enqueue(message("a", b"late")))
        owner.flush.doubt(owner.shards.values())
        await owner.flush.once()
        assert await store.history("a", "r1") == [b"r1/0", b"r1/1"]
        assert bodies(await unread(store, "a")) == [b"late"]
        assert owner.redone == []

    play(past, scenario)


def test_an_end_that_is_new_still_waits_for_unread_mail(past: Past) -> None:
    async def scenario(store: Store, owner: Owner) -> None:
        await owner.take("a")
        past.remember()
        await owner.write(step("a"))
        past.go_back()
        await eventually_up(lambda: store.enqueue(start("a")))
        await owner.write(closing("a", 1))
        assert (owner.released, owner.redone) == (["a"], ["a"])
        assert await store.history("a", "r1") == [b"r1/0"]
        await owner.write(step("a", 1))
        assert await store.history("a", "r1") == [b"r1/0", b"r1/1"]

    play(past, scenario)


def test_what_is_not_remembered_any_more_is_named(past: Past, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(store: Store, owner: Owner) -> None:
        owner.flush._tail = Tail(limit_bytes=1000)  # the last batch only
        neighbour = next(f"i{n}" for n in range(2000) if shard_of(f"i{n}") == shard_of("a"))
        await owner.take("a")
        past.remember()
        await owner.write(step("a"))
        await owner.write(step(neighbour))
        past.go_back()
        await owner.write(step("a", 1))
        assert (owner.shards, owner.released, owner.flush.lost) == ({}, ["a", neighbour], 1)
        assert await store.head("a") is None
        assert f"LOST in shard {shard_of('a')}: '{neighbour}'" in caplog.text

    play(past, scenario)


def test_another_owner_came_first(past: Past, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(store: Store, owner: Owner) -> None:
        past.remember()
        await owner.take("a")
        await owner.write(step("a"))
        past.go_back()
        heir = await eventually_up(lambda: claimed(store, "a", "heir"))
        await owner.write(step("a", 1))
        assert (owner.shards, owner.flush.lost) == ({}, 1)
        assert "LOST in shard" in caplog.text
        assert (await committed(store, heir, 1, step("a"))).sequence == 1

    play(past, scenario)


def test_an_owner_of_before_wrote_first(past: Past, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(store: Store, owner: Owner) -> None:
        before = await claimed(store, "a", "before")
        past.remember()
        await store.release([before], "before")
        await owner.take("a")
        await owner.write(step("a"))
        past.go_back()
        await eventually_up(lambda: committed(store, before, 1, step("a", chunk=b"zombie")))
        await owner.write(step("a", 1))
        assert (owner.shards, owner.flush.lost) == ({}, 1)
        assert await store.history("a", "r1") == [b"zombie"]
        assert "LOST in shard" in caplog.text

    play(past, scenario)


def test_handing_over_loses_nothing_and_reports_nothing(past: Past, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(store: Store, owner: Owner) -> None:
        await owner.take("a")
        await owner.write(step("a"))
        shard = owner.shards[shard_of("a")]
        await store.release([shard.claim], "a")
        heir = await claimed(store, "a", "heir")
        await committed(store, heir, 2, step("a", 1))
        await owner.write(step("a", 1))
        assert (owner.shards, owner.released, owner.flush.lost) == ({}, ["a"], 0)
        assert "LOST" not in caplog.text

    play(past, scenario)
