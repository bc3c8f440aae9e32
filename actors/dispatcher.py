"""The dispatcher of one queue as a Ray actor: which step goes to which worker, by credits.

Law: its queue is soft state. Hosts hand over again what it forgot, workers recognise what they have; what it alone
knows, which tasks died with a worker, it tells the hosts at once. A step is at one worker at a time: an attempt that a
host believes lost, while its worker lives, is adopted and not made again.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import OrderedDict
from typing import Any

from actors.calls import GONE, Peer
from actors.names import ray_namespace
from actors.settings import ClusterSettings
from actors.worker import REMEMBERED
from compensations import Outcome
from sagas.engine.steps import StepKey, StepReport, StepTask, decode_tasks, encode_reports, encode_tasks
from sagas.kernel.failure import Failure


class _Worker:
    """A worker as its dispatcher sees it. A ``retiring`` one finishes what it has; one not ``up`` gets nothing yet."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.tasks: dict[StepKey, tuple[str, StepTask]] = {}
        self.retiring = False
        self.up = False


class DispatcherActor:
    """Keeps every worker busy up to its credits; higher priority first, then in order of arrival."""

    def __init__(self, settings: ClusterSettings) -> None:
        self._namespace = ray_namespace(settings.namespace)
        self._credits = settings.credits
        self._workers: dict[str, _Worker] = {}
        self._queue: list[tuple[int, int, str, StepTask]] = []
        self._queued: dict[StepKey, int] = {}  # -> the attempt
        self._succeeded: OrderedDict[StepKey, str] = OrderedDict()  # -> the worker that knows the result
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
        """The queue's workers from now on. One that is left out finishes what it has and gets nothing more."""
        for name in names:
            if name not in self._workers:
                worker = self._workers[name] = _Worker(Peer(name, self._namespace))
                self._background(self._watch(name, worker))
        for name, worker in self._workers.items():
            worker.retiring = name not in names
        self._pump()

    async def submit(self, host: str, blob: bytes) -> None:
        """Attempts to be made for ``host``. One of a step that some worker knows goes to that worker, which answers."""
        for task in decode_tasks(blob):
            worker = self._knows(task.key)
            if worker is not None:
                worker.tasks[task.key] = (host, task)
                self._background(self._send(worker, host, [task]))
            elif self._queued.get(task.key, 0) < task.attempt:
                self._withdraw({task.key})
                self._queued[task.key] = task.attempt
                heapq.heappush(self._queue, (-task.priority, next(self._order), host, task))
        self._pump()

    async def done(self, name: str, ended: list[tuple[StepKey, int, bool]]) -> None:
        """A worker has ended these attempts (and whether with success): it has credits again."""
        worker = self._workers.get(name)
        for key, attempt, success in ended:
            if success:
                self._succeeded[key] = name
            if worker is not None and key in worker.tasks and worker.tasks[key][1].attempt <= attempt:
                del worker.tasks[key]
        while len(self._succeeded) > REMEMBERED:
            self._succeeded.popitem(last=False)
        self._pump()

    async def cancel(self, keys: list[tuple[str, str, int]]) -> None:
        """Stop attempts, wherever they are; one that still waits here reports that it never ran."""
        wanted = {StepKey(*key) for key in keys}
        for host, task in self._withdraw(wanted):
            self._tell(host, [_ended(task, Failure.cancelled(Outcome.NONE), never_ran=True)])
        for worker in self._workers.values():
            held = [tuple(key) for key in wanted if key in worker.tasks]
            if held:
                self._background(worker.peer.insist("cancel", held, until=self._stopped.is_set))

    def _withdraw(self, keys: set[StepKey]) -> list[tuple[str, StepTask]]:
        """Take what has not been handed out yet from the queue."""
        if keys.isdisjoint(self._queued):
            return []
        withdrawn = [(host, task) for _, _, host, task in self._queue if task.key in keys]
        self._queue = [entry for entry in self._queue if entry[3].key not in keys]
        heapq.heapify(self._queue)
        for _, task in withdrawn:
            del self._queued[task.key]
        return withdrawn

    def _knows(self, key: StepKey) -> _Worker | None:
        """The worker that runs the step, or has its result."""
        holder = next((worker for worker in self._workers.values() if key in worker.tasks), None)
        return holder or self._workers.get(self._succeeded.get(key, ""))

    def _pump(self) -> None:
        """Hand out what there are credits for: to the worker with the fewest tasks, in one call a worker and host."""
        batches: dict[tuple[str, str], list[StepTask]] = {}
        workers = [(name, worker) for name, worker in self._workers.items() if worker.up and not worker.retiring]
        while self._queue and workers:
            name, worker = min(workers, key=lambda item: len(item[1].tasks))
            if len(worker.tasks) >= self._credits:
                break
            _, _, host, task = heapq.heappop(self._queue)
            del self._queued[task.key]
            worker.tasks[task.key] = (host, task)
            batches.setdefault((name, host), []).append(task)
        for (name, host), tasks in batches.items():
            self._background(self._send(self._workers[name], host, tasks))

    async def _send(self, worker: _Worker, host: str, tasks: list[StepTask]) -> None:
        try:
            await worker.peer.call("run", host, encode_tasks(tasks))
        except GONE:
            self._lose(worker)

    async def _watch(self, name: str, worker: _Worker) -> None:
        """Know at once when the worker's process dies; Ray restarts it, and it gets new work then."""
        while not self._stopped.is_set():
            try:
                await worker.peer.call("describe")
                worker.up = True
                self._pump()
                await worker.peer.call("live")
            except GONE:
                worker.up = False
                self._lose(worker)
            if worker.retiring:
                del self._workers[name]
                return
            await asyncio.sleep(0.1)

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
