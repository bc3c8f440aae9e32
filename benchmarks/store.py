"""Transitions a second through the commit script, and the disk's fsync beside it: ``python -m benchmarks.store``.

One owner commits flush after flush to a server of our own (AOF always), each flush N transitions of N instances.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median

from sagas.server import EmbeddedServer, measure_fsync
from sagas.store.head import encode_head
from sagas.store.keys import shard_of
from sagas.store.port import SHARDS, Batch, Claim, CommitVerdict, Head, Status, Transition
from sagas.store.redis import RedisStore

SECONDS = 3.0
SIZES = (1, 128, 1000)
CHUNK = b"x" * 120
HEAD = encode_head(
    Head(status=Status.RUNNING, run_id="r1", type="Trip", version=3, events=9, started_ms=1, closed_ms=0)
)


def flush(claims: list[Claim], ids: list[str], number: int) -> list[Batch]:
    steps: dict[int, list[Transition]] = {claim.shard: [] for claim in claims}
    for id in ids:
        step = Transition(
            id=id, run_id="r1", version=number, chunk=CHUNK, head=HEAD, timer_ms=number, busy=True, steps=None
        )
        steps[shard_of(id)].append(step)
    return [
        Batch(shard=claim.shard, token=claim.token, sequence=number + 1, transitions=tuple(steps[claim.shard]))
        for claim in claims
        if steps[claim.shard]
    ]


async def measure(url: str, size: int) -> None:
    store = await RedisStore.connect(url, f"bench-{size}")
    taken = [await store.claim(shard, "bench", 600_000) for shard in range(SHARDS)]
    claims = [claim for claim in taken if claim is not None]
    ids = [f"trip-{n}" for n in range(size)]
    times: list[float] = []
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        batches = flush(claims, ids, len(times))
        began = time.perf_counter()
        verdicts = await store.commit(batches)
        times.append(time.perf_counter() - began)
        assert all(each.verdict is CommitVerdict.OK for each in verdicts)
    rate = size * len(times) / sum(times)
    print(f"N={size:<5} {rate:>9,.0f} transitions/s   commit p50 {median(times) * 1000:.2f} ms")
    await store.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer.start(Path(folder)) as server:
        print(f"fsync p50 {measure_fsync(Path(folder)).p50_ms:.2f} ms")
        for size in SIZES:
            asyncio.run(measure(server.url, size))


if __name__ == "__main__":
    main()
