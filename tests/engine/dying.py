"""A host as a process of its own whose saga may kill it: ``python -m tests.engine.dying URL NAMESPACE FOLDER HOW``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import sagas
from sagas import Client, SagaParked
from sagas.engine.attempt import AttemptRunner
from sagas.engine.clock import SystemClock
from sagas.engine.executor import InProcessExecutor
from sagas.engine.host import Host, HostSettings
from sagas.kernel.registry import Registry
from sagas.store.redis import RedisStore

HOW = {"kill": lambda: os.kill(os.getpid(), signal.SIGKILL), "exit": lambda: os._exit(3), "mended": lambda: None}


@sagas.saga
async def poison() -> int:
    with sagas.unguarded():
        HOW[sys.argv[4]]()
    return 7


@sagas.saga
async def harmless() -> int:
    return 1


async def main(url: str, namespace: str, folder: str, how: str) -> None:
    store = await RedisStore.connect(url, namespace)
    registry, clock = Registry(), SystemClock()
    registry.add(poison)
    registry.add(harmless)
    host = Host(
        store, registry, clock, HostSettings(owner=f"host-{os.getpid()}", lease_ms=300, slots=Path(folder, "slots"))
    )
    executor = InProcessExecutor(AttemptRunner(registry, clock, 1), host.deliver)
    client = Client(await RedisStore.connect(url, namespace))
    handle = await client.start(poison, id="poison", on_conflict="use_existing")
    await host.start(executor)
    if how == "mended":
        await handle.resume()
    try:
        said = str(await handle.result())
    except SagaParked as error:
        said = f"{error.reason}\n{await client.execute(harmless, id='harmless')}"
    sys.stdout.write(said)
    await host.stop()
    await executor.close()
    await client.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
