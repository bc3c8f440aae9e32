"""Retention: ended runs are taken out when their time has come, and instances when somebody asks for it.

Law: nothing of an instance ends by a time to live. Its owner removes it, by a commit: so a removal takes its turn among
all that happens to the instance, and whoever owns the shard knows what is there. What has expired is looked for in a
ramp (few shards at a time, few runs of each), since a million runs that ended in one night expire in one night.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from sagas.engine.clock import Clock
from sagas.engine.heads import removal_of
from sagas.engine.resident import Effects, Resident, Turn
from sagas.engine.shard import Shard
from sagas.errors import HistoryError, StoreUnavailable
from sagas.store.head import decode_head
from sagas.store.port import Store

log = logging.getLogger("sagas.engine")

SHARDS_AT_ONCE = 4
RUNS_AT_ONCE = 200
LOOK_S = 1.0
_AGAIN_MS = 1000


class Retention:
    """The expired runs of the shards a host owns."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        shards: Mapping[int, Shard],
        made: Callable[[str], Resident],
        flush: Callable[[], None],
    ) -> None:
        """``made`` gives an empty resident of that id; ``flush``: there is something to write."""
        self._store = store
        self._clock = clock
        self._shards = shards
        self._made = made
        self._flush = flush

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Look again and again, a few shards at a time."""
        while not stopped():
            try:
                await self.look(SHARDS_AT_ONCE)
            except StoreUnavailable as error:
                log.warning("expired runs cannot be looked for: %s", error)
            await asyncio.sleep(LOOK_S)

    async def look(self, most: int) -> None:
        """Take out what has expired in up to ``most`` shards where something has. Raises: StoreUnavailable."""
        now_ms = self._clock.now_ms()
        due = [(each.expires_ms, each.number) for each in self._shards.values() if each.expires_ms is not None]
        longest_due = sorted(when for when in due if when[0] <= now_ms)
        for shard in [self._shards[number] for _, number in longest_due[:most]]:
            expired, following = await self._store.expired(shard.number, now_ms, RUNS_AT_ONCE)
            heads = await self._store.heads([id for id, _ in expired])
            if self._shards.get(shard.number) is not shard:
                continue
            for (id, run_id), head in zip(expired, heads, strict=True):
                self._expire(shard, id, run_id, head)
            # Those taken out stand in the set until the commit, and those in use stay: look again.
            shard.expires_ms = now_ms + _AGAIN_MS if expired else following
            if expired:
                self._flush()

    def _expire(self, shard: Shard, id: str, run_id: str, stored: bytes | None) -> None:
        try:
            head = None if stored is None else decode_head(stored)
        except HistoryError as error:
            log.warning("run %s of %r has expired and stays: %s", run_id, id, error)
            return
        turn = Turn(None, Effects(), (), removal=removal_of(id, run_id, head))
        if head is not None and head.run_id == run_id:
            if not _at_rest(shard, id):
                return
            if (resident := shard.residents.pop(id, None)) is not None:
                resident.evict()
            turn = replace(turn, drop=True)
        shard.turns.append((self._stand_in(shard, id, turn), turn))

    def _stand_in(self, shard: Shard, id: str, turn: Turn) -> Resident:
        """Whose turn it is. It is there instead of the instance, which what comes meanwhile waits for."""
        stand_in = self._made(id)
        stand_in.in_commit = 1
        if turn.drop:
            stand_in.dropped = True
            shard.residents[id] = stand_in
        return stand_in


def _at_rest(shard: Shard, id: str) -> bool:
    """Whether nothing has come for the instance, and nothing of it is under way."""
    resident = shard.residents.get(id)
    if id in shard.waiting or id in shard.adopting or id in shard.dirty:
        return False
    return resident is None or (resident.idle and not resident.dropped)
