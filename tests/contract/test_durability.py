"""``durability=ha``: nothing is acknowledged that no replica has."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest

from sagas.errors import InvalidArgument, StoreUnavailable
from sagas.store import redis_durability
from sagas.store.keys import shard_of
from sagas.store.port import AdmissionVerdict, CommitVerdict
from sagas.store.redis import RedisStore
from sagas.store.redis_durability import durability_of
from tests.contract.samples import claimed, committed, eventually, start, step, unread
from tests.servers import KINDS, Server


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Server, Server]]:
    """A master, and a server that is no replica yet."""
    port = free_port()
    master, other = Server(request.param, "--port", str(port)), Server(request.param)
    try:
        with other.client() as client:
            client.config_set("repl-diskless-load", "on-empty-db")
        yield master, other
    finally:
        master.stop()
        other.stop()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def port_of(server: Server) -> int:
    with server.client() as client:
        return int(client.config_get("port")["port"])


async def replicating(master: Server, replica: Server) -> None:
    with replica.client() as client:
        client.replicaof("127.0.0.1", port_of(master))

    async def in_sync() -> bool:
        with replica.client() as client:
            return client.info("replication")["master_link_status"] == "up"

    await eventually(in_sync)


def play(server: Server, namespace: str, scenario: Callable[[RedisStore], Awaitable[None]], **options: str) -> None:
    async def run() -> None:
        store = await RedisStore.connect(f"{server.url}?durability=ha", namespace, **options)
        try:
            await scenario(store)
        finally:
            await store.close()

    asyncio.run(run())


def test_without_a_replica_nothing_is_acknowledged(
    own_server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_durability, "REPLICA_MS", 10)

    async def scenario(store: RedisStore) -> None:
        claim = await claimed(store, "a")
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="no replica"):
                await committed(store, claim, 1, step("a"))
            with pytest.raises(StoreUnavailable, match="no replica"):
                await store.enqueue(start("b", message_id="m"))
        assert await store.history("a", "r1") == [b"r1/0"]
        assert await store.renew([claim], "a", 1000) == [claim.shard]  # leases need none

    play(own_server, namespace, scenario)


def test_what_is_acknowledged_is_on_the_replica(pair: tuple[Server, Server], namespace: str) -> None:
    master, replica = pair

    async def scenario(store: RedisStore) -> None:
        await replicating(master, replica)
        claim = await claimed(store, "a")
        with replica.client() as behind:
            for sequence in range(1, 20):
                verdict = await committed(store, claim, sequence, step("a", sequence - 1))
                assert verdict.verdict is CommitVerdict.OK
                assert behind.llen(store._keys.history("a", "r1")) == sequence
            assert (await store.enqueue(start("b"))).verdict is AdmissionVerdict.OK
            assert behind.xlen(store._keys.mailbox(shard_of("b"))) == 1

    play(master, namespace, scenario)


def test_what_no_replica_confirmed_is_asked_for_again_by_whoever_sends_it_again(
    pair: tuple[Server, Server], namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also over another connection, where it is DUP: that alone says nothing of replicas."""
    master, replica = pair

    async def scenario(store: RedisStore) -> None:
        await replicating(master, replica)
        claim = await claimed(store, "a")
        other = await RedisStore.connect(master.url, namespace, durability="ha")
        await other.enqueue(start("b"))
        os.kill(replica.pid, signal.SIGSTOP)
        try:
            monkeypatch.setattr(redis_durability, "REPLICA_MS", 50)
            for each in (store, store, other):
                with pytest.raises(StoreUnavailable, match="no replica"):
                    await committed(each, claim, 1, step("a"))
        finally:
            os.kill(replica.pid, signal.SIGCONT)
        monkeypatch.undo()
        assert (await committed(other, claim, 1, step("a"))).verdict is CommitVerdict.DUP
        with replica.client() as behind:
            assert behind.llen(store._keys.history("a", "r1")) == 1
        assert await unread(other, "b") != []
        await other.close()

    play(master, namespace, scenario)


def test_forgotten_scripts_are_sent_again(pair: tuple[Server, Server], namespace: str) -> None:
    master, replica = pair

    async def scenario(store: RedisStore) -> None:
        await replicating(master, replica)
        claim = await claimed(store, "a")
        for sequence in (1, 2):
            with master.client() as client:
                client.script_flush()
            assert (await committed(store, claim, sequence, step("a", sequence - 1))).verdict is CommitVerdict.OK

    play(master, namespace, scenario)


def test_the_replica_that_takes_over_has_it_all(pair: tuple[Server, Server], namespace: str) -> None:
    master, replica = pair

    async def scenario(store: RedisStore) -> None:
        await replicating(master, replica)
        claim = await claimed(store, "a")
        await committed(store, claim, 1, step("a", outbox=(b"x",)))
        master.kill()
        with replica.client() as client:
            client.replicaof("NO", "ONE")
        heir = await RedisStore.connect(replica.url, namespace)
        assert await heir.history("a", "r1") == [b"r1/0"]
        assert (await committed(heir, claim, 1, step("a"))).verdict is CommitVerdict.DUP
        assert (await committed(heir, claim, 2, step("a", 1))).verdict is CommitVerdict.OK
        await heir.close()

    play(master, namespace, scenario)


@pytest.mark.parametrize(
    ("url", "said", "expected"),
    [
        ("redis://h:1/0", None, ("redis://h:1/0", "strict")),
        ("redis://h:1/0", "fast", ("redis://h:1/0", "fast")),
        ("redis://h:1/0?durability=ha", None, ("redis://h:1/0", "ha")),
        ("redis://u:p%40@h/0?x=1%2F&durability=fast&y=", None, ("redis://u:p%40@h/0?x=1%2F&y=", "fast")),
        ("unix:///a%20b.sock?durability=ha&db=2", "strict", ("unix:///a%20b.sock?db=2", "strict")),
        ("rediss://h?x=a+b", None, ("rediss://h?x=a+b", "strict")),
    ],
)
def test_a_mode_is_said_or_stands_in_the_url(url: str, said: str | None, expected: tuple[str, str]) -> None:
    assert durability_of(url, said) == expected  # type: ignore[arg-type]


def test_there_is_no_other_mode(own_server: Server) -> None:
    with pytest.raises(InvalidArgument, match="strict, fast, ha"):
        asyncio.run(RedisStore.connect(f"{own_server.url}?durability=best"))
