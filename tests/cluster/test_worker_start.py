"""@on_worker_start and middleware in workers on Ray: who cannot begin says why, and is left in order."""

from __future__ import annotations

import asyncio
from pathlib import Path

import sagas
from actors.cluster import Cluster
from tests.cluster.conftest import StartCluster
from tests.cluster.pools import using, using_alone
from tests.cluster.running import until


def test_a_worker_whose_pool_fails_says_so_and_takes_steps_once_it_is_there(
    start_cluster: StartCluster, debian_redis_url: str, namespace: str, tmp_path: Path
) -> None:
    async def run(cluster: Cluster) -> None:
        async with await sagas.connect(debian_redis_url, namespace) as client:
            handle = await client.start(using)

            async def waits() -> str:
                return str((await handle.describe()).waiting_for)

            async with asyncio.timeout(60):
                while "'pool' of tests.cluster.pools raised ConnectionRefusedError" not in await waits():
                    await asyncio.sleep(0.1)
            assert "no database" in cluster.workers()[0]["failing"]
            (tmp_path / "database").touch()
            pid, around = await handle.result(timeout=60)
            assert around == 7
            assert [worker["pid"] for worker in cluster.workers()] == [pid]
            assert cluster.workers()[0]["failing"] == ""
            alone, _ = await client.execute(using_alone)
            assert alone != pid
            await until((tmp_path / f"left-{alone}").exists)
            await asyncio.to_thread(cluster.scale, None, 0)
            await until((tmp_path / f"left-{pid}").exists)

    environment = {"env_vars": {"SAGAS_TEST_POOLS": str(tmp_path)}}
    with start_cluster(
        debian_redis_url, hosts=1, workers=1, modules=("tests.cluster.pools",), runtime_env=environment
    ) as cluster:
        asyncio.run(run(cluster))
