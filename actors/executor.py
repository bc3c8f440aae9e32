"""The engine's way to the workers: batches of tasks to the dispatcher of their queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from actors.calls import GONE, Absent, Background, Lane, Peer
from actors.names import dispatcher_name
from sagas.engine.steps import StepKey, StepReport, StepTask, encode_tasks

log = logging.getLogger("sagas.actors")

_AGAIN_S = 0.1


class PoolExecutor:
    """Hands attempts to dispatchers. Their queues are soft state: what a dead one held is handed over again."""

    def __init__(self, host: str, namespace: str, owns: Callable[[str], bool]) -> None:
        """``owns`` says whether an instance is still this host's; the steps of others are for their owners to make."""
        self._host = host
        self._owns = owns
        self._namespace = namespace
        self._queues: dict[str, _Queue] = {}
        self._background = Background()
        self._closed = False

    def dispatch(self, tasks: Sequence[StepTask]) -> None:
        for queue, batch in _by_queue(tasks).items():
            self._queue(queue).submit(batch)

    async def adopt(self, tasks: Sequence[StepTask]) -> set[StepKey]:
        """Those that workers run, or have reports on: they will tell this host."""
        answers = [self._queue(queue).adopt(batch) for queue, batch in _by_queue(tasks).items()]
        return set().union(*await asyncio.gather(*answers))

    def settled(self, reports: Sequence[StepReport]) -> None:
        """These attempts are over: they need not be handed over again."""
        for report in reports:
            for queue in self._queues.values():
                task = queue.open.get(report.key)
                if task is not None and task.attempt <= report.attempt:
                    del queue.open[report.key]

    def cancel(self, keys: Sequence[StepKey]) -> None:
        for queue in self._queues.values():
            if named := [tuple(key) for key in keys if key in queue.open]:
                self._background.start(queue.insist("cancel", named))

    async def close(self) -> None:
        self._closed = True
        await self._background.cancel()

    def _queue(self, name: str) -> _Queue:
        if name not in self._queues:
            peer = Peer(dispatcher_name(name), self._namespace)
            self._queues[name] = _Queue(self._host, peer, self._background, self._owns, lambda: self._closed)
        return self._queues[name]


class _Queue:
    """One queue: its dispatcher, and what it was handed and has not been reported on."""

    def __init__(
        self,
        host: str,
        peer: Peer,
        background: Background,
        owns: Callable[[str], bool],
        closed: Callable[[], bool],
    ) -> None:
        self.open: dict[StepKey, StepTask] = {}
        self._host = host
        self._peer = peer
        self._owns = owns
        self._closed = closed
        self._lane: Lane[StepTask] = Lane(background, self._send)
        background.start(self._watch())

    def submit(self, tasks: Sequence[StepTask]) -> None:
        self.open.update((task.key, task) for task in tasks)
        self._lane.put(tasks)

    async def adopt(self, tasks: Sequence[StepTask]) -> set[StepKey]:
        rows = [(*task.key, task.attempt) for task in tasks]
        while not self._closed():
            try:
                known = [tasks[index] for index in await self._peer.call("adopt", self._host, rows)]
            except Absent:
                return set()  # a queue without workers: nobody can have them
            except GONE:
                await asyncio.sleep(_AGAIN_S)  # its successor asks the workers
            else:
                self.open.update((task.key, task) for task in known)
                return {task.key for task in known}
        return set()

    async def insist(self, method: str, *args: object) -> None:
        """Call the dispatcher until it, or its successor, has answered."""
        await self._peer.insist(method, *args, until=self._closed)

    async def _send(self, tasks: list[StepTask]) -> None:
        await self.insist("submit", self._host, encode_tasks(tasks))

    async def _watch(self) -> None:
        """When the dispatcher dies, hand everything that is open to its successor; workers drop what they have."""
        while not self._closed():
            try:
                await self._peer.call("live")
            except GONE:
                await self.insist("start")  # there is one again
                self.open = {key: task for key, task in self.open.items() if self._owns(key.id)}
                self._lane.put(list(self.open.values()))


def _by_queue(tasks: Sequence[StepTask]) -> dict[str, list[StepTask]]:
    found: dict[str, list[StepTask]] = {}
    for task in tasks:
        found.setdefault(task.queue, []).append(task)
    return found
