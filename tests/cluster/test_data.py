"""Sealed and large payloads over Ray: hosts and workers have the keys from the module, and nobody else needs them."""

from __future__ import annotations

import asyncio
import random

import sagas
from examples import sealed
from sagas.payloads import sealing
from tests.cluster.conftest import StartCluster
from tests.payloads.codecs import Know, know
from tests.servers import Server

__all__ = ["know"]

KEYS = "2026:" + "11" * 32 + ",2025:" + "22" * 32
LARGE = random.Random(7).randbytes(400_000).hex()  # over 256 KB also when it is compressed


def test_a_visit_over_ray_is_sealed_from_end_to_end(
    start_cluster: StartCluster, own_server: Server, namespace: str, know: Know
) -> None:
    async def visited() -> None:
        async with await sagas.connect(own_server.url, namespace) as client:
            visit = await client.start(sealed.Visit, "Ada", id="visit-1")
            await visit.signal(sealed.Visit.complain, "a-rare-cough")
            await visit.signal(sealed.Visit.complain, LARGE)
            assert await visit.query(sealed.Visit.told) == ["a-rare-cough", LARGE]
            await visit.signal(sealed.Visit.leave)
            told = ["Ada: a-rare-cough is nothing serious", f"Ada: {LARGE} is nothing serious"]
            assert await visit.result(60) == told
            chunks = await client.access.store.history("visit-1", str(visit.run_id))
            assert sum(map(len, chunks)) < 20_000
            await visit.delete()

    know()
    sealing.use_codec(*sealed.codecs(KEYS))
    with start_cluster(
        own_server.url, modules=["examples.sealed"], runtime_env={"env_vars": {"SEALED_KEYS": KEYS}}, hosts=1, workers=1
    ):
        asyncio.run(visited())
    written = own_server.written()
    assert b"visit-1" in written
    assert [secret for secret in (b"Ada", b"a-rare-cough", b"nothing serious") if secret in written] == []
