"""Each refusal and warning, by a real server that has the setting."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from sagas.errors import InvalidArgument, StoreUnavailable, UnsafeStore
from sagas.server.doctor import examine, require_safe
from sagas.server.embedded import EmbeddedServer
from sagas.server.find import ServerBinary
from sagas.server.rules import Finding
from tests.server.processes import RawServer, free_port, wait_until

Serve = Callable[..., RawServer]
GOOD = {"appendonly": "yes", "appendfsync": "always", "maxmemory": "256mb"}


def bad(url: str) -> dict[str, Finding]:
    return {found.subject: found for found in asyncio.run(examine(url)) if found.severity != "ok"}


def test_our_own_server_passes_without_a_warning(data: Path, binary: ServerBinary) -> None:
    with EmbeddedServer.start(data, binary) as server:
        findings = asyncio.run(examine(server.url))
        assert {found.severity for found in findings} == {"ok"}
        assert f"{binary.flavour.capitalize()} " in findings[0].message
        assert asyncio.run(require_safe(server.url)) == []


@pytest.mark.parametrize(
    ("settings", "subject"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, "maxmemory-policy"),
        ({"maxmemory_policy": "volatile-ttl"}, "maxmemory-policy"),
        ({"no_appendfsync_on_rewrite": "yes"}, "no-appendfsync-on-rewrite"),
    ],
)
def test_settings_that_lose_data_are_refused(settings: dict[str, str], subject: str, serve: Serve) -> None:
    server = serve(**GOOD | settings)
    assert bad(server.url) == {subject: bad(server.url)[subject]}
    assert bad(server.url)[subject].severity == "refuse"
    with pytest.raises(UnsafeStore, match=f"{subject}: .*Fix: CONFIG SET {subject}"):
        asyncio.run(require_safe(server.url))


@pytest.mark.parametrize(
    ("settings", "subject"),
    [
        ({"appendfsync": "everysec"}, "appendfsync"),
        ({"appendfsync": "no"}, "appendfsync"),
        ({"appendonly": "no"}, "appendonly"),
        ({"maxmemory": "0"}, "maxmemory"),
    ],
)
def test_unwise_settings_are_warned_about(settings: dict[str, str], subject: str, serve: Serve) -> None:
    server = serve(**GOOD | settings)
    warned = asyncio.run(require_safe(server.url))
    assert [(found.severity, found.subject) for found in warned] == [("warn", subject)]


def test_mode_fast_is_content_with_everysec(serve: Serve) -> None:
    server = serve(**GOOD | {"appendfsync": "everysec"})
    assert asyncio.run(require_safe(server.url, "fast")) == []


def test_a_replica_is_refused_and_its_master_warned_about(serve: Serve) -> None:
    master = serve(tcp=True, **GOOD)
    replica = serve(tcp=True, **GOOD, replicaof=f"127.0.0.1\0{master.port}")
    with Redis.from_url(master.url) as redis:
        wait_until(lambda: redis.info("replication")["connected_slaves"] == 1, "a connected replica")
        assert {subject: found.severity for subject, found in bad(master.url).items()} == {
            "min-replicas-to-write": "warn"
        }
        with Redis.from_url(replica.url) as follower:
            wait_until(lambda: not follower.info("persistence")["loading"], "a replica that has loaded")
        found = bad(replica.url)["role"]
        assert (found.severity, "replica" in found.message) == ("refuse", True)
        redis.config_set("min-replicas-to-write", 1)
    assert bad(master.url) == {}


def test_every_refusal_is_in_one_error_without_the_password(serve: Serve) -> None:
    server = serve(tcp=True, maxmemory_policy="allkeys-lru", no_appendfsync_on_rewrite="yes", requirepass="topsecret")
    with pytest.raises(UnsafeStore) as caught:
        asyncio.run(require_safe(f"redis://:topsecret@127.0.0.1:{server.port}/0"))
    assert "allkeys-lru" in str(caught.value)
    assert "no-appendfsync-on-rewrite" in str(caught.value)
    assert "topsecret" not in str(caught.value)


def test_a_forbidden_config_is_warned_about_and_the_rest_judged_by_info(serve: Serve) -> None:
    server = serve(**GOOD | {"maxmemory": "0"}, user="app\0on\0>pw\0~*\0+@all\0-config")
    found = bad(f"unix://app:pw@{server.socket}")
    assert {subject: each.severity for subject, each in found.items()} == {"config": "warn", "maxmemory": "warn"}
    assert "appendfsync" in found["config"].message


def test_a_renamed_config_is_warned_about(serve: Serve) -> None:
    server = serve(**GOOD, rename_command="CONFIG\0")
    assert {subject: found.severity for subject, found in bad(server.url).items()} == {"config": "warn"}


def test_a_user_who_may_not_ask_info_is_refused(serve: Serve) -> None:
    server = serve(**GOOD, user="app\0on\0>pw\0~*\0+@all\0-info")
    with pytest.raises(UnsafeStore, match=r"ACL SETUSER \.\.\. \+info"):
        asyncio.run(require_safe(f"unix://app:pw@{server.socket}"))


@pytest.mark.parametrize("credentials", ["", ":wrong@", "nobody:wrong@"])
def test_a_wrong_password_is_said_to_be_wrong(credentials: str, serve: Serve) -> None:
    server = serve(tcp=True, **GOOD, requirepass="topsecret")
    with pytest.raises(StoreUnavailable, match="user or password") as caught:
        asyncio.run(require_safe(f"redis://{credentials}127.0.0.1:{server.port}"))
    assert "wrong@" not in str(caught.value)


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    for url in (f"redis://:topsecret@127.0.0.1:{free_port()}/0", f"unix://{tmp_path}/none"):
        with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
            asyncio.run(examine(url))
        assert "topsecret" not in str(caught.value)


def test_something_that_is_no_redis_is_unavailable() -> None:
    async def case() -> None:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0, family=socket.AF_INET)
        async with server:
            with pytest.raises(StoreUnavailable):
                await examine(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")

    asyncio.run(case())


@pytest.mark.parametrize("url", ["http://localhost", "localhost:6379", "redis://:topsecret@host:port/0", ""])
def test_what_is_no_redis_url_is_an_invalid_argument(url: str) -> None:
    with pytest.raises(InvalidArgument, match="is no Redis URL") as caught:
        asyncio.run(examine(url))
    assert "topsecret" not in str(caught.value)
