"""The supervisor as a Ray actor: keeps the wanted number of hosts, workers and dispatchers alive."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util import list_named_actors

from actors.calls import GONE, Background, Peer, original
from actors.dispatcher import DispatcherActor
from actors.host import HostActor
from actors.names import dispatcher_name, host_name, parse, ray_namespace, worker_name
from actors.settings import ClusterSettings
from actors.worker import LAST_REPORTS_S, WorkerActor
from sagas.errors import InvalidArgument, StoreUnavailable
from sagas.kernel.resources import shown

log = logging.getLogger("sagas.actors")

_LOOKED_AFTER = ("host", "worker", "dispatcher")

_PATIENCE_S = 30.0
"""After this an actor that does not end in order (it may be frozen) is killed as it is."""

_PLACED_WITHIN_S = 10.0
"""A worker that asked for resources and is not up by then probably waits for them, and is not waited for."""

_LAST_WORDS_S = LAST_REPORTS_S + 1.0

GRACE_S = 10.0
"""How long a worker that is not needed any more may take to finish what it runs; as long as a host's own grace."""


@dataclass(slots=True)
class _Child:
    """An actor it looks after; ``joined`` is set when a host was first counted, ``ready`` when it first started.

    ``found``: a supervisor before this one began it.
    """

    name: str
    kind: str
    queue: str
    slot: int
    peer: Peer
    found: bool = False
    asks: Mapping[str, Any] = field(default_factory=dict)  # of Ray's resources
    placed: bool = False  # it has answered: it has them
    joined: asyncio.Event = field(default_factory=asyncio.Event)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    keeper: asyncio.Task[None] | None = None
    owner: str = ""  # of a host: the name its present process has in the store
    error: BaseException | None = None

    @property
    def waits(self) -> bool:
        """Whether Ray has not found the resources it asks for, yet."""
        return bool(self.asks) and not self.placed


class SupervisorActor:
    """Creates detached actors, starts them, and starts them again when Ray has restarted their process.

    It may die itself: the next process looks after the actors that it finds.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self._namespace = ray_namespace(settings.namespace)
        self._children: dict[str, _Child] = {}
        self._background = Background()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Ray's, of what Ray itself does in there
            again = ray.get_runtime_context().was_current_actor_reconstructed
        self._found = asyncio.get_running_loop().create_task(self._find_children() if again else asyncio.sleep(0))

    async def _find_children(self) -> None:
        found = await asyncio.to_thread(list_named_actors, all_namespaces=True)
        for name in [actor["name"] for actor in found if actor["namespace"] == self._namespace]:
            if parse(name)[0] in _LOOKED_AFTER:
                self._adopt(name, found=True)

    async def settings(self) -> ClusterSettings:
        """What its hosts and workers are started with, as long as it lives."""
        return self._settings

    async def scale(self, hosts: int | None, workers: Mapping[str, int | None]) -> None:
        """Run this many hosts, and workers of each queue (None: those that are); returns once all of them are up.

        Raises: InvalidArgument for a queue that it has not; what a host or worker raised when it first started (bad
        modules, unsafe Redis).
        """
        await self._found
        queues = self._settings.queues
        if unknown := workers.keys() - queues.keys():
            raise InvalidArgument(f"there is no queue {min(unknown)!r}; up() was given {', '.join(sorted(queues))}")
        wanted = [dispatcher_name(queue) for queue in queues]
        wanted += [name for queue in queues for name in self._workers(queue, workers.get(queue))]
        wanted += [host_name(slot) for slot in self._slots(hosts)]
        for kind in ("host", "worker"):  # a host finishes its steps, so their workers go last
            leaving = [name for name in self._names(kind) if name not in wanted]
            await asyncio.gather(*(self._retire(name, GRACE_S) for name in leaving))
        for name in wanted:
            if name not in self._children or self._children[name].error is not None:
                self._adopt(name)
        await asyncio.gather(*(self._up(child) for child in self._children.values()))
        for queue in queues:
            await self._children[dispatcher_name(queue)].peer.call("workers", self._workers(queue))

    def _slots(self, hosts: int | None = None) -> list[int]:
        """The slots of so many hosts, or of those that are."""
        if hosts is not None:
            return list(range(hosts))
        return [child.slot for child in self._children.values() if child.kind == "host"]

    def _workers(self, queue: str, workers: int | None = None) -> list[str]:
        """The names of so many workers of a queue, or of those that are."""
        if workers is not None:
            return [worker_name(queue, slot) for slot in range(workers)]
        return [child.name for child in self._children.values() if child.kind == "worker" and child.queue == queue]

    def _adopt(self, name: str, *, found: bool = False) -> None:
        """Look after the actor of this name; there is one from now on."""
        kind, queue, slot = parse(name)
        cls, args = self._made_of(name, kind, queue, slot)
        asks = (self._settings.queues[queue].ray or {}) if kind == "worker" else {}
        # No CPU is reserved unless asked for: instances and steps are coroutines, and a small machine must run it all.
        ray.remote(cls).options(
            name=name,
            namespace=self._namespace,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=20_000,
            runtime_env=self._settings.runtime_env,
            **{"num_cpus": 0, **asks},
        ).remote(*args)
        child = self._children[name] = _Child(name, kind, queue, slot, Peer(name, self._namespace), found, asks)
        child.keeper = asyncio.get_running_loop().create_task(self._keep(child))

    def _made_of(self, name: str, kind: str, queue: str, slot: int) -> tuple[type, tuple[Any, ...]]:
        match kind:
            case "host":
                return HostActor, (slot, self._settings)
            case "worker":
                return WorkerActor, (queue, name, self._settings)
            case _:
                return DispatcherActor, (queue, self._settings)

    async def _up(self, child: _Child) -> None:
        try:
            async with asyncio.timeout(_PLACED_WITHIN_S if child.asks else None):
                await child.ready.wait()
        except TimeoutError:
            log.warning("%s waits for Ray resources: %s", child.name, shown(child.asks))
            return
        if child.error is not None:
            raise child.error

    async def _keep(self, child: _Child) -> None:
        """Start it, wait until its process dies, start it again."""
        while child.name in self._children:
            try:
                await self._start(child)
                if child.kind == "dispatcher":
                    await self._remind(child)
                await child.peer.call("live")
            except GONE as error:
                cause = getattr(error, "__cause__", None)
                log.info("%s is away: %s", child.name, cause or type(error).__name__)
                child.placed = False
                if child.owner:
                    self._background.start(self._bequeath(child.owner, child.name))
                await asyncio.sleep(0.1)
            except Exception as error:
                was_up = child.ready.is_set() or (child.found and isinstance(original(error), StoreUnavailable))
                if not was_up:
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
        started = await child.peer.call("start")
        child.owner = started if child.kind == "host" else ""
        child.placed = True
        child.ready.set()

    async def _bequeath(self, owner: str, name: str) -> None:
        """Let the other hosts have a dead one's shards at once: its leases would run out only seconds later.

        Where it is not dead (its node was cut off) its commits are fenced from now on.
        """
        heirs = [child for child in self._children.values() if child.kind == "host" and child.name != name]
        for heir in heirs:
            try:
                await heir.peer.call("bury", owner)
                break
            except Exception as error:
                log.info("%s cannot take over from %s: %s", heir.name, name, original(error))
        await asyncio.gather(*(self._quietly(heir.peer.call("rebalance")) for heir in heirs))

    async def _remind(self, dispatcher: _Child) -> None:
        """A dispatcher that was restarted knows no workers; whether it was, a supervisor that was too cannot know."""
        names = self._workers(dispatcher.queue)
        await dispatcher.peer.insist("workers", names, until=lambda: dispatcher.name not in self._children)

    async def _retire(self, name: str, grace_s: float) -> None:
        child = self._children.pop(name)
        child.joined.set()  # nobody need wait for it any more
        match child.kind:
            case "host":
                await self._quietly(child.peer.call("drain"))
            case "worker":
                dispatcher = self._children[dispatcher_name(child.queue)]
                await self._quietly(dispatcher.peer.call("workers", self._workers(child.queue)))
                if child.found or not child.waits:
                    await self._quietly(child.peer.call("stop", grace_s))
            case _:
                await self._quietly(child.peer.call("stop"))
        if child.keeper is not None:
            child.keeper.cancel()
        await self._kill(name)

    async def _kill(self, name: str) -> None:
        handle = await asyncio.to_thread(_find, name, self._namespace)
        if handle is not None:
            ray.kill(handle, no_restart=True)

    async def _quietly(self, call: Any) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await call
        except Exception as error:
            # It is going to be killed all the same; what it could not finish, its successors do.
            log.warning("an actor could not be retired in order: %s", original(error))

    async def drain(self, name: str) -> None:
        """Let one host commit, hand its shards back, and end. Raises: InvalidArgument when there is none."""
        await self._found
        if name not in self._children:
            raise InvalidArgument(f"there is no {name}; the hosts are {', '.join(self._names('host'))}")
        await self._retire(name, GRACE_S)

    async def down(self) -> None:
        """Hosts first, so that what runs is recorded; then the rest."""
        await self._found
        for kind in _LOOKED_AFTER:
            await asyncio.gather(*(self._retire(name, 0) for name in self._names(kind)))
        await self._end_tasks()

    async def _end_tasks(self) -> None:
        """Attempts with a process of their own: what they have to report goes into the mailbox."""
        found = await asyncio.to_thread(list_named_actors, all_namespaces=True)
        names = [each["name"] for each in found if each["namespace"] == self._namespace]
        await asyncio.gather(*(self._end_task(name) for name in names if parse(name)[0] == "task"))

    async def _end_task(self, name: str) -> None:
        with contextlib.suppress(*GONE, TimeoutError):  # one that waits for its resources has nothing to say
            async with asyncio.timeout(_LAST_WORDS_S):
                await Peer(name, self._namespace).call("stop", 0)
        await self._kill(name)

    async def describe(self, kind: str) -> list[dict[str, Any]]:
        """What each host or worker says of itself; its pid is None while its process is away."""
        await self._found
        children = [child for child in self._children.values() if child.kind == kind]
        return list(await asyncio.gather(*(self._described(child) for child in children)))

    async def _described(self, child: _Child) -> dict[str, Any]:
        described: dict[str, Any] = {"slot": child.slot, "shards": [], "dedicated": {}, "pid": None}
        if child.kind == "worker":
            waits_for = dict(child.asks) if child.waits else None
            described = {
                "name": child.name,
                "queue": child.queue,
                "pid": None,
                "waits_for": waits_for,
                "failing": "",
            }
        if not child.waits:
            with contextlib.suppress(*GONE):
                described |= await child.peer.call("describe")
        return described

    def _names(self, kind: str) -> list[str]:
        return [name for name, child in self._children.items() if child.kind == kind]


def _find(name: str, namespace: str) -> Any:
    try:
        return ray.get_actor(name, namespace=namespace)
    except ValueError:
        return None
