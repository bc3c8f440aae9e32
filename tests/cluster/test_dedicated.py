"""Dedicated instances on Ray: a process each, with its resources, that may be killed at any time."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

import sagas
from actors.cluster import Cluster
from sagas import QueryFailed
from tests.cluster.conftest import StartCluster
from tests.cluster.running import PATIENCE_S, named_actors, until
from tests.cluster.studio import Cinema

T = TypeVar("T")
FILMS = [f"film {number}" for number in range(12)]


def processes(cluster: Cluster) -> dict[str, int]:
    return {id: pid for host in cluster.hosts() for id, pid in host["dedicated"].items()}


async def asked(cinema: sagas.Handle[list[str]], query: Callable[[Cinema], T]) -> T:
    """Its answer, however long its process takes to start: a query is given up after ten seconds."""
    while True:
        try:
            return await cinema.query(query)
        except QueryFailed as error:
            if error.cause_type != "NoAnswer":
                raise


async def waits_of(handle: sagas.Handle[list[str]]) -> list[str]:
    while not (waits := (await handle.describe()).waiting_for):
        await asyncio.sleep(0.05)
    return [str(wait) for wait in waits]


def test_its_process_is_killed_and_its_host_and_it_goes_on(
    start_cluster: StartCluster, debian_redis_url: str, namespace: str, tmp_path: Path
) -> None:
    diary = tmp_path / "diary"

    def shown() -> list[str]:
        return [line.rpartition(" ")[0] for line in diary.read_text().splitlines()] if diary.exists() else []

    async def played(cinema: sagas.Handle[list[str]], films: list[str]) -> None:
        for film in films:
            await cinema.signal(Cinema.show, film)
        while not set(films) <= set(await asked(cinema, Cinema.so_far)):
            await asyncio.sleep(0.05)

    async def run(cluster: Cluster) -> None:
        async with asyncio.timeout(2 * PATIENCE_S), await sagas.connect(debian_redis_url, namespace) as client:
            cinema = await client.start(Cinema, str(diary), id="odeon")
            second = await client.start(Cinema, str(diary), id="ritz")
            pids = [await asked(each, Cinema.process) for each in (cinema, second)]
            hosts = {host["pid"] for host in await asyncio.to_thread(cluster.hosts)}
            assert len({*pids, *hosts}) == 4
            assert await asyncio.to_thread(processes, cluster) == {"odeon": pids[0], "ritz": pids[1]}

            await played(cinema, FILMS[:3])
            os.kill(pids[0], signal.SIGKILL)
            await played(cinema, FILMS[3:6])
            again = await asked(cinema, Cinema.process)
            assert again not in pids

            [host] = [h["pid"] for h in await asyncio.to_thread(cluster.hosts) if "odeon" in h["dedicated"]]
            os.kill(host, signal.SIGKILL)
            await played(cinema, FILMS[6:9])
            await until(lambda: not psutil.pid_exists(again))  # it went with its host
            await played(cinema, FILMS[9:])
            # Handlers wait for their steps side by side, so what came together may be done in another order.
            assert sorted(await asked(cinema, Cinema.so_far)) == sorted(FILMS)
            assert sorted(shown()) == sorted(FILMS), "no step was made twice"

            assert await asked(second, Cinema.process) > 0
            third = await client.start(Cinema, str(diary), id="astor")  # one imax is enough for two
            (wait,) = await waits_of(third)
            assert wait == "the code of 'Cinema' waits for a process of its own (imax=0.5)"
            await second.terminate("closed")
            assert await asked(third, Cinema.process) > 0, "there is room for it now"
            await third.terminate("closed")
            await cinema.terminate("closed")
            await until(lambda: not [name for name in named_actors(namespace) if name.startswith("saga-")])

    with start_cluster(debian_redis_url, workers=1, modules=("tests.cluster.studio",)) as cluster:
        asyncio.run(run(cluster))
