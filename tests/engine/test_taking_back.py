"""A host that loses a shard and gets it back asks again for the steps it had under way there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import sagas
from sagas.client import Client
from sagas.engine.clock import SystemClock
from sagas.engine.host import Host, HostSettings
from sagas.engine.steps import StepKey, StepTask
from sagas.kernel.registry import Registry
from sagas.kernel.saga import saga_type_of
from sagas.store.keys import shard_of
from sagas.store.memory import MemoryStore


@sagas.activity
async def never_reports() -> None: ...


@sagas.saga
async def flow() -> None:
    await never_reports()


class Dispatched:
    """An executor that only writes down what it was given: its reports went to another host."""

    def __init__(self) -> None:
        self.attempts: list[int] = []
        self.known: set[StepKey] = set()
        self.came = asyncio.Event()

    def dispatch(self, tasks: Sequence[StepTask]) -> None:
        self.attempts += [task.attempt for task in tasks]
        self.came.set()

    def in_process(self, task: StepTask) -> bool:
        return False

    async def adopt(self, tasks: Sequence[StepTask]) -> set[StepKey]:
        return self.known.intersection(task.key for task in tasks)

    def cancel(self, keys: Sequence[StepKey]) -> None: ...

    async def close(self) -> None: ...


def test_a_step_under_way_when_the_shard_was_lost_is_asked_for_again() -> None:
    async def scenario() -> None:
        clock = SystemClock()
        store = MemoryStore(clock=clock.now_ms)
        registry = Registry()
        registry.add_type(saga_type_of(flow))
        registry.learn(never_reports)
        host = Host(store, registry, clock, HostSettings(owner="host", lease_ms=None))
        executor = Dispatched()
        await host.start(executor)
        try:
            async with Client(store) as client, asyncio.timeout(30):
                await client.start(flow, id="f")
                await executor.came.wait()
                assert executor.attempts == [1]
                number = shard_of("f")
                await store.release(await host.give_up({number}), "host")
                executor.came.clear()
                claim = await store.claim(number, "host", 60_000)
                assert claim is not None
                await host.take(claim)
                await executor.came.wait()
                assert executor.attempts == [1, 2]
        finally:
            await host.stop(grace_s=0.01)

    asyncio.run(scenario())
