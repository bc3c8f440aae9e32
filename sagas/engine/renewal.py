"""Renewal of leases on a thread of its own, so that a long activation costs no shard.

Law: the thread renews only while the host's loop makes progress. A loop that stands still for ``STUCK_TTLS`` leases is
as good as dead, and its shards go to others; whatever it still commits when it wakes up is fenced.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence

from sagas.errors import SagaError
from sagas.store.port import Claim, Store

log = logging.getLogger("sagas.engine")

STUCK_TTLS = 1.0
"""How many leases' time the loop may stand still before its leases are left to run out."""

_PER_TTL = 3
_BEATS_PER_TTL = 8

OpenStore = Callable[[], Awaitable[Store]]
"""Connects to the host's store once more: a connection belongs to the loop it was made on."""


class RenewalThread:
    """Renews one owner's membership and leases from ``start`` to ``stop``."""

    def __init__(
        self,
        open_store: OpenStore,
        owner: str,
        ttl_ms: int,
        held: Callable[[], Sequence[Claim]],
        lost: Callable[[Claim], None],
    ) -> None:
        """``held`` is called on the thread; ``lost``, on the host's loop, with each lease that was not renewed."""
        self._open_store = open_store
        self._owner = owner
        self._ttl_ms = ttl_ms
        self._held = held
        self._lost = lost
        self._beat_at = time.monotonic()
        self._stuck = False
        self._thread = threading.Thread(target=self._run, name=f"sagas renewal of {owner}", daemon=True)
        self._host_loop: asyncio.AbstractEventLoop | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = threading.Event()
        self._stopped = asyncio.Event()

    def start(self) -> None:
        """Begin; called on the host's loop."""
        self._host_loop = asyncio.get_running_loop()
        self._beat_at = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Renew nothing from now on; returns at once."""
        self._stopping.set()
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the thread has ended by itself
                self._loop.call_soon_threadsafe(self._stopped.set)

    async def ended(self) -> None:
        """Returns when the thread has let go of its connection."""
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    async def beat(self) -> None:
        """Run on the host's loop: says again and again that it makes progress."""
        while not self._stopping.is_set():
            self._beat_at = time.monotonic()
            await asyncio.sleep(self._ttl_ms / 1000 / _BEATS_PER_TTL)

    # --- on the thread

    def _run(self) -> None:
        asyncio.run(self._renew())

    async def _renew(self) -> None:
        self._loop = asyncio.get_running_loop()
        store: Store | None = None
        try:
            while not self._stopping.is_set():
                if self._makes_progress():
                    try:
                        store = store or await self._open_store()
                        await self._round(store)
                    except SagaError as error:
                        log.warning("leases could not be renewed: %s", error)
                    except Exception:
                        log.exception("leases could not be renewed")
                await self._rest()
        finally:
            if store is not None:
                await store.close()

    def _makes_progress(self) -> bool:
        still_s = time.monotonic() - self._beat_at
        stuck = still_s * 1000 > STUCK_TTLS * self._ttl_ms
        if stuck and not self._stuck:
            log.error("host %s has stood still for %.1f s: its leases are left to run out", self._owner, still_s)
        self._stuck = stuck
        return not stuck

    async def _round(self, store: Store) -> None:
        await store.members(self._owner, self._ttl_ms)
        claims = self._held()
        kept = set(await store.renew(claims, self._owner, self._ttl_ms))
        for claim in claims:
            if claim.shard not in kept and self._host_loop is not None:
                with contextlib.suppress(RuntimeError):  # the host's loop has ended
                    self._host_loop.call_soon_threadsafe(self._lost, claim)

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self._ttl_ms / 1000 / _PER_TTL):
                await self._stopped.wait()
        except TimeoutError:
            return
