"""kill -9 for a host and a worker, and what that may cost: which steps were under way, and who went on.

Law: a process is stopped before it is looked at, so that nothing which runs on it when it dies goes uncounted.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from examples.subscription.saga import Subscription
from sagas import Client
from sagas.store.keys import shard_of

if TYPE_CHECKING:
    from actors.cluster import Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """``under_way``: steps of subscriptions that may be asked for again, because nobody knows how far they came."""

    what: str
    pid: int
    at_ms: int
    under_way: int
    shards: frozenset[int] = frozenset()  # that a host owned

    def __str__(self) -> str:
        owned = f", which owned {len(self.shards)} of 64 shards" if self.shards else ""
        return f"kill -9 {self.what} (pid {self.pid}{owned}) with {self.under_way} steps under way"


async def kill_host(client: Client, cluster: Cluster) -> Kill:
    """Kills the host that owns the most, while steps of its sagas are under way."""
    host = max(await asyncio.to_thread(cluster.hosts), key=lambda host: len(host["shards"]))
    shards = frozenset(host["shards"])
    return await _kill(client, f"host-{host['slot']}", host["pid"], shards)


async def kill_worker(client: Client, cluster: Cluster) -> Kill:
    """Kills the first worker, while steps are under way."""
    worker = (await asyncio.to_thread(cluster.workers))[0]
    return await _kill(client, worker["name"], worker["pid"], frozenset())


async def _kill(client: Client, what: str, pid: int, shards: frozenset[int]) -> Kill:
    # In a quiet moment it would prove little.
    while not await _under_way(client, shards):  # noqa: ASYNC110  # the store tells nobody what is under way
        await asyncio.sleep(0.01)
    os.kill(pid, signal.SIGSTOP)
    try:
        under_way = await _under_way(client, shards)
    finally:
        os.kill(pid, signal.SIGKILL)
    return Kill(what=what, pid=pid, at_ms=time.time_ns() // 1_000_000, under_way=under_way, shards=shards)


async def _under_way(client: Client, shards: frozenset[int]) -> int:
    """Subscriptions, of these shards where there are any, that wait for a step; none has two at a time."""
    return sum(
        [
            any(wait.kind == "step" for wait in found.waiting_for)
            async for found in client.list(f"type = '{Subscription.__name__}'")
            if not shards or shard_of(found.id) in shards
        ]
    )


async def taken_over(cluster: Cluster, kill: Kill, look_again: Callable[[], Awaitable[None]]) -> str:
    """Waits until the shards of a killed host have owners again; says who they are."""
    while True:
        owners = {
            f"host-{host['slot']} (pid {host['pid']})": kill.shards & set(host["shards"])
            for host in await asyncio.to_thread(cluster.hosts)
            if host["pid"] not in (None, kill.pid)
        }
        if frozenset().union(*owners.values()) == kill.shards:
            return " and ".join(name for name, owned in owners.items() if owned)
        await look_again()
