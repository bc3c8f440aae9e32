"""Group commit: while one call to the store is in flight, the next batch collects. Nothing is released before the ack.

Law: one flush carries every shard that has something to write; a lost connection means sending the same
(token, sequence) again, because nobody knows whether the first one arrived. A store that lost what it had
acknowledged (a failover) is given it again from the tail, before anything new; what cannot be given is reported lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, TypeVar

from sagas.engine.placement import Held
from sagas.engine.resident import Turn
from sagas.engine.shard import Shard
from sagas.engine.tail import Tail, under, written_again
from sagas.errors import StoreUnavailable
from sagas.store.port import Batch, Committed, CommitVerdict, Store

log = logging.getLogger("sagas.engine")
MAX_TRANSITIONS = 1000
MAX_BYTES = 32 * 2**20
"""Of the histories' chunks and large payloads of one shard in one call, as far as one turn alone does not exceed it."""

_WRITTEN = (CommitVerdict.OK, CommitVerdict.DUP)
_NAMED = 200  # ids in one line of the log
_BACK_OFF_S = (0.05, 0.1, 0.2, 0.5, 1.0)

T = TypeVar("T")
Written = list[tuple[Held, Turn]]


class Owner(Protocol):
    """What a flush tells the host."""

    def shards_to_flush(self) -> Iterable[Shard]: ...
    def release(self, shard: Shard, written: Written) -> None:
        """The turns are durable: their effects may happen."""
        ...

    async def redo(self, shard: Shard, written: Written, ids: frozenset[str]) -> None:
        """Nothing was written; the runs of ``ids`` must be loaded again with their inputs, the others sent again."""
        ...

    def written_again(self, shard: Shard) -> None:
        """What the store had lost of it is there again: messages and timers that nobody may have seen meanwhile."""
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
        self._tail = Tail()
        self._doubted: list[Shard] = []
        self.in_flight = False
        self.lost = 0
        """Transitions that the store had acknowledged, then lost, and that could not be written again."""
        self.on_rest: Callable[[], None] = lambda: None

    def want(self) -> None:
        """There is something to write."""
        self._wanted.set()

    def doubt(self, shards: Iterable[Shard]) -> None:
        """The store was away, or does not know our lease: ask for these with the next flush, if only by an empty batch.

        It tells whether the shard is still ours and the store stands where it was left.
        """
        for shard in shards:
            if not _among(shard, self._doubted):
                self._doubted.append(shard)
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
        doubted, self._doubted = self._doubted, []
        full = list(self._owner.shards_to_flush())
        shards = [*full, *(shard for shard in doubted if not _among(shard, full))]
        taken = [(shard, self._cut(shard)) for shard in shards]
        batches = [shard.batch(turns) for shard, turns in taken]
        if not batches:
            return
        self.in_flight = True
        try:
            verdicts = await self._commit(batches)
            for (shard, turns), batch, verdict in zip(taken, batches, verdicts, strict=True):
                await self._settle(shard, turns, batch, verdict)
            if not self._doubted:
                self._tail.trim(self._now_s())
        finally:
            self.in_flight = False
            self.on_rest()

    def _cut(self, shard: Shard) -> Written:
        end = _fitting(shard.turns)
        turns, shard.turns = shard.turns[:end], shard.turns[end:]
        if shard.turns:
            self._wanted.set()
        shard.sending = turns
        return turns

    async def _commit(self, batches: list[Batch]) -> list[Committed]:
        """Send until the store has said what became of it. A lease that runs out meanwhile ends in FENCED.

        Raises: StoreUnavailable when the host stops.
        """
        tried, verdicts = await self._insist(lambda: self._store.commit(batches))
        if tried > 1:  # it was away, and is perhaps not the same any more
            asked = {batch.shard for batch in batches}
            self.doubt(shard for shard in self._tail.shards() if shard.number not in asked)
        return verdicts

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> tuple[int, T]:
        """How often it was asked, and the answer."""
        tries = 0
        while True:
            try:
                return tries + 1, await call()
            except StoreUnavailable as error:
                if self._stopping():
                    raise
                delay = _BACK_OFF_S[min(tries, len(_BACK_OFF_S) - 1)]
                if tries % 10 == 0:
                    log.warning("a commit waits for the store (%s); the same batch is sent again", error)
                tries += 1
                await asyncio.sleep(delay)

    async def _settle(self, shard: Shard, turns: Written, batch: Batch, verdict: Committed) -> None:
        match verdict.verdict:
            case CommitVerdict.OK | CommitVerdict.DUP:
                shard.sequence += 1
                self._tail.keep(shard, batch, self._now_s())
                self._owner.release(shard, turns)
            case CommitVerdict.UNREAD:
                await self._owner.redo(shard, turns, frozenset(verdict.ids))
            case CommitVerdict.GAP:
                await self._write_again(shard, turns, batch, verdict.sequence)
            case CommitVerdict.FENCED:
                if await self._take_back(shard, verdict):
                    await self._write_again(shard, turns, batch, shard.claim.sequence)
                else:
                    self._lose(shard, "another host owns it now", verdict.sequence)
            case CommitVerdict.CONFLICT:
                self._lose(shard, "the store does not stand where it was left (conflict)", verdict.sequence)

    # --- a store that went back

    async def _take_back(self, shard: Shard, verdict: Committed) -> bool:
        """Whether the store, gone back to before our claim, gave us the shard again; the claim is the new one then."""
        went_back = verdict.counter < shard.claim.token.counter
        if not went_back or not self._tail.since(shard, verdict.sequence):
            return False
        _, claim = await self._insist(lambda: self._store.reclaim(shard.claim, verdict.counter))
        if claim is not None:
            shard.claim = claim
        return claim is not None

    async def _write_again(self, shard: Shard, turns: Written, batch: Batch, stands: int) -> None:
        """Give the store what it has lost of a shard, then the batch at hand, all in one call.

        ``stands``: the last sequence the store still has.
        """
        missing, token = self._tail.since(shard, stands), shard.claim.token
        if [each.sequence for each in missing] != list(range(stands + 1, batch.sequence)):
            self._lose(shard, "the store went back further than this host remembers", stands)
            return
        log.warning(
            "shard %d: the store went back to batch %d; %d are written again", shard.number, stands, len(missing)
        )
        at_hand = under(batch, token)
        verdicts = await self._commit([*(written_again(each, token) for each in missing), at_hand])
        self._tail.renew(shard, self._now_s())
        self._owner.written_again(shard)
        decisive = next((each for each in verdicts if each.verdict not in _WRITTEN), verdicts[-1])
        await self._settle(shard, turns, at_hand, decisive)

    def _lose(self, shard: Shard, why: str, stands: int) -> None:
        if stands < shard.sequence:
            self._report_lost(shard, stands)
        self._tail.forget(shard)
        self._owner.lose(shard, why)

    def _report_lost(self, shard: Shard, stands: int) -> None:
        gone = self._tail.since(shard, stands)
        ids = sorted({step.id for batch in gone for step in batch.transitions})
        self.lost += sum(len(batch.transitions) for batch in gone)
        log.error(
            "LOST: the store went back and keeps batch %d of shard %d as its last, though it had acknowledged %d; "
            "the rest cannot be written again. Instances known to have gone back: %d",
            stands,
            shard.number,
            shard.sequence,
            len(ids),
        )
        for first in range(0, len(ids), _NAMED):
            log.error("LOST in shard %d: %s", shard.number, ", ".join(map(repr, ids[first : first + _NAMED])))

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()


def _fitting(turns: Written) -> int:
    """How many of these go into one batch: the end of a run goes with the beginning of the one that follows."""
    left = MAX_BYTES
    for count, (_, turn) in enumerate(turns):
        if (step := turn.transition) is not None:
            left -= len(step.chunk or b"") + sum(len(data) for _, data in step.blobs)
        full = left < 0 or count >= MAX_TRANSITIONS
        if full and count and not turn.begins:
            return count
    return len(turns)


def _among(shard: Shard, shards: Iterable[Shard]) -> bool:
    """As itself: a shard that was lost and taken again is another one."""
    return any(shard is each for each in shards)
