"""Group commit: while one call to the store is in flight, the next batch collects. Nothing is released before the ack.

Law: one flush carries every shard that has something to write; a lost connection means sending the same
(token, sequence) again, because nobody knows whether the first one arrived.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from sagas.engine.resident import Resident, Turn
from sagas.engine.shard import Shard
from sagas.errors import StoreUnavailable
from sagas.store.port import Batch, Committed, CommitVerdict, Store

log = logging.getLogger("sagas.engine")
MAX_TRANSITIONS = 1000
_BACK_OFF_S = (0.05, 0.1, 0.2, 0.5, 1.0)

Written = list[tuple[Resident, Turn]]


class Owner(Protocol):
    """What a flush tells the host."""

    def shards_to_flush(self) -> Iterable[Shard]: ...
    def release(self, shard: Shard, written: Written) -> None:
        """The turns are durable: their effects may happen."""
        ...

    async def redo(self, shard: Shard, written: Written, ids: frozenset[str]) -> None:
        """Nothing was written; the runs of ``ids`` must be loaded again with their inputs, the others sent again."""
        ...

    def lose(self, shard: Shard, why: str) -> None:
        """The shard is not this host's any more: drop all of it, release nothing."""
        ...


class Flush:
    """The flush loop of a host."""

    def __init__(self, store: Store, owner: Owner, stopping: Callable[[], bool]) -> None:
        self._store = store
        self._owner = owner
        self._stopping = stopping
        self._wanted = asyncio.Event()
        self._alone = asyncio.Lock()
        self.in_flight = False
        self.on_rest: Callable[[], None] = lambda: None

    def want(self) -> None:
        """There is something to write."""
        self._wanted.set()

    async def run(self) -> None:
        """Flush until stopped."""
        while not self._stopping():
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self.once()
            except StoreUnavailable:
                return  # the host stops; it is only raised then

    async def once(self) -> None:
        """Write what has collected, all shards in one call; one call at a time, or two would carry one sequence."""
        async with self._alone:
            await self._write()

    async def _write(self) -> None:
        taken = [(shard, self._cut(shard)) for shard in self._owner.shards_to_flush()]
        batches = [shard.batch(turns) for shard, turns in taken]
        if not batches:
            return
        self.in_flight = True
        try:
            verdicts = await self._commit(batches)
            for (shard, turns), verdict in zip(taken, verdicts, strict=True):
                await self._settle(shard, turns, verdict)
        finally:
            self.in_flight = False
            self.on_rest()

    def _cut(self, shard: Shard) -> Written:
        turns, shard.turns = shard.turns[:MAX_TRANSITIONS], shard.turns[MAX_TRANSITIONS:]
        if shard.turns:
            self._wanted.set()
        return turns

    async def _commit(self, batches: list[Batch]) -> list[Committed]:
        """Send until the store has said what became of it. A lease that runs out meanwhile ends in FENCED.

        Raises: StoreUnavailable when the host stops.
        """
        tries = 0
        while True:
            try:
                return await self._store.commit(batches)
            except StoreUnavailable as error:
                if self._stopping():
                    raise
                delay = _BACK_OFF_S[min(tries, len(_BACK_OFF_S) - 1)]
                if tries % 10 == 0:
                    log.warning("a commit waits for the store (%s); the same batch is sent again", error)
                tries += 1
                await asyncio.sleep(delay)

    async def _settle(self, shard: Shard, turns: Written, verdict: Committed) -> None:
        match verdict.verdict:
            case CommitVerdict.OK | CommitVerdict.DUP:
                shard.sequence += 1
                self._owner.release(shard, turns)
            case CommitVerdict.UNREAD:
                await self._owner.redo(shard, turns, frozenset(verdict.ids))
            case CommitVerdict.FENCED:
                self._owner.lose(shard, "another host owns it now")
            case CommitVerdict.GAP | CommitVerdict.CONFLICT:
                self._owner.lose(shard, f"the store does not stand where it was left ({verdict.verdict.value})")
