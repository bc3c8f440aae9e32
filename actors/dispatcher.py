"""The dispatcher of one queue as a Ray actor: which step goes to which worker, by credits.

Law: its queue is soft state. Hosts hand over again what it forgot, workers recognise what they have; what it alone
knows, which tasks died with a worker, it tells the hosts at once.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Any

from actors.calls import GONE, Peer
from actors.names import ray_namespace
from actors.settings import ClusterSettings
from compensations import Outcome
from sagas.engine.steps import StepKey, StepReport, StepTask, decode_tasks, encode_reports, encode_tasks
from sagas.kernel.failure import Failure


class _Worker:
    """A worker as its dispatcher sees it."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.tasks: dict[StepKey, tuple[str, StepTask]] = {}


class DispatcherActor:
    """Keeps every worker busy up to its credits; higher priority first, then in order of arrival."""

    def __init__(self, settings: ClusterSettings) -> None:
        self._namespace = ray_namespace(settings.namespace)
        self._credits = settings.credits
        self._workers: dict[str, _Worker] = {}
        self._queue: list[tuple[int, int, str, StepTask]] = []
        self._queued: set[tuple[StepKey, int]] = set()
        self._order = itertools.count()
        self._hosts: dict[str, Peer] = {}
        self._calls: set[asyncio.Task[Any]] = set()
        self._stopped = asyncio.Event()

    async def start(self) -> None:
        """Nothing to do: it begins empty."""

    async def live(self) -> None:
        """Returns when it was stopped; a call that fails tells its caller at once that the process died."""
        await self._stopped.wait()

    async def stop(self) -> None:
        """No more work will come."""
        self._stopped.set()

    async def workers(self, names: list[str]) -> None:
        """The queue's workers from now on. One that is left out gets nothing more."""
        for name in names:
            if name not in self._workers:
                self._workers[name] = _Worker(Peer(name, self._namespace))
                self._background(self._watch(name))
        for name in [name for name in self._workers if name not in names]:
            del self._workers[name]
        self._pump()

    async def submit(self, host: str, blob: bytes) -> None:
        """Attempts to be made for ``host``."""
        for task in decode_tasks(blob):
            if (task.key, task.attempt) in self._queued or self._holder(task.key) is not None:
                continue
            self._queued.add((task.key, task.attempt))
            heapq.heappush(self._queue, (-task.priority, next(self._order), host, task))
        self._pump()

    async def done(self, worker: str, keys: list[tuple[str, str, int]]) -> None:
        """A worker has ended these attempts: it has credits again."""
        known = self._workers.get(worker)
        if known is not None:
            for key in keys:
                known.tasks.pop(StepKey(*key), None)
            self._pump()

    async def cancel(self, keys: list[tuple[str, str, int]]) -> None:
        """Stop attempts, wherever they are; one that still waits here reports that it never ran."""
        wanted = {StepKey(*key) for key in keys}
        withdrawn = [(host, task) for _, _, host, task in self._queue if task.key in wanted]
        self._queue = [entry for entry in self._queue if entry[3].key not in wanted]
        heapq.heapify(self._queue)
        for host, task in withdrawn:
            self._queued.discard((task.key, task.attempt))
            self._tell(host, [_ended(task, Failure.cancelled(Outcome.NONE), never_ran=True)])
        for worker in self._workers.values():
            held = [tuple(key) for key in wanted if key in worker.tasks]
            if held:
                self._background(worker.peer.insist("cancel", held, until=self._stopped.is_set))

    def _holder(self, key: StepKey) -> _Worker | None:
        return next((worker for worker in self._workers.values() if key in worker.tasks), None)

    def _pump(self) -> None:
        """Hand out what there are credits for: to the worker with the fewest tasks, in one call a worker and host."""
        batches: dict[tuple[str, str], list[StepTask]] = {}
        while self._queue and self._workers:
            name, worker = min(self._workers.items(), key=lambda item: len(item[1].tasks))
            if len(worker.tasks) >= self._credits:
                break
            _, _, host, task = heapq.heappop(self._queue)
            self._queued.discard((task.key, task.attempt))
            worker.tasks[task.key] = (host, task)
            batches.setdefault((name, host), []).append(task)
        for (name, host), tasks in batches.items():
            self._background(self._send(self._workers[name], host, tasks))

    async def _send(self, worker: _Worker, host: str, tasks: list[StepTask]) -> None:
        try:
            await worker.peer.call("run", host, encode_tasks(tasks))
        except (*GONE, ValueError):
            self._lose(worker)

    async def _watch(self, name: str) -> None:
        """Know at once when the worker's process dies; Ray restarts it, and it gets new work then."""
        while name in self._workers and not self._stopped.is_set():
            worker = self._workers[name]
            try:
                await worker.peer.call("live")
            except (*GONE, ValueError):
                self._lose(worker)
                await asyncio.sleep(0.1)
            else:
                return

    def _lose(self, worker: _Worker) -> None:
        lost, worker.tasks = worker.tasks, {}
        by_host: dict[str, list[StepReport]] = {}
        for host, task in lost.values():
            by_host.setdefault(host, []).append(_ended(task, Failure.lost("its worker died"), never_ran=False))
        for host, reports in by_host.items():
            self._tell(host, reports)

    def _tell(self, host: str, reports: list[StepReport]) -> None:
        peer = self._hosts.setdefault(host, Peer(host, self._namespace))
        self._background(peer.insist("deliver", encode_reports(reports), until=self._stopped.is_set))

    def _background(self, work: Any) -> None:
        call = asyncio.get_running_loop().create_task(work)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)


def _ended(task: StepTask, failure: Failure, *, never_ran: bool) -> StepReport:
    now_ms = time.time_ns() // 1_000_000
    return StepReport(task.id, task.run_id, task.step, task.attempt, None, failure, now_ms, now_ms, never_ran)
