"""A host as a Ray actor: owns shards, runs saga code, never the activities of users."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import uuid
from typing import Any

import ray

from actors.acks import Acks
from actors.executor import PoolExecutor
from actors.garbage import collect_less_often
from actors.names import host_name, ray_namespace
from actors.seats import RayPlacement
from actors.settings import ClusterSettings
from actors.tasks import TaskExecutor
from sagas.connection import open_store
from sagas.engine.attempt import AttemptRunner
from sagas.engine.clock import SystemClock
from sagas.engine.executor import InProcessExecutor
from sagas.engine.host import Host, HostSettings
from sagas.engine.routing import RoutingExecutor
from sagas.engine.slots import default_folder
from sagas.engine.steps import decode_heartbeats, decode_reports
from sagas.kernel.registry import Registry
from sagas.modules import load_modules
from sagas.store.port import SHARDS, Store
from sagas.telemetry.environment import exporter_from_environment

_LOOK_EVERY_S = 1.0


class HostActor:
    """``start`` may be called again and again: the next call starts what a dead process, or a defect, has ended."""

    def __init__(self, slot: int, settings: ClusterSettings) -> None:
        self._slot = slot
        self._settings = settings
        self._process = uuid.uuid4().hex
        self._acks: dict[str, Acks] = {}
        self._owner = ""
        self._placement = RayPlacement(settings)
        self._store: Store | None = None
        self._host: Host | None = None
        self._executor: RoutingExecutor | None = None
        self._started = False
        self._starting = asyncio.Lock()
        self._ended = asyncio.Event()

    def __repr__(self) -> str:  # what stands before the lines that it logs
        return host_name(self._slot)

    async def join(self) -> None:
        """Be counted among the hosts, and own nothing yet.

        Hosts that start together all do this before the first of them claims shards, so that each takes its fair share
        at once, and none has to hand over what it is working on.
        """
        async with self._starting:
            if self._host is None or self._host.stopped:
                await self._join()

    async def start(self) -> str:
        """Claim shards and go to work, unless that is done. Returns the owner it is in the store."""
        await self.join()
        async with self._starting:
            if not self._started:
                assert self._host is not None, "it has joined"
                assert self._executor is not None, "made together with the host"
                await self._host.start(self._executor)
                self._started = True
        return self._owner

    async def bury(self, owner: str) -> None:
        """The process that was ``owner`` is dead: free what it holds, and take our share of it at once."""
        if self._store is not None and owner != self._owner:
            await _bury(self._store, owner)
            await self.rebalance()

    async def rebalance(self) -> None:
        """Look now whether shards are free."""
        if self._host is not None and self._started:
            await self._host.rebalance()

    async def _join(self) -> None:
        settings, clock = self._settings, SystemClock()
        registry = Registry(load_modules(settings.modules))
        collect_less_often()
        store = await open_store(settings.url, settings.namespace)
        if self._executor is not None:
            await self._executor.close()
        # A fresh owner a process: a lease of the dead one is never mistaken for ours.
        lineage = f"{host_name(self._slot)}-{ray.get_runtime_context().get_actor_id()}-"
        owner = lineage + uuid.uuid4().hex[:8]
        again = functools.partial(open_store, settings.url, settings.namespace)
        host = Host(
            store,
            registry,
            clock,
            HostSettings(
                owner=owner, lease_ms=settings.lease_ms, slots=default_folder(settings.url, settings.namespace)
            ),
            open_store=again,
            exporter=exporter_from_environment(),
            placement=self._placement,
        )
        local = InProcessExecutor(AttemptRunner(registry, clock), host.deliver, host.heard)
        pool = PoolExecutor(host_name(self._slot), ray_namespace(settings.namespace), host)
        alone = TaskExecutor(host_name(self._slot), settings, host, self._task_ended)
        for member in await store.members(owner, settings.lease_ms):
            if member.startswith(lineage) and member != owner:
                await _bury(store, member)
        self._owner, self._store = owner, store
        self._host, self._executor, self._started = host, RoutingExecutor(local, pool, alone), False

    async def live(self) -> None:
        """Returns when this host has ended: drained, or by itself after a defect, and then ``start`` starts another.

        A call that fails tells its caller at once that the process died.
        """
        while not self._ended.is_set() and self._host is not None and not self._host.stopped:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._ended.wait()

    async def deliver(self, worker: str, numbers: list[int], blob: bytes) -> tuple[str, list[int], list[int]]:
        """A batch of numbered reports from a worker; repeats and late ones are dropped by the instance they are for.

        Returns what has become of this worker's reports since it was asked last: (this process, the numbers whose
        outcome is durable, those that this host cannot take).
        """
        acks = self._acks.setdefault(worker, Acks())
        if self._host is None or self._host.stopped or not self._started:
            return self._process, acks.settled(), [*acks.refused(), *numbers]
        reports = decode_reports(blob, map(acks.receipt, numbers))
        assert self._executor is not None, "made together with the host"
        self._executor.settled(reports)
        self._host.deliver(reports)
        return self._process, acks.settled(), acks.refused()

    def _task_ended(self, name: str) -> None:
        self._acks.pop(name, None)

    async def heard(self, blob: bytes) -> None:
        """How far attempts have come, from a worker; the owner of an instance that is not ours is told by itself."""
        if self._host is not None and not self._host.stopped:
            for heartbeat in decode_heartbeats(blob):
                self._host.heard(heartbeat)

    async def lost(self, blob: bytes) -> None:
        """Attempts that died with their worker, from the dispatcher."""
        if self._host is not None and not self._host.stopped:
            assert self._executor is not None, "made together with the host"
            reports = decode_reports(blob)
            self._executor.settled(reports)
            await self._host.lost(reports)

    async def drain(self) -> None:
        """Record what still runs, commit, hand the shards back."""
        if self._host is not None:
            await self._host.stop()
        if self._executor is not None:
            await self._executor.close()
        self._ended.set()

    async def describe(self) -> dict[str, Any]:
        """Slot, process id, the shards it owns now, and the processes of its dedicated instances."""
        shards = [] if self._host is None else self._host.shards
        return {"slot": self._slot, "pid": os.getpid(), "shards": shards, "dedicated": self._placement.described()}


async def _bury(store: Store, owner: str) -> None:
    """Free what a process of this actor that has died still holds, so that nobody waits for its leases to run out.

    Ray restarts an actor when its process is gone. One that is not (its node was frozen) finds itself fenced by the
    tokens drawn here.
    """
    claims = await asyncio.gather(*(store.claim(shard, owner, 1) for shard in range(SHARDS)))
    await store.release([claim for claim in claims if claim is not None], owner)
    await store.members(owner, 0)
