"""The engine's way to the workers: batches of tasks to the dispatcher of their queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from actors.calls import GONE, Peer
from actors.names import dispatcher_name
from sagas.engine.steps import StepKey, StepReport, StepTask, encode_tasks


class PoolExecutor:
    """Hands attempts to dispatchers. Their queues are soft state: what a dead one held is handed over again."""

    def __init__(self, host: str, namespace: str, owns: Callable[[str], bool]) -> None:
        """``owns`` says whether an instance is still this host's; the steps of others are for their owners to make."""
        self._host = host
        self._owns = owns
        self._namespace = namespace
        self._open: dict[str, dict[StepKey, StepTask]] = {}
        self._peers: dict[str, Peer] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._closed = False

    def dispatch(self, tasks: Sequence[StepTask]) -> None:
        by_queue: dict[str, list[StepTask]] = {}
        for task in tasks:
            by_queue.setdefault(task.queue, []).append(task)
        for queue, batch in by_queue.items():
            if queue not in self._peers:
                self._peers[queue] = Peer(dispatcher_name(queue), self._namespace)
                self._background(self._watch(queue))
            self._open.setdefault(queue, {}).update((task.key, task) for task in batch)
            self._background(self._submit(queue, batch))

    def settled(self, reports: Sequence[StepReport]) -> None:
        """These attempts are over: they need not be handed over again."""
        for report in reports:
            for tasks in self._open.values():
                task = tasks.get(report.key)
                if task is not None and task.attempt == report.attempt:
                    del tasks[report.key]

    def cancel(self, keys: Sequence[StepKey]) -> None:
        for queue, peer in self._peers.items():
            named = [tuple(key) for key in keys if key in self._open[queue]]
            if named:
                self._background(self._insist(peer, "cancel", named))

    async def close(self) -> None:
        self._closed = True
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    def _stopping(self) -> bool:
        return self._closed

    async def _submit(self, queue: str, tasks: list[StepTask]) -> None:
        await self._insist(self._peers[queue], "submit", self._host, encode_tasks(tasks))

    async def _insist(self, peer: Peer, method: str, *args: object) -> None:
        await peer.insist(method, *args, until=self._stopping)

    async def _watch(self, queue: str) -> None:
        """When the dispatcher dies, hand everything that is open to its successor; workers drop what they have."""
        peer = self._peers[queue]
        while not self._closed:
            try:
                await peer.call("live")
            except GONE:
                await asyncio.sleep(0.1)
                self._open[queue] = {key: task for key, task in self._open[queue].items() if self._owns(key.id)}
                if self._open[queue]:
                    await self._submit(queue, list(self._open[queue].values()))

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        call = asyncio.get_running_loop().create_task(work)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
