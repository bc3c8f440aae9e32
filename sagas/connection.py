"""Connections to what is durable: a store for a host, a client for a user."""

from __future__ import annotations

import logging

from sagas.client import Client
from sagas.server.url import redact, resolve_url
from sagas.store.port import Store

log = logging.getLogger("sagas")

LOSES_WRITES = frozenset({"appendonly", "appendfsync", "min-replicas-to-write"})
"""Settings that can lose acknowledged writes: said aloud at every connection. The doctor says the rest when asked."""


async def open_store(url: str, namespace: str) -> Store:
    """A connection to the Redis at ``url``; what is unwise about it, in the durability asked for, is logged.

    Raises: StoreUnavailable when nothing answers there; UnsafeStore when it would lose data as it is configured.
    """
    from sagas.server.doctor import require_safe
    from sagas.store.redis import RedisStore
    from sagas.store.redis_durability import durability_of

    _, mode = durability_of(url, None)
    for found in await require_safe(url, mode):
        aloud = logging.WARNING if found.subject in LOSES_WRITES else logging.INFO
        log.log(aloud, "the Redis at %s: %s: %s. Fix: %s", redact(url), found.subject, found.message, found.fix)
    return await RedisStore.connect(url, namespace=namespace)


async def connect(url: str | None = None, namespace: str = "default") -> Client:
    """A client of the instances in the Redis at ``url``, else at SAGAS_URL, else where ``sagas dev`` runs.

    Whether a host is up does not matter. Close it with ``await client.close()`` or use it in ``async with``.
    Raises: StoreUnavailable, UnsafeStore.
    """
    return Client(await open_store(resolve_url(url), namespace))
