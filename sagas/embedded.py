"""``sagas.embedded()``: client, host and workers in one process and one event loop; no Ray."""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from types import ModuleType

from sagas.client import Client
from sagas.connection import open_store
from sagas.engine.attempt import AttemptRunner
from sagas.engine.clock import SystemClock
from sagas.engine.executor import InProcessExecutor
from sagas.engine.host import Host, HostSettings
from sagas.engine.slots import default_folder
from sagas.kernel.duration import Duration, to_ms
from sagas.kernel.registry import Registry
from sagas.modules import load_modules
from sagas.store.memory import MemoryStore
from sagas.store.port import Store
from sagas.telemetry.environment import exporter_from_environment


@asynccontextmanager
async def embedded(
    url: str | None = None,
    modules: Iterable[ModuleType | str] = (),
    *,
    namespace: str = "default",
    residents: int = 1000,
    activation_limit: Duration = 2,
) -> AsyncGenerator[Client]:
    """Run sagas in this process; gives a client.

    ``url`` None keeps everything in memory (gone with the process); a Redis URL makes it durable, and shares the
    namespace's work fairly with every other host there. ``modules``: where sagas and activities are declared; types
    that this client starts are known anyway. ``activation_limit``: how long saga code may run without coming to rest
    until it is broken off; after three times its instance parks.
    Raises: StoreUnavailable, UnsafeStore, DefinitionError.
    """
    clock = SystemClock()
    registry = Registry(load_modules(modules))
    store: Store = MemoryStore(namespace, clock.now_ms) if url is None else await open_store(url, namespace)
    owner = f"embedded-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    settings = HostSettings(
        owner=owner,
        lease_ms=None if url is None else 4000,
        residents=residents,
        activation_limit_s=to_ms(activation_limit, "activation_limit") / 1000,
        slots=None if url is None else default_folder(url, namespace),
    )
    again = None if url is None else functools.partial(open_store, url, namespace)
    host = Host(store, registry, clock, settings, open_store=again, exporter=exporter_from_environment())
    executor = InProcessExecutor(AttemptRunner(registry, clock), host.deliver, host.heard)
    client = Client(store, learn=registry.add_type)
    try:
        await host.start(executor)
        yield client
    finally:
        await host.stop()
        await executor.close()
        await client.close()
