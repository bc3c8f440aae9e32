"""Connections to what is durable: a store for a host, a client for a user."""

from __future__ import annotations

from sagas.client import Client
from sagas.server.url import resolve_url
from sagas.store.port import Store


async def open_store(url: str, namespace: str) -> Store:
    """A connection to the Redis at ``url``.

    Raises: StoreUnavailable when nothing answers there; UnsafeStore when it would lose data as it is configured.
    """
    from sagas.server.doctor import require_safe
    from sagas.store.redis import RedisStore

    await require_safe(url)
    return await RedisStore.connect(url, namespace=namespace)


async def connect(url: str | None = None, namespace: str = "default") -> Client:
    """A client of the instances in the Redis at ``url``, else at SAGAS_URL, else where ``sagas dev`` runs.

    Whether a host is up does not matter. Close it with ``await client.close()`` or use it in ``async with``.
    Raises: StoreUnavailable, UnsafeStore.
    """
    return Client(await open_store(resolve_url(url), namespace))
