"""Steps a second through the whole system: ``python -m benchmarks.steps [--json FILE]``.

4,000 sagas of ten empty steps, C of them at any time, all started and awaited by one client, on this one machine:
Redis with AOF always, the hosts and workers on a local Ray, and the client itself. "worker" steps run in Ray workers,
"local" ones in the hosts. The disk's fsync latency stands beside the figures, because every commit waits for it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import sagas
from benchmarks.ten_steps import STEPS, in_host, on_workers
from sagas.server import EmbeddedServer, measure_fsync

MODES = {"worker": on_workers, "local": in_host}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row: ``saga_p50_ms`` is how long a whole saga of ten steps took, seen by its client."""

    mode: str
    at_once: int
    steps: int
    seconds: float
    steps_per_s: int
    saga_p50_ms: float


async def measure(client: sagas.Client, mode: str, at_once: int, total: int) -> Figure:
    """``total`` sagas, ``at_once`` of them at any time; each place starts its next when its last has ended."""
    waiting = iter(range(total))
    took: list[float] = []

    async def one_after_another() -> None:
        for _ in waiting:
            started = time.perf_counter()
            await client.execute(MODES[mode])
            took.append(time.perf_counter() - started)

    began = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(at_once)))
    seconds = time.perf_counter() - began
    return Figure(
        mode=mode,
        at_once=at_once,
        steps=STEPS * total,
        seconds=round(seconds, 2),
        steps_per_s=round(STEPS * total / seconds),
        saga_p50_ms=round(median(took) * 1000, 1),
    )


async def measure_all(url: str, modes: Sequence[str], sizes: Sequence[int], total: int) -> list[Figure]:
    figures = []
    async with await sagas.connect(url) as client:
        for mode in modes:
            await measure(client, mode, 100, 300)  # warm: code is loaded, connections are made
            for at_once in sizes:
                figures.append(await measure(client, mode, at_once, total))
                print(_row(figures[-1]), flush=True)
    return figures


def _row(figure: Figure) -> str:
    return (
        f"{figure.mode:<7} C={figure.at_once:<6} {figure.steps_per_s:>8,} steps/s   "
        f"a saga of {STEPS}: p50 {figure.saga_p50_ms:,.0f} ms"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--modes", nargs="+", choices=sorted(MODES), default=["worker", "local"])
    arguments.add_argument("--at-once", nargs="+", type=int, default=[200, 2000])
    arguments.add_argument("--sagas", type=int, default=4000, help="how many of them a figure takes")
    arguments.add_argument("--hosts", type=int, default=1)
    arguments.add_argument("--workers", type=int, default=1)
    arguments.add_argument("--json", type=Path, help="write the figures there as well")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer.start(Path(folder)) as server:
        fsync = measure_fsync(Path(folder))
        print(f"fsync p50 {fsync.p50_ms:.2f} ms   {given.hosts} hosts, {given.workers} workers", flush=True)
        modules = ["benchmarks.ten_steps"]
        with sagas.up(modules=modules, url=server.url, hosts=given.hosts, workers=given.workers):
            figures = asyncio.run(measure_all(server.url, given.modes, given.at_once, given.sagas))
    if given.json:
        told = {"fsync_p50_ms": fsync.p50_ms, "hosts": given.hosts, "workers": given.workers}
        given.json.write_text(json.dumps({**told, "figures": [asdict(each) for each in figures]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
