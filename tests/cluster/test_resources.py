"""Steps that ask for something: it is theirs while they run; what is not there is waited for, and said to be."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import sagas
from actors.cluster import Cluster
from sagas import SagaCancelled, Workers
from sagas.errors import InvalidArgument
from tests.cluster.conftest import StartCluster
from tests.cluster.running import PATIENCE_S, named_actors, until
from tests.cluster.studio import film, invitation, premiere, prints, unique_film

STAFF = {"film": Workers(ray={"num_gpus": 1}), "mail": 0}


class Diary:
    """What the activities of one test have noted: a word and a process a line."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "diary")

    def pids(self, word: str) -> list[int]:
        path = Path(self.path)
        lines = path.read_text().splitlines() if path.exists() else []
        return [int(line.split()[1]) for line in lines if line.split()[0] == word]

    def let(self, *names: str) -> None:
        for name in names:
            Path(f"{self.path}-{name}").touch()


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    return Diary(tmp_path)


Play = Callable[[Cluster, sagas.Client], Coroutine[Any, Any, None]]


@pytest.fixture
def play(start_cluster: StartCluster, debian_redis_url: str, namespace: str) -> Callable[[Play], None]:
    """Runs a test on two hosts, a worker of the default queue, and one with a GPU."""

    async def run(cluster: Cluster, test: Play) -> None:
        async with asyncio.timeout(2 * PATIENCE_S), await sagas.connect(debian_redis_url, namespace) as client:
            await test(cluster, client)

    def start(test: Play) -> None:
        with start_cluster(debian_redis_url, workers=1, modules=("tests.cluster.studio",), queues=STAFF) as cluster:
            asyncio.run(run(cluster, test))

    return start


async def waits(handle: sagas.Handle[Any], for_what: str) -> None:
    while not any(for_what in str(wait) for wait in (await handle.describe()).waiting_for):
        await asyncio.sleep(0.05)


def test_an_attempt_has_what_it_asks_for_and_others_wait(play: Callable[[Play], None], diary: Diary) -> None:
    async def test(_cluster: Cluster, client: sagas.Client) -> None:
        # Three GPUs, of which the film queue's worker has one.
        first = [await client.start(film, diary.path, name) for name in ("a", "b")]
        await until(lambda: diary.pids("a") and diary.pids("b"))
        third = await client.start(film, diary.path, "c")
        await waits(third, "waits for Ray resources num_gpus=1, num_cpus=0.5: others have them now")
        large = await client.start(premiere, diary.path)
        await waits(large, "waits for Ray resources num_cpus=0, imax=3: no node has them")
        await large.cancel("the hall is closed")
        with pytest.raises(SagaCancelled):
            await large.result()
        diary.let("a", "b", "c")
        for handle in (*first, third):
            assert (await handle.result())["GPU"] == 1
        assert len({*diary.pids("a"), *diary.pids("b"), *diary.pids("c")}) == 3
        assert diary.pids("large") == []

    play(test)


def test_a_killed_process_is_a_lost_attempt(play: Callable[[Play], None], diary: Diary, namespace: str) -> None:
    async def test(_cluster: Cluster, client: sagas.Client) -> None:
        again = await client.start(film, diary.path, "again")
        once = await client.start(unique_film, diary.path, "once")
        await until(lambda: diary.pids("again") and diary.pids("once"))
        os.kill(diary.pids("again")[0], signal.SIGKILL)
        os.kill(diary.pids("once")[0], signal.SIGKILL)
        diary.let("again", "once")
        assert (await again.result())["GPU"] == 1
        assert await once.result() == "unknown"
        assert len(diary.pids("again")) == 2
        assert len(diary.pids("once")) == 1
        await until(lambda: not [name for name in named_actors(namespace) if name.startswith("task-")])

    play(test)


def test_the_next_owner_adopts_what_runs(play: Callable[[Play], None], diary: Diary) -> None:
    names = ("a", "b")

    async def test(cluster: Cluster, client: sagas.Client) -> None:
        handles = [await client.start(unique_film, diary.path, name) for name in names]
        await until(lambda: all(diary.pids(name) for name in names))
        for host in await asyncio.to_thread(cluster.hosts):
            os.kill(host["pid"], signal.SIGKILL)
        diary.let(names[0])  # while nobody may be there to hear of it
        assert await handles[0].result() == "done"
        diary.let(names[1])
        assert await handles[1].result() == "done"
        assert Counter(map(len, map(diary.pids, names))) == {1: 2}

    play(test)


def test_queues_have_workers_of_their_own(play: Callable[[Play], None]) -> None:
    async def test(cluster: Cluster, client: sagas.Client) -> None:
        [worker] = [each for each in await asyncio.to_thread(cluster.workers) if each["queue"] == "film"]
        assert await client.execute(prints, id="prints") == worker["pid"]
        handle = await client.start(invitation)
        await waits(handle, "no worker takes queue 'mail'")
        await asyncio.to_thread(cluster.scale, queues={"mail": 1})
        pid = await handle.result()
        assert pid in {each["pid"] for each in await asyncio.to_thread(cluster.workers) if each["queue"] == "mail"}
        with pytest.raises(InvalidArgument, match="there is no queue 'post'; up\\(\\) was given default, film, mail"):
            await asyncio.to_thread(cluster.scale, queues={"post": 1})
        # Two more want a GPU each, one more is not there for: it is not waited for.
        await asyncio.to_thread(cluster.scale, queues={"film": 4})
        film_workers = [each for each in await asyncio.to_thread(cluster.workers) if each["queue"] == "film"]
        assert [each["waits_for"] for each in film_workers if each["pid"] is None] == [{"num_gpus": 1}]
        await asyncio.to_thread(cluster.scale, queues={"film": 0})

    play(test)
