"""What every command about instances begins with: the store at the URL that the operator means, and a client of it."""

from __future__ import annotations

import argparse
import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from sagas.client import Client
from sagas.connection import open_store
from sagas.server.url import resolve_url
from sagas.store.port import Store

T = TypeVar("T")

_NOT_TAKEN_S = 3.0


@asynccontextmanager
async def opened(args: argparse.Namespace) -> AsyncGenerator[tuple[Client, Store]]:
    """A client, and its store for what a client does not ask. Raises: StoreUnavailable, UnsafeStore."""
    store = await open_store(resolve_url(args.url, args.data), args.namespace)
    async with Client(store) as client:
        yield client, store


async def no_host(store: Store, namespace: str) -> str:
    """In words that no host is up, and what to do; "" when one is."""
    # Leaving (0 ms) as somebody who never came changes nothing, and tells who is there.
    if await store.members(f"cli-{uuid.uuid4().hex}", 0):
        return ""
    return (
        f"no host is running in namespace {namespace!r}, so nothing moves: start one with `sagas dev MODULE`, "
        "or `sagas up MODULE`"
    )


async def taken(answer: Awaitable[T]) -> T | None:
    """The answer, or None when no host has taken the instance in yet: until then there is nothing to tell of it."""
    try:
        async with asyncio.timeout(_NOT_TAKEN_S):
            return await answer
    except TimeoutError:
        return None
