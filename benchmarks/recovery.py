"""How long a host's sagas stand still when it is killed: ``python -m benchmarks.recovery [--kills 5] [--json FILE]``.

Two hosts and two workers on a local Ray over a Redis of their own (AOF always), and a stream of sagas whose steps say
when they began. Each kill is a ``kill -9`` of the host with the most open steps. "first" is the time from the kill to
the first step that one of its sagas scheduled and began after it, "all" until each saga that had a step open then has
begun another. All by one machine's clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

import sagas
from benchmarks.ticking import ticking
from sagas.kernel.events import StepScheduled
from sagas.server import EmbeddedServer, measure_fsync
from sagas.store.keys import shard_of
from sagas.store.port import SHARDS

if TYPE_CHECKING:
    from actors.cluster import Cluster

T = TypeVar("T")

HOSTS = 2
WORKERS = 2
AT_ONCE = 60
TICKS = 30
TICK_S = 0.2

_LOOK_EVERY_S = 0.02
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One row: ``open_steps`` were under way in sagas of the host."""

    host: int
    shards: int
    open_steps: int
    first_s: float
    all_s: float


class Diary:
    """What the steps wrote."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def begun(self, after_ns: int) -> dict[str, dict[int, int]]:
        """Saga -> step -> when it (first) began, of those that began after an instant."""
        found: dict[str, dict[int, int]] = {}
        for line in self._path.read_text().splitlines() if self._path.exists() else ():
            at_ns, saga, key = line.split()
            if int(at_ns) > after_ns:
                found.setdefault(saga, {}).setdefault(int(key.rpartition("/")[2]), int(at_ns))
        return found


class Bench:
    """Kills hosts of one cluster."""

    def __init__(self, client: sagas.Client, cluster: Cluster, diary: Diary) -> None:
        self._client = client
        self._cluster = cluster
        self._diary = diary

    async def kill(self) -> Kill:
        """One kill, and how its sagas went on. Raises: TimeoutError when they do not."""
        await _until(self._whole)
        host, waiting = await _until(self._busiest)
        killed_ns = time.time_ns()
        os.kill(host["pid"], signal.SIGKILL)
        first_ns = await _until(lambda: self._next_step(host["shards"], killed_ns))
        each_ns = await _until(lambda: self._next_steps(waiting, killed_ns))
        return Kill(
            host=host["slot"],
            shards=len(host["shards"]),
            open_steps=len(waiting),
            first_s=round((first_ns - killed_ns) / 1e9, 3),
            all_s=round((max(each_ns) - killed_ns) / 1e9, 3),
        )

    async def _whole(self) -> bool:
        hosts = await asyncio.to_thread(self._cluster.hosts)
        return sorted(len(host["shards"]) for host in hosts) == [SHARDS // HOSTS] * HOSTS

    async def _busiest(self) -> tuple[dict[str, Any], list[str]] | None:
        """The host with the most open steps, and the sagas they are of; None when there are none."""
        hosts = await asyncio.to_thread(self._cluster.hosts)
        waiting = [
            found.id
            async for found in self._client.list("status = 'running'")
            if any(wait.kind == "step" for wait in found.waiting_for)
        ]
        by_host = [(host, [id for id in waiting if shard_of(id) in host["shards"]]) for host in hosts]
        host, ids = max(by_host, key=lambda each: len(each[1]))
        return (host, ids) if ids and host["pid"] is not None else None

    async def _next_step(self, shards: list[int], killed_ns: int) -> int | None:
        """When the first saga of these shards began a step that it scheduled after the kill."""
        candidates = [saga for saga in self._diary.begun(killed_ns) if shard_of(saga) in shards]
        begun = [at_ns for saga in candidates if (at_ns := await self._began(saga, killed_ns)) is not None]
        return min(begun, default=None)

    async def _next_steps(self, ids: list[str], killed_ns: int) -> list[int] | None:
        """When each of these sagas did, but for those that have ended; None as long as one has not."""
        going = [id for id in ids if (await self._client.get(id).describe()).closed is None]
        begun = [await self._began(id, killed_ns) for id in going]
        return None if None in begun else [at_ns for at_ns in begun if at_ns is not None]

    async def _began(self, saga: str, killed_ns: int) -> int | None:
        begun = self._diary.begun(killed_ns).get(saga)
        if not begun:
            return None
        history = await self._client.get(saga).history()
        new = {event.step for event in history if isinstance(event, StepScheduled) and event.at_ms > killed_ns // 10**6}
        return min((at_ns for step, at_ns in begun.items() if step in new), default=None)


async def _until(look: Callable[[], Awaitable[T | None]]) -> T:
    """What ``look`` returns once that is something. Raises: TimeoutError."""
    async with asyncio.timeout(_PATIENCE_S):
        while not (found := await look()):  # noqa: ASYNC110  # neither the store nor a diary tells anybody
            await asyncio.sleep(_LOOK_EVERY_S)
    return found


async def measure(url: str, cluster: Cluster, diary: Path, kills: int) -> list[Kill]:
    """So many kills, one after the other, each printed as it comes."""
    async with await sagas.connect(url) as client:
        stream = [asyncio.create_task(_stream(client, diary)) for _ in range(AT_ONCE)]
        try:
            bench, found = Bench(client, cluster, Diary(diary)), []
            for _ in range(kills):
                found.append(await bench.kill())
                print(_row(found[-1]), flush=True)
        finally:
            for each in stream:
                each.cancel()
            await asyncio.gather(*stream, return_exceptions=True)
    return found


async def _stream(client: sagas.Client, diary: Path) -> None:
    while True:
        await client.execute(ticking, str(diary), TICKS, TICK_S)


def _row(kill: Kill) -> str:
    owned = f"{kill.shards} shards, {kill.open_steps} open steps"
    return f"host-{kill.host} ({owned})   first {kill.first_s:.2f} s   all {kill.all_s:.2f} s"


def _spread(seconds: list[float]) -> dict[str, float]:
    return {"min": min(seconds), "median": round(median(seconds), 3), "max": max(seconds)}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--kills", type=int, default=5)
    arguments.add_argument("--json", type=Path, help="write the figures there as well")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer.start(Path(folder) / "redis") as server:
        fsync = measure_fsync(Path(folder))
        print(f"fsync p50 {fsync.p50_ms:.2f} ms   {HOSTS} hosts, {WORKERS} workers, {AT_ONCE} sagas", flush=True)
        with sagas.up(["benchmarks.ticking"], server.url, hosts=HOSTS, workers=WORKERS) as cluster:
            kills = asyncio.run(measure(server.url, cluster, Path(folder) / "diary", given.kills))
    spreads = {"first_s": _spread([kill.first_s for kill in kills]), "all_s": _spread([kill.all_s for kill in kills])}
    for name, spread in spreads.items():
        print(f"{name:<8} min {spread['min']:.2f}   median {spread['median']:.2f}   max {spread['max']:.2f}")
    if given.json:
        told = {"fsync_p50_ms": fsync.p50_ms, "hosts": HOSTS, "workers": WORKERS, "sagas": AT_ONCE, **spreads}
        given.json.write_text(json.dumps({**told, "kills": [asdict(each) for each in kills]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
