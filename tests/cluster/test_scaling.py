"""More and fewer hosts and workers while subscriptions run; shards are handed over, and the work goes on."""

from __future__ import annotations

import asyncio

import pytest

import sagas
from actors.cluster import Cluster
from examples.subscription.driver import verify
from examples.subscription.ledger import Ledger
from examples.subscription.process import ServiceProcess
from examples.subscription.script import Fate, scripts
from sagas.errors import InvalidArgument
from sagas.store.port import SHARDS
from tests.cluster.conftest import StartCluster
from tests.cluster.running import MONTHS, drive_quickly, plan_of, until

FATES = (Fate.PAYS, Fate.FIXES, Fate.CANCELS, Fate.REFUSED, Fate.ERRS)


def owners(cluster: Cluster) -> dict[int, int]:
    """Slot -> how many shards it owns."""
    return {host["slot"]: len(host["shards"]) for host in cluster.hosts()}


def test_hosts_that_start_together_share_fairly_at_once(start_cluster: StartCluster, debian_redis_url: str) -> None:
    with start_cluster(debian_redis_url, hosts=2, workers=1) as cluster:
        assert owners(cluster) == {0: SHARDS // 2, 1: SHARDS // 2}


def test_work_goes_on_while_hosts_and_workers_come_and_go(
    start_cluster: StartCluster, valkey_url: str, namespace: str, services: ServiceProcess
) -> None:
    cast, plan = scripts(3 * len(FATES), seed=8, months=MONTHS, fates=FATES), plan_of(services, month_s=1.5)

    async def changes(cluster: Cluster) -> None:
        await until(lambda: Ledger.read(services.ledger).charges())
        await asyncio.to_thread(cluster.scale, 2, 3)
        await until(lambda: sorted(owners(cluster).values()) == [SHARDS // 2, SHARDS // 2])
        assert len(cluster.workers()) == 3
        await asyncio.to_thread(cluster.drain, 0)
        await until(lambda: owners(cluster) == {1: SHARDS})
        await asyncio.to_thread(cluster.scale, None, 1)
        assert [worker["name"] for worker in cluster.workers()] == ["worker-default-0"]

    async def run(cluster: Cluster) -> None:
        async with await sagas.connect(valkey_url, namespace) as client:
            results, _ = await asyncio.gather(drive_quickly(client, plan, cast), changes(cluster))
        assert verify(Ledger.read(services.ledger), results, cast, plan).wrong == ()

    with start_cluster(valkey_url, hosts=1, workers=1) as cluster:
        assert owners(cluster) == {0: SHARDS}
        asyncio.run(run(cluster))
        assert owners(cluster) == {1: SHARDS}  # a drained host comes back when it is asked for, not by itself
        cluster.scale(hosts=1)
        assert list(owners(cluster)) == [0]


def test_what_cannot_be_is_refused(start_cluster: StartCluster, debian_redis_url: str) -> None:
    with start_cluster(debian_redis_url, hosts=1, workers=1) as cluster:
        with pytest.raises(InvalidArgument, match="there is no host-7; the hosts are host-0"):
            cluster.drain(7)
        with pytest.raises(InvalidArgument, match="hosts is how many"):
            cluster.scale(hosts=-1)
        assert len(cluster.hosts()) == 1
