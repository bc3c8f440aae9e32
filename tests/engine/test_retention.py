"""Removals take their turn: what comes for an instance while it is being removed finds it gone, and is not lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from sagas import SagaNotFound, saga
from sagas.engine import retention
from sagas.store.memory import MemoryStore
from sagas.store.port import Batch, Committed, Status
from tests.engine.rig import Rig, play, until
from tests.simulation.time_skipping import LoopClock

KEPT_S = 60


@saga(retention=timedelta(seconds=KEPT_S))
async def brief(word: str) -> str:
    return word


class Meddling(MemoryStore):
    """Does something just before the first batch with a removal is committed."""

    def __init__(self) -> None:
        super().__init__(clock=LoopClock().now_ms)
        self.meddle = self.nothing
        self.removed = 0

    async def nothing(self) -> None: ...

    async def commit(self, batches: Sequence[Batch]) -> list[Committed]:
        removals = sum(len(batch.removals) for batch in batches)
        if removals:
            self.removed += removals
            meddle, self.meddle = self.meddle, self.nothing
            await meddle()
        return await super().commit(batches)


async def ended(rig: Rig, *ids: str) -> None:
    for id in ids:
        handle = await rig.client.start(brief, "old", id=id)
        assert await handle.result() == "old"


def test_a_start_while_a_run_is_removed_begins_a_run_that_lists_and_stays() -> None:
    store = Meddling()

    async def scenario(rig: Rig) -> None:
        await rig.host()
        await ended(rig, "a")

        async def start() -> None:
            await rig.client.start(brief, "new", id="a")
            await asyncio.sleep(1)  # the mail is read, and waits for the instance

        store.meddle = start
        await asyncio.sleep(1.5 * KEPT_S)
        await until(lambda: "a" in rig.shard("a").heads and rig.head("a").status is Status.COMPLETED)
        assert [each.id async for each in rig.client.list("type = 'brief'")] == ["a"]
        assert [each.id async for each in rig.client.list("status = 'completed'")] == ["a"]
        assert len(rig.shard("a").histories) == 1
        assert await rig.client.get("a").result() == "new"
        await asyncio.sleep(2 * KEPT_S)
        with pytest.raises(SagaNotFound):
            await rig.client.get("a").describe()

    play(scenario, brief, store=store)


def test_many_that_expire_at_once_go_in_a_ramp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "RUNS_AT_ONCE", 3)
    monkeypatch.setattr(retention, "SHARDS_AT_ONCE", 1)
    store = Meddling()

    async def scenario(rig: Rig) -> None:
        await rig.host()
        await ended(rig, *(f"a{n}" for n in range(40)))
        await asyncio.sleep(5 * KEPT_S)
        assert [each async for each in rig.client.list()] == []
        assert store.removed == 40
        assert not any(shard.histories or shard.earlier or len(shard.expiries) for shard in store._shards)

    play(scenario, brief, store=store)


def test_the_next_owner_removes_what_expired_while_nobody_was_there() -> None:
    async def scenario(rig: Rig) -> None:
        host = await rig.host()
        await ended(rig, "a")
        await rig.kill(host)
        await asyncio.sleep(3 * KEPT_S)
        assert "a" in rig.shard("a").heads
        await rig.host()
        await until(lambda: "a" not in rig.shard("a").heads)

    play(scenario, brief)


def test_a_removal_is_refused_to_an_owner_that_was_fenced() -> None:
    store = Meddling()

    async def scenario(rig: Rig) -> None:
        await rig.host()
        await ended(rig, "a")

        async def steal() -> None:
            shard = rig.shard("a")
            shard.lease = None
            assert await store.claim(shard.mailbox._shard, "thief", 10**12) is not None

        store.meddle = steal
        await asyncio.sleep(2 * KEPT_S)
        assert store.removed >= 1
        assert rig.head("a").status is Status.COMPLETED, "the thief owns it, and does nothing"
        assert await rig.client.get("a").result() == "old"

    play(scenario, brief, store=store)
