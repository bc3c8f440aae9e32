"""The supervisor as a Ray actor: keeps the wanted number of hosts, workers and dispatchers alive."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

import ray

from actors.calls import GONE, Peer, original
from actors.dispatcher import DispatcherActor
from actors.host import HostActor
from actors.names import dispatcher_name, host_name, ray_namespace, worker_name
from actors.settings import ClusterSettings
from actors.worker import WorkerActor
from sagas.errors import InvalidArgument

log = logging.getLogger("sagas.actors")


@dataclass(slots=True)
class _Child:
    """An actor it looks after; ``joined`` is set when a host was first counted, ``ready`` when it first started.

    ``args`` are those of its class: a host's begin with its slot, a worker's with its queue.
    """

    name: str
    kind: str
    args: tuple[Any, ...]
    peer: Peer
    joined: asyncio.Event = field(default_factory=asyncio.Event)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    keeper: asyncio.Task[None] | None = None
    error: BaseException | None = None


class SupervisorActor:
    """Creates detached actors, starts them, and starts them again when Ray has restarted their process."""

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self._namespace = ray_namespace(settings.namespace)
        self._children: dict[str, _Child] = {}

    async def scale(self, hosts: int, workers: int) -> None:
        """Run this many hosts, and workers a queue; returns once all of them are up.

        Raises: what a host or worker raised when it first started (bad modules, unsafe Redis).
        """
        queues = self._settings.queues
        wanted: dict[str, tuple[str, type, tuple[Any, ...]]] = {}
        for queue in queues:
            wanted[dispatcher_name(queue)] = ("dispatcher", DispatcherActor, (self._settings,))
            for slot in range(workers):
                name = worker_name(queue, slot)
                wanted[name] = ("worker", WorkerActor, (queue, name, self._settings))
        for slot in range(hosts):
            wanted[host_name(slot)] = ("host", HostActor, (slot, self._settings))
        for name in [name for name in self._children if name not in wanted]:
            await self._retire(name)
        for name, (kind, cls, args) in wanted.items():
            if name not in self._children or self._children[name].error is not None:
                self._adopt(name, kind, cls, args)
        await asyncio.gather(*(self._up(child) for child in self._children.values()))
        for queue in queues:
            names = [worker_name(queue, slot) for slot in range(workers)]
            await self._children[dispatcher_name(queue)].peer.call("workers", names)

    def _adopt(self, name: str, kind: str, cls: type, args: tuple[Any, ...]) -> None:
        # No CPU is reserved: instances and steps are coroutines, and a small machine must be able to run all of it.
        ray.remote(cls).options(
            name=name,
            namespace=self._namespace,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=20_000,
            num_cpus=0,
        ).remote(*args)
        child = self._children[name] = _Child(name, kind, args, Peer(name, self._namespace))
        child.keeper = asyncio.get_running_loop().create_task(self._keep(child))

    async def _up(self, child: _Child) -> None:
        await child.ready.wait()
        if child.error is not None:
            raise child.error

    async def _keep(self, child: _Child) -> None:
        """Start it, wait until its process dies, start it again."""
        while child.name in self._children:
            try:
                await self._start(child)
                await child.peer.call("live")
            except (*GONE, ValueError) as error:
                cause = getattr(error, "__cause__", None)
                log.info("%s is away: %s", child.name, cause or type(error).__name__)
                await asyncio.sleep(0.1)
                if child.kind == "dispatcher":
                    await self._remind(child)
            except Exception as error:
                if not child.ready.is_set():
                    child.error = original(error)
                    child.joined.set()
                    child.ready.set()
                    return
                # It was up before, so its code is in order: the store is away, perhaps.
                log.warning("%s cannot start, trying again: %s", child.name, original(error))
                await asyncio.sleep(1)

    async def _start(self, child: _Child) -> None:
        if child.kind == "host":
            await child.peer.call("join")
            child.joined.set()
            for other in [each for each in self._children.values() if each.kind == "host"]:
                await other.joined.wait()
        await child.peer.call("start")
        child.ready.set()

    async def _remind(self, dispatcher: _Child) -> None:
        """A restarted dispatcher knows no workers."""
        workers = (child for child in self._children.values() if child.kind == "worker")
        names = [child.name for child in workers if dispatcher_name(child.args[0]) == dispatcher.name]
        await dispatcher.peer.insist("workers", names, until=lambda: dispatcher.name not in self._children)

    async def _retire(self, name: str) -> None:
        child = self._children.pop(name)
        child.joined.set()  # nobody need wait for it any more
        if child.kind == "host":
            await self._quietly(child.peer.call("drain"))
        else:
            await self._quietly(child.peer.call("stop"))
        if child.keeper is not None:
            child.keeper.cancel()
        handle = await asyncio.to_thread(_find, name, self._namespace)
        if handle is not None:
            ray.kill(handle, no_restart=True)

    async def _quietly(self, call: Any) -> None:
        try:
            await call
        except (*GONE, ValueError) as error:
            log.info("an actor was gone before it was retired: %s", error)

    async def drain(self, name: str) -> None:
        """Let one host commit, hand its shards back, and end. Raises: InvalidArgument when there is none."""
        if name not in self._children:
            raise InvalidArgument(f"there is no {name}; the hosts are {self._names('host')}")
        await self._retire(name)

    async def down(self) -> None:
        """Hosts first, so that what runs is recorded; then the rest."""
        for kind in ("host", "worker", "dispatcher"):
            await asyncio.gather(*(self._retire(name) for name in self._names(kind)))

    async def describe(self, kind: str) -> list[dict[str, Any]]:
        """What each host or worker says of itself; its pid is None while its process is away."""
        children = [child for child in self._children.values() if child.kind == kind]
        return list(await asyncio.gather(*(self._described(child) for child in children)))

    async def _described(self, child: _Child) -> dict[str, Any]:
        try:
            described: dict[str, Any] = await child.peer.call("describe")
        except (*GONE, ValueError):
            described = {"slot": child.args[0], "shards": []} if child.kind == "host" else {"name": child.name}
            described["pid"] = None
        return described

    def _names(self, kind: str) -> list[str]:
        return [name for name, child in self._children.items() if child.kind == kind]


def _find(name: str, namespace: str) -> Any:
    try:
        return ray.get_actor(name, namespace=namespace)
    except ValueError:
        return None
