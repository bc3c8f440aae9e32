"""The example with keys: nothing that it is told stands in Redis, not even in the file of what was deleted since."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import redis

import sagas
from examples import sealed
from sagas.payloads import sealing
from tests.payloads.codecs import Know, know
from tests.servers import Server

__all__ = ["know"]

ROOT = Path(__file__).resolve().parents[2]
SECRETS = (b"Ada", b"a-rare-cough", b"nothing serious")
KEYS = "2026:" + "11" * 32 + ",2025:" + "22" * 32


def test_the_example_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.sealed"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "['Ada: a cough is nothing serious', 'Ada: a cold is nothing serious']\n"


@pytest.mark.parametrize("keys", [KEYS, ""], ids=["sealed", "in the clear"])
def test_nothing_of_a_payload_is_in_redis_in_the_clear(
    own_server: Server, namespace: str, know: Know, keys: str
) -> None:
    async def visited() -> None:
        async with sagas.embedded(own_server.url, [sealed], namespace=namespace) as client:
            visit = await client.start(sealed.Visit, "Ada", id="visit-1")
            await visit.signal(sealed.Visit.complain, "a-rare-cough")
            assert await visit.query(sealed.Visit.told) == ["a-rare-cough"]
            seen.append(b"".join(_contents(own_server, namespace)))
            await visit.signal(sealed.Visit.leave)
            assert await visit.result() == ["Ada: a-rare-cough is nothing serious"]
            seen.append(b"".join(_contents(own_server, namespace)))

    seen: list[bytes] = []
    if keys:
        sealing.use_codec(*sealed.codecs(keys))
    asyncio.run(visited())
    seen.append(own_server.written())
    assert all(b"visit-1" in each for each in seen), "what is looked at is what was written"
    found = [secret for secret in SECRETS if any(secret in each for each in seen)]
    assert found == ([] if keys else list(SECRETS))


def _contents(server: Server, namespace: str) -> Iterable[bytes]:
    """Every key of the namespace with all that is in it."""
    with server.client() as client:
        for name in client.scan_iter(f"sg:{{{namespace}*"):
            yield name
            yield from _members(client, name)


def _members(client: redis.Redis, name: bytes) -> Iterable[bytes]:
    match client.type(name):
        case b"string":
            yield client.get(name)
        case b"list":
            yield from client.lrange(name, 0, -1)
        case b"hash":
            yield from (part for pair in client.hgetall(name).items() for part in pair)
        case b"stream":
            yield from (part for _, fields in client.xrange(name) for pair in fields.items() for part in pair)
        case b"zset":
            yield from client.zrange(name, 0, -1)
        case b"set":
            yield from client.smembers(name)
        case other:
            raise AssertionError(other)
