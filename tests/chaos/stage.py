"""What a season is played on: a server, the services, a cluster, and a gate on either side of it.

Law: the client goes past the gates, so that what it sees is what stands. Everything started here ends here.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

import sagas
from actors.cluster import Cluster
from examples.subscription.driver import subscription_id
from examples.subscription.process import ServiceProcess
from sagas import Client
from sagas.engine.steps import decode_attempts
from sagas.kernel.events import Event
from sagas.server.url import unix_path
from sagas.store.keys import Keys, shard_of
from sagas.store.port import SHARDS
from tests.chaos.redis_gate import RedisGate
from tests.chaos.service_gate import ServiceGate
from tests.cluster.running import MODULES
from tests.servers import KINDS, Server, binary_of

HOSTS = 2
WORKERS = 2

_LAST = 4
"""Events of a history that are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    server: Server
    services: ServiceProcess
    redis: RedisGate
    gate: ServiceGate
    cluster: Cluster
    client: Client
    keys: Keys

    async def histories(self, users: Iterable[str]) -> dict[str, list[Event]]:
        """By user, of those who have one."""
        found: dict[str, list[Event]] = {}
        for user in users:
            with contextlib.suppress(sagas.SagaNotFound):
                found[user] = await self.client.get(subscription_id(user)).history()
        return found

    async def told(self, id: str) -> str:
        """Where an instance stands, for whoever wants to know why it stands still."""
        with self.server.client() as redis:
            attempts = decode_attempts(redis.get(self.keys.steps(id)))
            busy = redis.sismember(self.keys.busy(shard_of(id)), id)
        history = await self.client.get(id).history()
        return f"at {history[-_LAST:]}, attempts {attempts}, busy {bool(busy)}, owner {self.owners([shard_of(id)])}"

    def processes(self) -> set[int]:
        """Of the hosts and workers that are up."""
        return {each["pid"] for each in (*self.cluster.hosts(), *self.cluster.workers()) if each["pid"] is not None}

    def whole(self) -> bool:
        """Every process is there, and each shard has one owner, who is one of them."""
        owned = [host["shards"] for host in self.cluster.hosts()]
        fair = len(owned) == HOSTS and all(owned) and sorted(itertools.chain(*owned)) == list(range(SHARDS))
        return fair and len(self.processes()) == HOSTS + WORKERS

    def owners(self, shards: Iterable[int]) -> list[str]:
        """Who holds the leases of these shards, as the server has it."""
        with self.server.client() as redis:
            return [(redis.hget(self.keys.lease(shard), "o") or b"").decode() for shard in shards]

    def owners_now(self) -> dict[str, int]:
        """How many shards each owner has a lease of."""
        return dict(Counter(self.owners(range(SHARDS))))

    def nonces(self, shards: Iterable[int]) -> set[bytes]:
        """The fence tokens of these shards, as the server has them."""
        with self.server.client() as redis:
            return {redis.hget(self.keys.epoch(shard), "n") for shard in shards}


@contextlib.asynccontextmanager
async def standing(seed: int) -> AsyncIterator[Stage]:
    """Odd seeds play on Valkey, where it is installed. Ray is the one that this process is connected to."""
    kind = KINDS[seed % len(KINDS)]
    namespace = f"chaos-{uuid.uuid4().hex[:12]}"
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sagas-chaos-")))
        server = Server(kind if binary_of(kind) else KINDS[0])
        stack.callback(server.stop)
        services = stack.enter_context(ServiceProcess(folder / "ledger.jsonl"))
        socket = unix_path(server.url)
        assert socket is not None, "our servers listen on Unix sockets"
        redis = await stack.enter_async_context(RedisGate(socket, folder))
        gate = await stack.enter_async_context(ServiceGate(services.url))
        # In threads, because the gates live on this loop.
        cluster = await asyncio.to_thread(
            sagas.up, MODULES, redis.url, hosts=HOSTS, workers=WORKERS, namespace=namespace
        )
        stack.push_async_callback(asyncio.to_thread, cluster.down)
        client = await stack.enter_async_context(await sagas.connect(server.url, namespace))
        yield Stage(
            server=server,
            services=services,
            redis=redis,
            gate=gate,
            cluster=cluster,
            client=client,
            keys=Keys(namespace),
        )
