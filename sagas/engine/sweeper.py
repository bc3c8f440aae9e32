"""The sweeper: looks for instances that nothing will ever wake, all the time, and wakes them.

The invariant it checks: every instance that is not finished has a due timer, or a step in flight, or waits for a
message, or is parked or paused with its reason; and a child that it waits for goes on. The commit keeps it; the sweeper
is the backstop, and its count of violations is 0. Silent stuckness is what users of every such system complain of.
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


def bereft(child: str, since_ms: int, standing: Head | None, now_ms: int) -> str:
    """Why a wait for this child, whose head is ``standing``, will never end; "" when it may. Pure."""
    if now_ms - since_ms <= LATE_MS:  # its start may be on its way
        return ""
    if standing is None:
        return f"it waits for child {child!r}, which there is not"
    if standing.closed_ms and now_ms - standing.closed_ms > LATE_MS:
        return f"its child {child!r} ended {(now_ms - standing.closed_ms) // 1000} s ago, and it was not told"
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
        waits: list[tuple[str, str, int]] = []  # (id, child, since)
        for id, stored, (timer_ms, busy) in zip(ids, heads, attended, strict=True):
            if stored is None:
                continue
            try:
                head = decode_head(stored)
                why = violation(head, timer_ms, busy, self._clock.now_ms())
                waits += [(id, child, since) for kind, child, since in head.waiting if kind == "child"]
            except HistoryError as error:
                why = str(error)
            if why:
                found[id] = why
        return await self._bereaved(waits) | found

    async def _bereaved(self, waits: list[tuple[str, str, int]]) -> dict[str, str]:
        """The other side of each wait for a child: whoever owns that, it must go on, or have been told of just now."""
        found: dict[str, str] = {}
        heads = await self._store.heads([child for _, child, _ in waits]) if waits else []
        for (id, child, since_ms), stored in zip(waits, heads, strict=True):
            if stored is None and await self._store.admitted(child) is not None:
                continue  # no host has taken it yet
            try:
                standing = None if stored is None else decode_head(stored)
            except HistoryError:
                continue  # who owns it says so
            if why := bereft(child, since_ms, standing, self._clock.now_ms()):
                found[id] = why
        return found
