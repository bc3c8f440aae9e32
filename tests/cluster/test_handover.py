"""Shards change hands, and workers retire, while slow steps run: each is done once, and none is made again."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import sagas
from actors.cluster import Cluster
from sagas.store.port import SHARDS
from tests.cluster.conftest import StartCluster
from tests.cluster.running import until
from tests.cluster.slow import slow

SAGAS = 40
SLOW_S = 6.0


def test_steps_survive_a_new_host_a_drained_one_and_a_retired_worker(
    start_cluster: StartCluster, debian_redis_url: str, namespace: str, tmp_path: Path
) -> None:
    diary = tmp_path / "diary"

    def begun() -> Counter[str]:
        return Counter(line.split()[0] for line in diary.read_text().splitlines()) if diary.exists() else Counter()

    async def round_of(client: sagas.Client, number: int) -> list[sagas.Handle[str]]:
        handles = [await client.start(slow, str(diary), f"{number}-{each}", SLOW_S) for each in range(SAGAS)]
        await until(lambda: len(begun()) == (number + 1) * SAGAS)
        return handles

    async def run(cluster: Cluster) -> None:
        async with await sagas.connect(debian_redis_url, namespace) as client:
            first = await round_of(client, 0)
            await asyncio.to_thread(cluster.scale, 2, 2)
            await until(lambda: [len(host["shards"]) for host in cluster.hosts()] == [SHARDS // 2, SHARDS // 2])
            second = await round_of(client, 1)
            await asyncio.to_thread(cluster.scale, None, 1)
            await asyncio.to_thread(cluster.drain, 0)
            for handle in (*first, *second):
                await handle.result()

    with start_cluster(debian_redis_url, hosts=1, workers=1, modules=("tests.cluster.slow",)) as cluster:
        asyncio.run(run(cluster))
    assert set(begun().values()) == {1}
    assert begun().total() == 2 * SAGAS
