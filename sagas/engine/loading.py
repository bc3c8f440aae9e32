"""From the store into memory: instances that something has come for, in batches, with the attempts that still run.

Law: an attempt in flight is lost only when no worker knows it *and* the mailbox, read after that was asked, holds no
report on it; until that is certain its instance is not loaded, and what arrives for it waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple, Protocol

from sagas.engine.clock import Clock
from sagas.engine.executor import Executor
from sagas.engine.resident import Resident
from sagas.engine.shard import Shard
from sagas.engine.steps import StepKey, StepTask
from sagas.errors import HistoryError, StoreUnavailable
from sagas.store.keys import shard_of
from sagas.store.port import Loaded, Store

log = logging.getLogger("sagas.engine")

DEFECT = "an internal error, see the host's log"
_AT_ONCE = 500
_AGAIN_S = 0.2


class Owner(Protocol):
    """What loading needs of the host."""

    def loaded(self, shard: Shard, resident: Resident, loaded: Loaded) -> None:
        """It is ready to be put into memory."""
        ...

    async def read_mail(self, block_ms: int) -> int: ...


class _Adopting(NamedTuple):
    """An instance that waits to hear which of its attempts still run."""

    shard: Shard
    resident: Resident
    tasks: list[StepTask]
    loaded: Loaded


class Loading:
    """The instances of a host that are wanted and not in memory yet."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        owner: Owner,
        shards: Mapping[int, Shard],
        in_flight: dict[StepKey, int],
        made: Callable[[str], Resident],
    ) -> None:
        """``made`` gives an empty resident of that id."""
        self._store = store
        self._made = made
        self._clock = clock
        self._owner = owner
        self._shards = shards
        self._in_flight = in_flight
        self._wanted: dict[str, None] = {}
        self._awake = asyncio.Event()
        self._at_work = False

    @property
    def busy(self) -> bool:
        """Whether anything is wanted or on its way."""
        return bool(self._wanted) or self._at_work

    def want(self, shard: Shard, id: str) -> None:
        """Load it, unless that is under way."""
        shard.waiting.setdefault(id, [])
        if id not in shard.adopting:
            self._wanted[id] = None
            self._awake.set()

    async def run(
        self, executor: Executor, stopped: Callable[[], bool], errand: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        """Load what is wanted, until stopped; attempts are asked for in errands, so that nobody else waits for them."""
        while not stopped():
            await self._awake.wait()
            self._awake.clear()
            while self._wanted and not stopped():
                ids = list(self._wanted)[:_AT_ONCE]
                self._at_work = True
                try:
                    adopting = await self._load(ids)
                except StoreUnavailable as error:
                    log.warning("%d instances cannot be loaded: %s", len(ids), error)
                    await asyncio.sleep(_AGAIN_S)
                else:
                    if adopting:
                        errand(self._adopt(executor, adopting, stopped))
                finally:
                    self._at_work = False

    async def _load(self, ids: list[str]) -> list[_Adopting]:
        adopting: list[_Adopting] = []
        for id, loaded in await self._fetch(ids):
            self._wanted.pop(id, None)
            shard = self._shards.get(shard_of(id))
            if shard is None or id not in shard.waiting or id in shard.residents or id in shard.adopting:
                continue
            resident = self._resident(id, loaded)
            tasks = [task for task in resident.in_flight() if self._in_flight.get(task.key) != task.attempt]
            if tasks:
                # A report may come in at any time from now on, and it is no stray one.
                self._in_flight.update((task.key, task.attempt) for task in tasks)
                shard.adopting.add(id)
                adopting.append(_Adopting(shard, resident, tasks, loaded))
            else:
                self._owner.loaded(shard, resident, loaded)
        return adopting

    def _resident(self, id: str, loaded: Loaded) -> Resident:
        resident = self._made(id)
        try:
            resident.load(loaded)
        except Exception as error:
            log.exception("instance %r cannot be loaded on this host", id)
            resident.unreadable = str(error) if isinstance(error, HistoryError) else DEFECT
        return resident

    async def _adopt(self, executor: Executor, adopting: list[_Adopting], stopped: Callable[[], bool]) -> None:
        try:
            known = await executor.adopt([task for each in adopting for task in each.tasks])
        except Exception:
            log.exception("%d instances could not ask for their attempts; they are made again", len(adopting))
            known = set()
        await self.read_all_mail(stopped)
        for shard, resident, tasks, loaded in adopting:
            if self._shards.get(shard.number) is not shard:
                continue
            shard.adopting.discard(resident.id)
            for task in tasks:
                # A report that is waiting has settled it already: its attempt is not in flight any more.
                if task.key not in known and self._in_flight.get(task.key) == task.attempt:
                    del self._in_flight[task.key]
                    resident.lose(task.step, self._clock.now_ms())
            executor.cancel([t.key for t in tasks if t.key in known and resident.gave_up(t.step)])
            self._owner.loaded(shard, resident, loaded)

    async def read_all_mail(self, stopped: Callable[[], bool]) -> None:
        """Returns when everything that was in the mailboxes at the call has been read."""
        while not stopped():
            try:
                while await self._owner.read_mail(0):
                    pass
                return
            except StoreUnavailable as error:
                log.warning("the mailbox cannot be read: %s", error)
                await asyncio.sleep(_AGAIN_S)

    async def _fetch(self, ids: list[str]) -> list[tuple[str, Loaded]]:
        try:
            return list(zip(ids, await self._store.load(ids), strict=True))
        except HistoryError:
            if len(ids) == 1:  # its head cannot be read; whoever decodes this one says so
                return [(ids[0], Loaded(head=b""))]
            return [found for id in ids for found in await self._fetch([id])]
