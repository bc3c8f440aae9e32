"""Heartbeats over Ray: what a step has told outlives worker and host, and who is silent is not waited for."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

import sagas
from actors.cluster import Cluster
from sagas.connection import open_store
from sagas.engine.steps import decode_attempts
from sagas.payloads import decode
from tests.cluster.beating import freezing, grinding, nobody_works, walking
from tests.cluster.conftest import StartCluster
from tests.cluster.running import until

MODULES = ("tests.cluster.beating",)


def noted(folder: Path, word: str) -> list[int]:
    """The processes that have left this word."""
    diary = folder / "diary"
    lines = diary.read_text().splitlines() if diary.exists() else []
    return [int(line.split()[1]) for line in lines if line.split()[0] == word]


async def until_durable(url: str, namespace: str, id: str, details: str) -> None:
    """Returns when the store holds these details of a step of ``id``."""
    store = await open_store(url, namespace)

    async def found() -> bool:
        (loaded,) = await store.load([id])
        told = [attempt.heartbeat for attempt in decode_attempts(loaded.steps).values()]
        return details in [decode(each) for each in told if each]

    try:
        async with asyncio.timeout(60):
            while not await found():
                await asyncio.sleep(0.05)
    finally:
        await store.close()


def test_details_outlive_the_worker_and_the_host(
    start_cluster: StartCluster, debian_redis_url: str, namespace: str, tmp_path: Path
) -> None:
    def tell(word: str) -> None:
        (tmp_path / "next").write_text(word)
        (tmp_path / "next").replace(tmp_path / "words")

    async def run(cluster: Cluster) -> None:
        async with await sagas.connect(debian_redis_url, namespace) as client:
            handle = await client.start(walking, str(tmp_path), id="walking")
            tell("first")
            await until_durable(debian_redis_url, namespace, "walking", "first")
            (host,) = cluster.hosts()
            os.kill(host["pid"], signal.SIGKILL)
            tell("second")  # no host is there to hear it: the worker keeps it for the next one
            await until_durable(debian_redis_url, namespace, "walking", "second")
            (worker,) = noted(tmp_path, "walks")
            os.kill(worker, signal.SIGKILL)
            assert await handle.result(timeout=60) == "second"

    with start_cluster(debian_redis_url, hosts=1, workers=1, modules=MODULES) as cluster:
        asyncio.run(run(cluster))


def test_a_cancel_reaches_a_thread_in_a_worker_and_a_queue_without_workers_is_not_waited_for(
    start_cluster: StartCluster, debian_redis_url: str, namespace: str, tmp_path: Path
) -> None:
    async def run() -> None:
        async with await sagas.connect(debian_redis_url, namespace) as client:
            grinds = await client.start(grinding, str(tmp_path))
            waits = await client.start(nobody_works)
            await until(lambda: noted(tmp_path, "grinds"))
            await grinds.cancel()
            with pytest.raises(sagas.SagaCancelled):
                await grinds.result(timeout=60)
            await until(lambda: noted(tmp_path, "stopped") == noted(tmp_path, "grinds"))
            assert await waits.result(timeout=60) == [("queue", True)] * 2

    with start_cluster(debian_redis_url, hosts=1, workers=1, modules=MODULES):
        asyncio.run(run())


def test_a_frozen_worker_loses_its_steps_to_another(
    start_cluster: StartCluster, debian_redis_url: str, namespace: str, tmp_path: Path
) -> None:
    async def run() -> None:
        async with await sagas.connect(debian_redis_url, namespace) as client:
            handle = await client.start(freezing, str(tmp_path))
            await until(lambda: noted(tmp_path, "beats"))
            (frozen,) = noted(tmp_path, "beats")
            os.kill(frozen, signal.SIGSTOP)
            try:
                assert await handle.result(timeout=60) != frozen
            finally:
                os.kill(frozen, signal.SIGCONT)

    with start_cluster(debian_redis_url, hosts=1, workers=2, modules=MODULES):
        asyncio.run(run())
