"""The dispatcher of one queue as a Ray actor: which step goes to which worker, by credits.

Law: its queue is soft state. Hosts hand over again what it forgot, and a new dispatcher asks the workers what they have
before it hands anything out; what it alone knows, which tasks died with a worker, it tells the hosts at once. A
step is at one worker at a time: an attempt that a host knows nothing of, while its worker lives, is adopted. Workers
keep the timeouts of what they run; the dispatcher those of what waits here, and of what is at a worker that is silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
import time
from collections import OrderedDict
from typing import NamedTuple

from actors.calls import AWAY, GONE, Background, Lane, Peer, original
from actors.garbage import collect_less_often
from actors.names import ray_namespace
from actors.pings import SILENT_S, Pings
from actors.reporting import REMEMBERED
from actors.settings import ClusterSettings
from sagas.engine.attempt import withdrawn
from sagas.engine.steps import (
    StepKey,
    StepReport,
    StepTask,
    decode_tasks,
    encode_reports,
    encode_tasks,
    lost,
    queue_timed_out,
    timed_out,
)
from sagas.store.keys import shard_of

log = logging.getLogger("sagas.actors")

_AGAIN_S = 0.1

_ADOPTION_S = 5.0
"""How long a worker may take to say what it has; one that does not is not waited for."""

_LISTEN_S = 1.0

_HOST_AWAY_S = 30.0
"""After this the leases of a host that does not answer have long run out, and its successor asks what is known."""


class _Handed(NamedTuple):
    """A task on its way to a worker: to be made there, or (``passed_on``) to be answered with what is known there."""

    host: str
    task: StepTask
    passed_on: bool = False
    process: str = ""


class _Held(NamedTuple):
    """An attempt at a worker, and the host to be told. ``limit_ms``: how long it may be silent, None for ever."""

    host: str
    attempt: int
    limit_ms: int | None = None
    which: str = ""  # the timeout that this reaches
    since_s: float = 0.0  # of this process's monotonic clock


class _Worker:
    """A worker as its dispatcher sees it. A ``retiring`` one finishes what it has; one not ``up`` gets nothing yet."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.pings = Pings(peer)
        self.silent = False
        self.tasks: dict[StepKey, _Held] = {}
        self.lane: Lane[_Handed]
        self.process = ""  # which of its processes the tasks were given to
        self.asked = asyncio.Event()  # it has said what it holds, or it is away and holds nothing
        self.retiring = False
        self.up = False
        self.failing = ""  # why it is not, as it says itself

    @property
    def takes_work(self) -> bool:
        return self.up and not self.retiring and not self.silent


class _Ended(NamedTuple):
    """The last attempt of a step that has ended, and where its outcome is known. A success ends the later ones too."""

    worker: str
    attempt: int
    success: bool
    host: str  # that was to be told


class DispatcherActor:
    """Keeps every worker busy up to its credits; higher priority first, then in order of arrival."""

    def __init__(self, queue: str, settings: ClusterSettings) -> None:
        self._namespace = ray_namespace(settings.namespace)
        self._credits = settings.queues[queue].concurrency
        self._workers: dict[str, _Worker] = {}
        self._informed = asyncio.Event()  # what the workers had when this process began is known
        self._queue: list[tuple[int, int, str, StepTask]] = []
        self._queued: dict[StepKey, int] = {}  # -> the attempt
        self._alarms: dict[StepKey, asyncio.TimerHandle] = {}  # of those: when they have waited too long
        self._late: set[StepKey] = set()  # of those: they have
        self._epochs: dict[int, int] = {}  # of shards: of the latest owner that was heard of
        self._ended: OrderedDict[StepKey, _Ended] = OrderedDict()
        self._order = itertools.count()
        self._hosts: dict[str, Peer] = {}
        self._background = Background()
        self._stopped = asyncio.Event()

    async def start(self) -> None:
        """It begins empty."""
        collect_less_often()

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
                self._workers[name] = self._hired(name)
        for name, worker in self._workers.items():
            worker.retiring = name not in names
        if not self._informed.is_set():
            self._background.start(self._gather_knowledge())
        self._pump()

    async def staffed(self) -> tuple[bool, str]:
        """Whether there is a worker (one that died comes back), or there may be: nobody has said yet which.

        With False: why those that there are take nothing, "" when there are none.
        """
        known = [worker for worker in self._workers.values() if worker.process and not worker.retiring]
        failing = [worker.failing for worker in known if worker.failing and not worker.up]
        if known and len(failing) == len(known):
            return False, f"none of its {len(known)} workers takes steps: {failing[0]}"
        return bool(known) or not self._informed.is_set(), ""

    async def _gather_knowledge(self) -> None:
        """This process may be the successor of one that died; workers that are added later begin with nothing."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ADOPTION_S):
                for worker in list(self._workers.values()):
                    await worker.asked.wait()
        self._informed.set()
        self._pump()

    def _hired(self, name: str) -> _Worker:
        worker = _Worker(Peer(name, self._namespace))

        async def send(batch: list[_Handed]) -> None:
            await self._send(worker, batch)

        worker.lane = Lane(self._background, send)
        self._background.start(self._watch(name, worker))
        self._background.start(self._listen(name, worker))
        return worker

    async def submit(self, host: str, epochs: list[int], blob: bytes) -> None:
        """Attempts to be made for ``host``, each by its shard's epoch.

        One of a step that some worker knows goes to that worker, which answers. One of an owner that another has
        followed (it was frozen on its way to say so) is that owner's no more.
        """
        await self._informed.wait()
        for epoch, task in zip(epochs, decode_tasks(blob), strict=True):
            if self._is_succeeded(task.id, epoch):
                continue
            key = task.key
            worker = self._holder(key, task.attempt)
            if worker is not None:
                worker.tasks[key] = _held(host, task)
                worker.lane.put([_Handed(host, task, passed_on=True, process=worker.process)])
            elif (queued := self._queued.get(key, 0)) < task.attempt:
                if queued:
                    self._withdraw({key})
                self._enqueue(host, task)
        self._pump()

    def _enqueue(self, host: str, task: StepTask) -> None:
        self._queued[task.key] = task.attempt
        heapq.heappush(self._queue, (-task.priority, next(self._order), host, task))
        if task.begins_until_ms is not None:
            left_s = max(0.0, task.begins_until_ms / 1000 - time.time())
            self._alarms[task.key] = asyncio.get_running_loop().call_later(left_s, self._waited_too_long, task.key)

    def _dequeued(self, key: StepKey) -> None:
        del self._queued[key]
        if (alarm := self._alarms.pop(key, None)) is not None:
            alarm.cancel()

    def _waited_too_long(self, key: StepKey) -> None:
        """Those of one instant are taken out together: each time costs a look at the whole queue."""
        if not self._late:
            asyncio.get_running_loop().call_soon(self._drop_late)
        self._late.add(key)

    def _drop_late(self) -> None:
        late, self._late = self._late, set()
        by_host: dict[str, list[StepReport]] = {}
        for host, task in self._withdraw(late):
            by_host.setdefault(host, []).append(queue_timed_out(task))
        for host, reports in by_host.items():
            self._tell(host, reports)

    def _is_succeeded(self, id: str, epoch: int) -> bool:
        """Whether a later owner than that of ``epoch`` was heard of; else this one is the latest."""
        shard = shard_of(id)
        if epoch < self._epochs.get(shard, 0):
            return True
        self._epochs[shard] = epoch
        return False

    async def adopt(self, host: str, epochs: list[int], attempts: list[tuple[str, str, int, int]]) -> list[int]:
        """Which of these (id, run, step, attempt), by index, will be reported to ``host``.

        They wait here, or are on their way to a worker, or some worker runs them or has ended them.
        """
        await self._informed.wait()
        for epoch, (id, *_) in zip(epochs, attempts, strict=True):
            self._is_succeeded(id, epoch)
        rows = {(StepKey(*row[:3]), row[3]): index for index, row in enumerate(attempts)}
        known = self._rehome_queued(host, rows)
        workers = list(self._workers.values())
        processes = [worker.process for worker in workers]
        answers = await asyncio.gather(*(self._asked(worker, host, attempts) for worker in workers))
        for worker, process, indexes in zip(workers, processes, answers, strict=True):
            if worker.process == process:  # else it has died since, and nobody knows what it knew
                known.update(indexes)
        for worker in workers:  # what was handed out counts, whatever the worker has answered
            for key, held in worker.tasks.items():
                if (index := rows.get((key, held.attempt))) is not None:
                    worker.tasks[key] = held._replace(host=host)
                    known.add(index)
        known |= self._rehome_queued(host, rows)
        return sorted(known)

    def _rehome_queued(self, host: str, rows: dict[tuple[StepKey, int], int]) -> set[int]:
        found: set[int] = set()
        for place, (priority, order, _, task) in enumerate(self._queue):
            if (index := rows.get((task.key, task.attempt))) is not None:
                self._queue[place] = (priority, order, host, task)
                found.add(index)
        return found

    async def _asked(self, worker: _Worker, host: str, attempts: list[tuple[str, str, int, int]]) -> list[int]:
        try:
            async with asyncio.timeout(_ADOPTION_S):
                found: list[int] = await worker.peer.call("adopt", host, attempts)
                return found
        except (*GONE, TimeoutError):
            return []

    async def done(self, name: str, ended: list[tuple[str, str, int, int, bool]]) -> None:
        """A worker has ended these (id, run, step, attempt, whether with success): it has credits again."""
        worker = self._workers.get(name)
        for id, run_id, step, attempt, success in ended:
            key = StepKey(id, run_id, step)
            held = None if worker is None else worker.tasks.get(key)
            self._ended[key] = _Ended(name, attempt, success, "" if held is None else held.host)
            self._ended.move_to_end(key)
            if worker is not None and held is not None and held.attempt <= attempt:
                del worker.tasks[key]
        while len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        self._pump()

    async def cancel(self, keys: list[tuple[str, str, int]]) -> None:
        """Stop attempts, wherever they are; one that still waits here reports that it never ran."""
        wanted = {StepKey(*key) for key in keys}
        for host, task in self._withdraw(wanted):
            self._tell(host, [withdrawn(task)])
        for worker in self._workers.values():
            if held := [key for key in wanted if key in worker.tasks]:
                self._background.start(self._cancel(worker, held))

    async def _cancel(self, worker: _Worker, keys: list[StepKey]) -> None:
        await worker.lane.flushed()  # a cancel that overtakes its step finds nothing
        await worker.peer.insist("cancel", [tuple(key) for key in keys], until=self._stopped.is_set)

    def _withdraw(self, keys: set[StepKey]) -> list[tuple[str, StepTask]]:
        """Take what has not been handed out yet from the queue."""
        if keys.isdisjoint(self._queued):
            return []
        withdrawn = [(host, task) for _, _, host, task in self._queue if task.key in keys]
        self._queue = [entry for entry in self._queue if entry[3].key not in keys]
        heapq.heapify(self._queue)
        for _, task in withdrawn:
            self._dequeued(task.key)
        return withdrawn

    def _holder(self, key: StepKey, attempt: int) -> _Worker | None:
        """The worker that runs the step, or knows what this attempt led to."""
        for worker in self._workers.values():
            if key in worker.tasks:
                return worker
        ended = self._ended.get(key)
        if ended is None or not (ended.success or ended.attempt >= attempt):
            return None
        return self._workers.get(ended.worker)

    def _pump(self) -> None:
        """Hand out what there are credits for, to the worker with the fewest tasks."""
        if not self._informed.is_set():
            return
        workers = [
            worker for worker in self._workers.values() if worker.up and not worker.retiring and not worker.silent
        ]
        batches: dict[_Worker, list[_Handed]] = {}
        while self._queue and workers:
            worker = min(workers, key=_load) if len(workers) > 1 else workers[0]
            if len(worker.tasks) >= self._credits:
                break
            _, _, host, task = heapq.heappop(self._queue)
            self._dequeued(task.key)
            worker.tasks[task.key] = _held(host, task)
            batches.setdefault(worker, []).append(_Handed(host, task))
        for worker, batch in batches.items():
            worker.lane.put(batch)

    async def _send(self, worker: _Worker, batch: list[_Handed]) -> None:
        process, mine = worker.process, batch
        while mine := [each for each in mine if self._is_at(worker, each)]:
            try:
                if not await worker.peer.call("run", process, _by_host(mine)):
                    self._lose(worker, mine)
                return
            except AWAY:
                await asyncio.sleep(_AGAIN_S)  # it may have begun: a repeat is dropped there, or by its successor
            except GONE:
                self._lose(worker, mine)
                return
            except Exception as error:
                log.exception("a worker cannot take its steps")
                self._lose(worker, mine, f"its worker could not take it: {original(error)}")
                return

    def _is_at(self, worker: _Worker, each: _Handed) -> bool:
        """Whether nothing has become of it since it was handed out: what was lost meanwhile is made anew elsewhere."""
        if each.passed_on and each.process == worker.process:
            return True
        held = worker.tasks.get(each.task.key)
        return held is not None and held.attempt == each.task.attempt

    async def _listen(self, name: str, worker: _Worker) -> None:
        """End what a worker that does not answer (it is frozen, or blocked) holds past its limits: nobody else would.

        Such an attempt may have had its effect, and goes on when the worker does, until it notices.
        """
        while self._workers.get(name) is worker and not self._stopped.is_set():
            wanted = worker.silent or any(held.limit_ms is not None for held in worker.tasks.values())
            silent_s = await worker.pings.silent_s() if wanted else 0.0
            if worker.silent != (silent_s >= SILENT_S):
                worker.silent = not worker.silent
                log.warning("%s %s", name, f"has not answered for {silent_s:g} s" if worker.silent else "answers again")
                self._pump()
            if worker.silent:
                self._end_overdue(worker, silent_s)
            if not silent_s:
                await asyncio.sleep(_LISTEN_S)

    def _end_overdue(self, worker: _Worker, silent_s: float) -> None:
        now_s = time.monotonic()
        by_host: dict[str, list[StepReport]] = {}
        for key, held in list(worker.tasks.items()):
            alone_s = min(silent_s, now_s - held.since_s)
            if held.limit_ms is not None and alone_s >= held.limit_ms / 1000 + SILENT_S:
                del worker.tasks[key]
                by_host.setdefault(held.host, []).append(timed_out(key, held.attempt, held.which))
        for host, reports in by_host.items():
            self._tell(host, reports)

    async def _watch(self, name: str, worker: _Worker) -> None:
        """Know at once when the worker's process dies; Ray restarts it, and it gets new work then."""
        while not self._stopped.is_set():
            try:
                await self._learn(name, worker)
                await worker.peer.call("live")
            except AWAY:
                worker.up = False  # whether its process lives it will say itself
                worker.asked.set()
            except GONE:
                worker.up = False
                worker.asked.set()
                self._lose(worker)
                self._forget_ended(name)
            except Exception:
                log.exception("worker %s cannot be watched, trying again", name)
            if worker.retiring:
                self._lose(worker)  # it has ended, and what it still ran with it
                del self._workers[name]
                return
            await asyncio.sleep(0.1)

    async def _learn(self, name: str, worker: _Worker) -> None:
        """What a worker has that this process did not give it."""
        process, running, ended = await worker.peer.call("holding")
        now_s = time.monotonic()
        if process != worker.process:
            if worker.process:
                self._lose(worker)
                self._forget_ended(name)
            worker.process = process
        for id, run_id, step, attempt, limit_ms, which in running:
            worker.tasks.setdefault(StepKey(id, run_id, step), _Held("", attempt, limit_ms, which, now_s))
        for id, run_id, step, attempt in ended:
            self._ended.setdefault(StepKey(id, run_id, step), _Ended(name, attempt, False, ""))
        worker.asked.set()
        await self._until_prepared(worker)
        worker.up = True
        self._pump()

    async def _until_prepared(self, worker: _Worker) -> None:
        """Returns when it has all that its activities need; what it runs already, it runs."""
        while True:
            worker.failing = await worker.peer.call("prepared", _LISTEN_S)
            if not worker.failing:
                return
            worker.up = False

    def _forget_ended(self, name: str) -> None:
        """Its memory went with it, and so did a report that was not durable: a host that still waits tries again.

        One that has the report already drops this.
        """
        by_host: dict[str, list[StepReport]] = {}
        for key, each in self._ended.items():
            if each.worker == name:
                by_host.setdefault(each.host, []).append(lost(key, each.attempt, "its worker died"))
        self._ended = OrderedDict((key, each) for key, each in self._ended.items() if each.worker != name)
        for host, reports in by_host.items():
            self._tell(host, reports)

    def _lose(self, worker: _Worker, batch: list[_Handed] | None = None, why: str = "its worker died") -> None:
        """What a worker had is lost: all of it, or of one batch."""
        if batch is None:
            gone, worker.tasks = worker.tasks, {}
        else:
            gone = {each.task.key: _held(each.host, each.task) for each in batch}
            for key in gone:
                worker.tasks.pop(key, None)
        by_host: dict[str, list[StepReport]] = {}
        for key, held in gone.items():
            by_host.setdefault(held.host, []).append(lost(key, held.attempt, why))
        for host, reports in by_host.items():
            self._tell(host, reports)

    def _tell(self, host: str, reports: list[StepReport]) -> None:
        if host:
            peer = self._hosts.setdefault(host, Peer(host, self._namespace))
            until = time.monotonic() + _HOST_AWAY_S
            self._background.start(
                peer.insist(
                    "lost", encode_reports(reports), until=lambda: self._stopped.is_set() or time.monotonic() > until
                )
            )


def _held(host: str, task: StepTask) -> _Held:
    return _Held(host, task.attempt, *task.silence(int(time.time() * 1000)), time.monotonic())


def _by_host(batch: list[_Handed]) -> list[tuple[str, bytes]]:
    tasks: dict[str, list[StepTask]] = {}
    for each in batch:
        tasks.setdefault(each.host, []).append(each.task)
    return [(host, encode_tasks(each)) for host, each in tasks.items()]


def _load(worker: _Worker) -> int:
    return len(worker.tasks)
