"""A memory store that fails as Redis does: before a write, after it, long after it, and by being taken over.

Law: each fault is one that the port's contract allows, so whatever goes wrong behind it is the engine's or the client's
fault. The dice are seeded; ``calm`` ends all faults, so that a simulation can come to its end.
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sagas.errors import StoreUnavailable
from sagas.store.keys import shard_of
from sagas.store.memory import MemoryStore
from sagas.store.memory_shard import MemoryShard
from sagas.store.port import Admission, Admitted, Batch, Claim, Committed, Loaded, Mail

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How often each fault happens, as a share of calls."""

    before_write: float = 0.0  # refused, nothing written
    after_write: float = 0.0  # written, the reply is lost
    delayed: float = 0.0  # the caller gives up waiting, the write arrives later
    theft: float = 0.0  # another owner claims the shard just before the commit, and lets go of it again
    reads: float = 0.0  # a read fails
    rewind: float = 0.0  # a shard goes back before commits it has acknowledged; an owner that dies then loses them


CALM = Faults()
RARELY = 1 / 64
"""For what a host asks of every shard when it takes them: else none would ever come up."""


REMEMBERED_MS = 2500
"""How far a failover may take a shard back: less than what owners keep."""


class FaultyStore(MemoryStore):
    """See the module's law. ``injected`` counts what was done, by fault."""

    def __init__(self, clock: Callable[[], int], seed: int, faults: Faults) -> None:
        super().__init__(clock=clock)
        self._dice = random.Random(seed)
        self._faults = faults
        self._late: set[asyncio.Task[Any]] = set()
        self._pasts: dict[int, list[tuple[int, MemoryShard]]] = {}  # of a shard: when, and how it was
        self._acknowledged: dict[int, int] = {}  # of a shard that went back: its last sequence before
        self.injected: dict[str, int] = {}

    def calm(self) -> None:
        """No more faults from now on (writes that are on their way still arrive)."""
        self._faults = CALM

    async def settle(self) -> None:
        """Wait for the writes that are on their way."""
        while self._late:
            await asyncio.wait(self._late)

    # --- writes

    async def enqueue(self, admission: Admission) -> Admitted:
        shard = shard_of(admission.id)
        # An end that was told stands, also over mail that came before its owner wrote it again; so clients come later.
        if self._shards[shard].sequence < self._acknowledged.get(shard, 0):
            raise StoreUnavailable("injected: the new master is not known yet")
        return await self._write(lambda: self._admit(admission))

    async def _admit(self, admission: Admission) -> Admitted:
        self._pasts.pop(shard_of(admission.id), None)  # nobody sends mail again: a failover would lose it
        return await super().enqueue(admission)

    async def commit(self, batches: Sequence[Batch]) -> list[Committed]:
        for batch in batches:
            if self._happens("theft", self._faults.theft):
                await self.steal(batch.shard)
            if self._faults.rewind:
                self._may_go_back(batch.shard)
        return await self._write(lambda: super(FaultyStore, self).commit(batches))

    async def claim(self, shard: int, owner: str, ttl_ms: int) -> Claim | None:
        self._pasts.pop(shard, None)  # a claimant knows only what it found
        return await self._write(
            lambda: super(FaultyStore, self).claim(shard, owner, ttl_ms), delays=False, rarely=True
        )

    async def renew(self, claims: Sequence[Claim], owner: str, ttl_ms: int) -> list[int]:
        return await self._write(lambda: super(FaultyStore, self).renew(claims, owner, ttl_ms), delays=False)

    async def release(self, claims: Sequence[Claim], owner: str) -> None:
        return await self._write(lambda: super(FaultyStore, self).release(claims, owner), delays=False)

    async def members(self, owner: str, ttl_ms: int) -> list[str]:
        return await self._write(lambda: super(FaultyStore, self).members(owner, ttl_ms), delays=False)

    async def steal(self, shard: int) -> None:
        """Another owner takes the shard over (as after an expired lease) and gives it back at once."""
        self._shards[shard].lease = None
        taken = await super().claim(shard, "thief", 1)
        assert taken is not None, "the lease was just ended"
        self._shards[shard].lease = None

    def _may_go_back(self, shard: int) -> None:
        state, now_ms = self._shards[shard], self._clock()
        pasts = [past for past in self._pasts.get(shard, ()) if past[0] >= now_ms - REMEMBERED_MS]
        if pasts and pasts[0][1].sequence < state.sequence and self._happens("rewind", self._faults.rewind):
            self._acknowledged[shard] = max(state.sequence, self._acknowledged.get(shard, 0))
            kept = state.lease
            for name in MemoryShard.__slots__:
                setattr(state, name, getattr(pasts[0][1], name))
            state.lease, pasts = kept, []
        self._pasts[shard] = [*pasts, (now_ms, copy.deepcopy(state))]

    # --- reads

    async def head(self, id: str) -> bytes | None:
        self._may_fail()
        return await super().head(id)

    async def history(self, id: str, run_id: str, start: int = 0) -> list[bytes]:
        self._may_fail()
        return await super().history(id, run_id, start)

    async def read_mail(self, after: Mapping[int, str], block_ms: int, limit: int = 1000) -> list[Mail]:
        self._may_fail()
        return await super().read_mail(after, block_ms, limit)

    async def load(self, ids: Sequence[str]) -> list[Loaded]:
        self._may_fail()
        return await super().load(ids)

    async def timers(self, shard: int, upto_ms: int, limit: int) -> tuple[list[tuple[str, int]], int | None]:
        self._may_fail()
        return await super().timers(shard, upto_ms, limit)

    async def busy(self, shard: int) -> list[str]:
        self._may_fail(rarely=True)
        return await super().busy(shard)

    # --- the dice

    def _happens(self, name: str, share: float) -> bool:
        if share and self._dice.random() < share:
            self.injected[name] = self.injected.get(name, 0) + 1
            return True
        return False

    def _may_fail(self, *, rarely: bool = False) -> None:
        if self._happens("reads", self._faults.reads * (RARELY if rarely else 1)):
            raise StoreUnavailable("injected: the read failed")

    async def _write(self, write: Callable[[], Awaitable[T]], *, delays: bool = True, rarely: bool = False) -> T:
        scale = RARELY if rarely else 1
        if self._happens("before_write", self._faults.before_write * scale):
            raise StoreUnavailable("injected: refused before the write")
        if delays and self._happens("delayed", self._faults.delayed):
            self._arrive_later(write)
            raise StoreUnavailable("injected: no reply in time, the write is on its way")
        answer = await write()
        if self._happens("after_write", self._faults.after_write * scale):
            raise StoreUnavailable("injected: the reply was lost")
        return answer

    def _arrive_later(self, write: Callable[[], Awaitable[Any]]) -> None:
        async def arrive(after_s: float) -> None:
            await asyncio.sleep(after_s)
            await write()

        late = asyncio.get_running_loop().create_task(arrive(self._dice.choice((0.01, 0.3, 2.0, 8.0))))
        self._late.add(late)
        late.add_done_callback(self._late.discard)
