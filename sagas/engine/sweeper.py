"""The sweeper: looks for instances that nothing will ever wake, all the time, and wakes them.

The invariant it checks: every instance that is not finished has a due timer, or a step in flight, or waits for a
message, or is parked or paused with its reason. The commit keeps it; the sweeper is the backstop, and its count of
violations is 0. Silent stuckness is what users of every such system complain of.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sagas.engine.clock import Clock
from sagas.errors import HistoryError, StoreUnavailable
from sagas.store.head import decode_head
from sagas.store.keys import shard_of
from sagas.store.port import Head, Store

log = logging.getLogger("sagas.engine")

LATE_MS = 60_000
"""A timer this long overdue on a shard with an owner was overlooked."""

_NEEDS_ATTENDANCE = frozenset({"step", "timer", "code"})


def violation(head: Head, timer_ms: int | None, busy: bool, now_ms: int) -> str:
    """Why nothing will wake an instance with this head; "" when something will. Pure."""
    if head.closed_ms or head.parked or head.paused:
        return ""
    if not head.waiting:
        return "it is open and waits for nothing"
    if timer_ms is not None and now_ms - timer_ms > LATE_MS:
        return f"its timer is {(now_ms - timer_ms) // 1000} s overdue"
    kinds = {kind for kind, _, _ in head.waiting}
    if kinds & _NEEDS_ATTENDANCE and timer_ms is None and not busy:
        return f"it waits for {' and '.join(sorted(kinds))}, with no timer set and no step in flight"
    return ""


class Sweeper:
    """Walks the open instances of the shards a host owns, page by page."""

    def __init__(
        self, store: Store, clock: Clock, owns: Callable[[int], bool], wake: Callable[[str], None], every_s: float
    ) -> None:
        self._store = store
        self._clock = clock
        self._owns = owns
        self._wake = wake
        self._every_s = every_s
        self._suspects: dict[str, str] = {}
        self.violations = 0

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.sweep()
            except StoreUnavailable as error:
                log.warning("the sweep was broken off: %s", error)

    async def sweep(self) -> None:
        """One round. Suspect in two rounds running is a violation: in one, a commit may have been on its way."""
        suspects: dict[str, str] = {}
        cursor, more = "", True
        while more:
            ids, cursor = await self._store.ids("status:running", cursor)
            suspects |= await self._judged([id for id in ids if self._owns(shard_of(id))])
            more = bool(cursor)
        for id in suspects.keys() & self._suspects.keys():
            self.violations += 1
            log.error("instance %r would have stood still for ever: %s; it is woken", id, suspects[id])
            self._wake(id)
        self._suspects = suspects

    async def _judged(self, ids: list[str]) -> dict[str, str]:
        heads = await self._store.heads(ids)
        attended = await self._store.attended(ids)
        found: dict[str, str] = {}
        for id, stored, (timer_ms, busy) in zip(ids, heads, attended, strict=True):
            if stored is None:
                continue
            try:
                why = violation(decode_head(stored), timer_ms, busy, self._clock.now_ms())
            except HistoryError as error:
                why = str(error)
            if why:
                found[id] = why
        return found
