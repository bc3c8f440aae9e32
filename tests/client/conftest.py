"""Fixtures: a host in a thread of its own, and a synchronous client of what it runs."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Iterator

import pytest

import sagas
from sagas import SyncClient
from tests.client import shop


async def _run_host(url: str, namespace: str, ending: concurrent.futures.Future[threading.Event]) -> None:
    async with sagas.embedded(url, modules=[shop], namespace=namespace):
        asked = threading.Event()
        ending.set_result(asked)
        await asyncio.to_thread(asked.wait)


@pytest.fixture
def host(debian_redis_url: str, namespace: str) -> Iterator[None]:
    """Somebody who runs the namespace's sagas."""
    ending: concurrent.futures.Future[threading.Event] = concurrent.futures.Future()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(asyncio.run, _run_host(debian_redis_url, namespace, ending))
        concurrent.futures.wait((running, ending), return_when=concurrent.futures.FIRST_COMPLETED)
        if running.done():
            running.result()
        yield
        ending.result().set()
        running.result()


@pytest.fixture
def client(debian_redis_url: str, namespace: str) -> Iterator[SyncClient]:
    with sagas.connect_sync(debian_redis_url, namespace) as client:
        yield client
