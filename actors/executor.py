"""The engine's way to the workers: batches of tasks to the dispatcher of their queue."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from actors.calls import GONE, Absent, Background, Lane, Peer
from actors.names import dispatcher_name
from actors.staffing import Staffing
from sagas.engine.attempt import withdrawn
from sagas.engine.steps import StepKey, StepReport, StepTask, encode_tasks, lost, queue_timed_out

log = logging.getLogger("sagas.actors")

_AGAIN_S = 0.1
_ABSENT_S = 0.5
"""Between two looks for a queue that nobody runs."""


class Owner(Protocol):
    """What the executor asks its host."""

    def epoch(self, id: str) -> int | None:
        """By which epoch it owns the instance's shard; None when it does not (any more)."""
        ...

    def awaits(self, task: StepTask) -> bool:
        """Whether it waits for a report on this very attempt."""
        ...

    async def lost(self, reports: Sequence[StepReport]) -> None:
        """Nobody makes these attempts (any more)."""
        ...

    def unplaced(self, tasks: Iterable[StepTask], why: str) -> None:
        """Nobody makes these attempts yet, because ``why``; "": somebody does now."""
        ...


class PoolExecutor:
    """Hands attempts to dispatchers. Their queues are soft state: what a dead one held is handed over again."""

    def __init__(self, host: str, namespace: str, owner: Owner) -> None:
        self._host = host
        self._namespace = namespace
        self._owner = owner
        self._queues: dict[str, _Queue] = {}
        self._background = Background()
        self.closed = False

    def dispatch(self, tasks: Sequence[StepTask]) -> None:
        for queue, batch in _by_queue(tasks).items():
            self._queue(queue).submit(batch)

    def in_process(self, task: StepTask) -> bool:
        return False

    async def adopt(self, tasks: Sequence[StepTask]) -> set[StepKey]:
        """Those that workers run, or have reports on: they will tell this host."""
        answers = [self._queue(queue).adopt(batch) for queue, batch in _by_queue(tasks).items()]
        return set().union(*await asyncio.gather(*answers))

    def settled(self, reports: Sequence[StepReport]) -> None:
        """These attempts are over: they need not be handed over again."""
        for report in reports:
            for queue in self._queues.values():
                queue.settled(report)

    def cancel(self, keys: Sequence[StepKey]) -> None:
        for queue in self._queues.values():
            if named := [key for key in keys if key in queue.open]:
                self._background.start(queue.cancel(named))

    async def close(self) -> None:
        self.closed = True
        await self._background.cancel()

    def _queue(self, name: str) -> _Queue:
        if name not in self._queues:
            peer = Peer(dispatcher_name(name), self._namespace)
            queue = self._queues[name] = _Queue(self, self._host, peer, self._background, self._owner)
            self._background.start(Staffing(name, peer, queue.open, self._owner).watch(self._is_closed))
        return self._queues[name]

    def _is_closed(self) -> bool:
        return self.closed


class _Queue:
    """One queue: its dispatcher, and what it was handed and has not been reported on."""

    def __init__(self, executor: PoolExecutor, host: str, peer: Peer, background: Background, owner: Owner) -> None:
        self.open: dict[StepKey, StepTask] = {}
        self._given_up: set[StepKey] = set()  # of those: cancelled
        self._untold: set[StepKey] = set()  # of those: no dispatcher has ever heard of them
        self._background = background
        self._executor = executor
        self._host = host
        self._peer = peer
        self._owner = owner
        self._lane: Lane[StepTask] = Lane(background, self._send)
        background.start(self._watch())

    def submit(self, tasks: Sequence[StepTask]) -> None:
        self.open.update((task.key, task) for task in tasks)
        self._untold.update(task.key for task in tasks)
        self._lane.put(tasks)

    def settled(self, report: StepReport) -> None:
        task = self.open.get(report.key)
        if task is not None and task.attempt <= report.attempt:
            del self.open[report.key]
            self._given_up.discard(report.key)
            self._untold.discard(report.key)

    async def cancel(self, keys: list[StepKey]) -> None:
        self._given_up.update(keys)
        await self._lane.flushed()  # a cancel that overtakes its step finds nothing
        rows, settled = [tuple(key) for key in keys], self.open.keys().isdisjoint
        await self._peer.insist("cancel", rows, until=lambda: self._closed() or settled(keys))

    async def adopt(self, tasks: Sequence[StepTask]) -> set[StepKey]:
        """Those that are known, as ``PoolExecutor.adopt``."""
        epochs, tasks = self._owned(tasks)
        rows = [(*task.key, task.attempt) for task in tasks]
        while not self._closed():
            try:
                known = [tasks[index] for index in await self._peer.call("adopt", self._host, epochs, rows)]
            except Absent:
                return set()  # a queue without workers: nobody can have them
            except GONE:
                await asyncio.sleep(_AGAIN_S)  # its successor asks the workers
            else:
                self.open.update((task.key, task) for task in known)
                self._prune()
                return {task.key for task in known}
        return set()

    def _prune(self) -> None:
        """A report may have come by mail, or while its step was being adopted; a shard may be another host's."""
        for task in [task for task in self.open.values() if not self._owner.awaits(task)]:
            del self.open[task.key]
        self._given_up &= self.open.keys()
        self._untold &= self.open.keys()

    def _closed(self) -> bool:
        return self._executor.closed

    async def _insist(self, method: str, *args: object) -> None:
        """Call the dispatcher until it, or its successor, has answered."""
        await self._peer.insist(method, *args, until=self._closed)

    async def _send(self, tasks: list[StepTask]) -> None:
        """Returns once a dispatcher has them, or they are not to be made any more."""
        while not self._closed():
            epochs, owned = self._owned([task for task in tasks if self._is_open(task)])
            if not owned:
                return
            try:
                await self._peer.call("submit", self._host, epochs, encode_tasks(owned))
            except Absent:
                self._end_untold()
                await asyncio.sleep(_ABSENT_S)
            except GONE:
                self._untold.difference_update(task.key for task in owned)  # it may have heard
                await asyncio.sleep(_AGAIN_S)
            else:
                self._untold.difference_update(task.key for task in owned)
                return

    def _is_open(self, task: StepTask) -> bool:
        found = self.open.get(task.key)
        return found is not None and found.attempt == task.attempt

    def _end_untold(self) -> None:
        """There is no such queue: what was cancelled, or has waited too long, has never been begun."""
        now_ms, ended = time.time_ns() // 1_000_000, []
        for key in self._untold:
            task = self.open[key]
            if key in self._given_up:
                ended.append(withdrawn(task))
            elif task.begins_until_ms is not None and task.begins_until_ms <= now_ms:
                ended.append(queue_timed_out(task))
        for report in ended:
            self.settled(report)
        if ended:
            self._background.start(self._owner.lost(ended))

    def _owned(self, tasks: Sequence[StepTask]) -> tuple[list[int], list[StepTask]]:
        """Those of instances that are still this host's, with their epochs."""
        found = [(epoch, task) for task in tasks if (epoch := self._owner.epoch(task.id)) is not None]
        return [epoch for epoch, _ in found], [task for _, task in found]

    async def _watch(self) -> None:
        """When the dispatcher dies, hand everything that is open to its successor; workers drop what they have."""
        while not self._closed():
            try:
                await self._peer.call("live")
            except GONE:
                await self._insist("start")  # there is one again
                await self._hand_over()
            except Exception:
                log.exception("the dispatcher %s cannot be watched, trying again", self._peer.name)
                await asyncio.sleep(1)

    async def _hand_over(self) -> None:
        """Give a new dispatcher what its predecessor had. What must never run twice it only looks for."""
        await self._lane.flushed()
        self._prune()
        tasks = list(self.open.values())
        self._lane.put(task for task in tasks if not task.once)
        once = [task for task in tasks if task.once]
        known = await self.adopt(once) if once else set()
        if unknown := [task for task in once if task.key not in known]:
            await self._owner.lost([lost(task.key, task.attempt, "its worker is gone") for task in unknown])
        if given_up := [key for key in self._given_up if key in self.open]:
            await self.cancel(given_up)


def _by_queue(tasks: Sequence[StepTask]) -> dict[str, list[StepTask]]:
    found: dict[str, list[StepTask]] = {}
    for task in tasks:
        found.setdefault(task.queue, []).append(task)
    return found
