"""kill -9 in the middle of subscriptions: every saga ends as it must, and no month is charged twice."""

from __future__ import annotations

import asyncio
from typing import Any

import sagas
from actors.cluster import Cluster
from examples.demo.kills import Kill, kill_host, kill_worker
from examples.subscription.driver import verify
from examples.subscription.ledger import Ledger
from examples.subscription.process import ServiceProcess
from examples.subscription.script import Fate, scripts
from sagas import Client
from tests.cluster.conftest import StartCluster
from tests.cluster.running import MONTHS, PATIENCE_S, descendants, drive_quickly, plan_of, until


def test_a_host_and_then_a_worker(
    start_cluster: StartCluster, debian_redis_url: str, namespace: str, services: ServiceProcess
) -> None:
    cast, plan = scripts(3 * len(Fate), seed=5, months=MONTHS), plan_of(services, month_s=0.8)

    async def kills(client: Client, cluster: Cluster) -> list[Kill]:
        await until(lambda: Ledger.read(services.ledger).charges().total() >= 10)
        host = await kill_host(client, cluster)
        await until(lambda: host.shards <= {shard for each in cluster.hosts() for shard in each["shards"]})
        worker = await kill_worker(client, cluster)
        return [host, worker]

    async def run(cluster: Cluster) -> None:
        async with await sagas.connect(debian_redis_url, namespace) as client:
            async with asyncio.timeout(PATIENCE_S):
                results, killed = await asyncio.gather(drive_quickly(client, plan, cast), kills(client, cluster))
        under_way = sum(kill.under_way for kill in killed)
        assert verify(Ledger.read(services.ledger), results, cast, plan, kills=under_way).wrong == ()

    with start_cluster(debian_redis_url) as cluster:
        before = {*pids(cluster.hosts()), *pids(cluster.workers())}
        asyncio.run(run(cluster))
        after = {*pids(cluster.hosts()), *pids(cluster.workers())}
        assert len(after) == len(before)
        assert len(after - before) == 2  # both came back


def test_the_dispatcher_and_the_supervisor(
    start_cluster: StartCluster, debian_redis_url: str, namespace: str, services: ServiceProcess
) -> None:
    fates = (Fate.PAYS, Fate.FIXES, Fate.CANCELS, Fate.REFUSED, Fate.ERRS)
    cast, plan = scripts(3 * len(fates), seed=6, months=MONTHS, fates=fates), plan_of(services)

    async def run() -> None:
        async with await sagas.connect(debian_redis_url, namespace) as client, asyncio.timeout(PATIENCE_S):
            results, *_ = await asyncio.gather(
                drive_quickly(client, plan, cast), kill_at(5, "Dispatcher"), kill_at(15, "Supervisor")
            )
        # Not one request was made again: workers know what they do, and nobody else was hurt.
        assert verify(Ledger.read(services.ledger), results, cast, plan).wrong == ()

    async def kill_at(charges: int, actor: str) -> None:
        await until(lambda: Ledger.read(services.ledger).charges().total() >= charges)
        [process] = [each for each in descendants() if each.cmdline()[0].startswith(f"ray::{actor}")]
        process.kill()

    with start_cluster(debian_redis_url) as cluster:
        before = (pids(cluster.hosts()), pids(cluster.workers()))
        asyncio.run(run())
        assert (pids(cluster.hosts()), pids(cluster.workers())) == before
        cluster.scale(workers=1)
        assert len(cluster.workers()) == 1


def pids(actors: list[dict[str, Any]]) -> list[int]:
    return sorted(actor["pid"] for actor in actors)
