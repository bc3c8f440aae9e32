"""Which shards this host owns: membership, a fair share of leases, their renewal.

Law: a lease is liveness only; what may be written is decided by the fence token in the commit. A host that cannot renew
goes on until a commit tells it that it was fenced.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable
from typing import Protocol

from sagas.errors import StoreUnavailable
from sagas.store.port import SHARDS, Claim, Store

log = logging.getLogger("sagas.engine")


class Holder(Protocol):
    """What the leases tell the host."""

    def claims(self) -> Iterable[Claim]: ...
    def leaving(self) -> bool:
        """Whether it wants no more shards."""
        ...

    async def take(self, claim: Claim) -> None: ...
    async def give_up(self, shards: set[int]) -> list[Claim]:
        """Commit what is open of ``shards`` and drop them; returns their claims for the release."""
        ...

    def not_renewed(self, claim: Claim) -> None:
        """The store does not know this lease (any more)."""
        ...


class Leases:
    """Claims, renews and hands over shards for one owner."""

    def __init__(
        self,
        store: Store,
        holder: Holder,
        owner: str,
        ttl_ms: int,
        stopping: Callable[[], bool],
        *,
        renews: bool = True,
    ) -> None:
        """``renews`` False: a thread of its own does that (``renewal.py``)."""
        self._renews = renews
        self._store = store
        self._holder = holder
        self._owner = owner
        self._ttl_ms = ttl_ms
        self._stopping = stopping
        self._alone = asyncio.Lock()

    async def run(self) -> None:
        """Keep a fair share until stopped."""
        while not self._stopping():
            await asyncio.sleep(self._ttl_ms / 3000)
            try:
                await self.balance()
            except StoreUnavailable as error:
                log.warning("leases could not be renewed: %s", error)

    async def balance(self) -> None:
        """One round: renew what is held, release what is too much, claim what is free."""
        async with self._alone:  # two rounds at once would both claim what is free, and one fence the other
            await self._balance()

    async def _balance(self) -> None:
        members = await self._store.members(self._owner, self._ttl_ms)
        kept = await self._kept()
        if self._holder.leaving():
            return
        share = math.ceil(SHARDS / max(1, len(members)))
        if len(kept) > share:
            too_many = set(sorted(kept)[share:])
            await self._store.release(await self._holder.give_up(too_many), self._owner)
        elif len(kept) < share:
            await self._claim(share - len(kept), members)

    async def _kept(self) -> set[int]:
        held = {claim.shard: claim for claim in self._holder.claims()}
        if not held or not self._renews:
            return set(held)
        kept = set(await self._store.renew(list(held.values()), self._owner, self._ttl_ms))
        for shard in held.keys() - kept:
            self._holder.not_renewed(held[shard])
        return kept

    async def _claim(self, wanted: int, members: list[str]) -> None:
        held = {claim.shard for claim in self._holder.claims()}
        # Each host begins at another place of the ring, so that hosts that start together do not race for one shard.
        place = members.index(self._owner) if self._owner in members else 0
        start = place * SHARDS // max(1, len(members))
        ring = [(start + step) % SHARDS for step in range(SHARDS)]
        for shard in (number for number in ring if number not in held):
            if wanted == 0 or self._stopping():
                return
            claim = await self._store.claim(shard, self._owner, self._ttl_ms)
            if claim is not None:
                wanted -= 1
                await self._holder.take(claim)

    async def leave(self) -> None:
        """Hand everything back: other hosts need not wait for the leases to run out."""
        await self._store.release(list(self._holder.claims()), self._owner)
        await self._store.members(self._owner, 0)
