"""Hosts on one memory store in loop time, with executors that a test holds in its hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from sagas.client import Client
from sagas.engine.attempt import AttemptRunner
from sagas.engine.executor import Executor, InProcessExecutor
from sagas.engine.exporting import Exporter
from sagas.engine.host import Host, HostSettings
from sagas.engine.placement import Placement
from sagas.engine.steps import StepKey, StepReport, StepTask
from sagas.kernel.events import Event, decode_chunk
from sagas.kernel.registry import Registry
from sagas.payloads import encode
from sagas.store.head import decode_head
from sagas.store.keys import shard_of
from sagas.store.memory import MemoryStore
from sagas.store.memory_shard import MemoryShard
from sagas.store.port import Head
from tests.simulation.time_skipping import LoopClock, run

PATIENCE_S = 3600.0  # of loop time, which costs nothing


class HeldExecutor:
    """Runs nothing: the test reports for it."""

    def __init__(self) -> None:
        self.tasks: list[StepTask] = []
        self.cancelled: list[StepKey] = []
        self.known: set[StepKey] = set()
        self.closed = False

    def dispatch(self, tasks: Sequence[StepTask]) -> None:
        self.tasks += tasks

    def in_process(self, task: StepTask) -> bool:
        return False

    async def adopt(self, tasks: Sequence[StepTask]) -> set[StepKey]:
        return self.known.intersection(task.key for task in tasks)

    def cancel(self, keys: Sequence[StepKey]) -> None:
        self.cancelled += keys

    async def close(self) -> None:
        self.closed = True


class Rig:
    """The store, the client, and the hosts that a test starts."""

    def __init__(self, *known: Any, store: MemoryStore | None = None) -> None:
        self.known = known
        self.clock = LoopClock()
        self.store = store or MemoryStore(clock=self.clock.now_ms)
        self.client = Client(self.store)
        self.hosts: list[tuple[Host, Executor]] = []

    async def host(
        self,
        *known: Any,
        held: HeldExecutor | None = None,
        exporter: Exporter | None = None,
        placement: Placement | None = None,
        **settings: Any,
    ) -> Host:
        """Start one more host; it knows ``known``, or all that the rig knows."""
        registry = Registry()
        for definition in known or self.known:
            registry.add(definition)
        of = HostSettings(owner=f"host-{len(self.hosts)}", lease_ms=3000, mail_block_ms=300)
        host = Host(self.store, registry, self.clock, _with(of, settings), exporter=exporter, placement=placement)
        executor = held or InProcessExecutor(AttemptRunner(registry, self.clock, 1), host.deliver, host.heard)
        self.hosts.append((host, executor))
        await host.start(executor)
        return host

    async def kill(self, host: Host) -> None:
        """As a crash: its steps go with it."""
        host.kill()
        for each, executor in self.hosts:
            if each is host:
                await executor.close()

    async def close(self) -> None:
        for host, executor in self.hosts:
            host.kill()
            await executor.close()
        await self.client.close()

    # --- what the store holds

    def shard(self, id: str) -> MemoryShard:
        return self.store._shards[shard_of(id)]

    def head(self, id: str) -> Head:
        return decode_head(self.shard(id).heads[id])

    def history(self, id: str) -> list[Event]:
        return [event for chunk in self.shard(id).histories[id, self.head(id).run_id] for event in decode_chunk(chunk)]

    def kinds(self, id: str) -> list[str]:
        """Kinds of the events of its present run; none before there is one."""
        return [type(event).__name__ for event in self.history(id)] if id in self.shard(id).heads else []


def _with(settings: HostSettings, changes: dict[str, Any]) -> HostSettings:
    values = {name: getattr(settings, name) for name in settings.__dataclass_fields__}
    return HostSettings(**(values | changes))


async def until(holds: Callable[[], object]) -> None:
    """Let the loop go on until it holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.01)


def done(task: StepTask, value: Any = None) -> StepReport:
    return StepReport(*task.key, task.attempt, encode(value), None, 0, 0)


def play(scenario: Callable[[Rig], Awaitable[None]], *known: Any, store: MemoryStore | None = None) -> None:
    """Run a scenario on a rig of its own, in loop time."""

    async def main() -> None:
        rig = Rig(*known, store=store)
        try:
            await _awaited(scenario(rig))
        finally:
            await rig.close()

    run(main())


def _awaited(work: Awaitable[None]) -> Coroutine[Any, Any, None]:
    async def awaited() -> None:
        await work

    return awaited()
