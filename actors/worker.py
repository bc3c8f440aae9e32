"""A worker as a Ray actor: runs activities of one queue and reports to the hosts that asked."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

from actors.calls import Peer
from actors.names import dispatcher_name, ray_namespace
from actors.settings import ClusterSettings
from sagas.engine.attempt import AttemptRunner, withdrawn
from sagas.engine.clock import SystemClock
from sagas.engine.steps import StepKey, StepReport, StepTask, decode_tasks, encode_reports
from sagas.kernel.registry import Registry
from sagas.modules import load_modules

REMEMBERED = 10_000
"""Steps whose last attempt is known after it has ended."""


@dataclass(slots=True)
class _Running:
    """An attempt that runs here, and whom to tell: the last host that asked, by the number it asked for."""

    host: str
    task: StepTask
    attempt: asyncio.Task[StepReport]


class WorkerActor:
    """Runs what it is given at once; how much that is, the dispatcher's credits decide."""

    def __init__(self, queue: str, name: str, settings: ClusterSettings) -> None:
        self._name = name
        self._namespace = ray_namespace(settings.namespace)
        self._settings = settings
        self._attempts: AttemptRunner | None = None
        self._dispatcher = Peer(dispatcher_name(queue), self._namespace)
        self._hosts: dict[str, Peer] = {}
        self._running: dict[StepKey, _Running] = {}
        self._ended: OrderedDict[StepKey, StepReport] = OrderedDict()
        self._reports: dict[str, list[StepReport]] = {}
        self._calls: set[asyncio.Task[Any]] = set()
        self._flushing = False
        self._stopped = asyncio.Event()

    async def start(self) -> None:
        """Load the modules, unless that is done. Raises: what they raise."""
        self._runner()

    async def describe(self) -> dict[str, Any]:
        """Name and process id."""
        return {"name": self._name, "pid": os.getpid()}

    async def live(self) -> None:
        """Returns when it was stopped; a call that fails tells its caller at once that the process died."""
        await self._stopped.wait()

    async def run(self, host: str, blob: bytes) -> None:
        """Begin these attempts, but for those of steps that run here already, or have succeeded here.

        A host that takes a shard over asks again, by the next number, for what it cannot know to be under way: it is
        told the outcome of the attempt that was.
        """
        for task in decode_tasks(blob):
            running, ended = self._running.get(task.key), self._ended.get(task.key)
            if running is not None:
                if task.attempt >= running.task.attempt:
                    running.host, running.task = host, task
            elif ended is None or (ended.attempt < task.attempt and ended.result is None):
                attempt = asyncio.get_running_loop().create_task(self._runner().run(task))
                self._running[task.key] = _Running(host, task, attempt)
                attempt.add_done_callback(functools.partial(self._done, task.key))
            elif ended.attempt <= task.attempt:
                self._report(host, replace(ended, attempt=task.attempt))

    async def cancel(self, keys: list[tuple[str, str, int]]) -> None:
        """Ask attempts to stop; each still reports."""
        for key in keys:
            found = self._running.get(StepKey(*key))
            if found is not None:
                found.attempt.cancel()

    async def stop(self, grace_s: float) -> None:
        """No more attempts will come. Returns once those that run have ended and are reported, or after ``grace_s``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while busy := [*(each.attempt for each in self._running.values()), *self._calls]:
                    await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
                    await asyncio.sleep(0)  # what has ended is reported by a callback
        self._stopped.set()

    def _runner(self) -> AttemptRunner:
        # Not made when the actor is: Ray tells nobody why an actor could not be made, and callers wait for ever.
        if self._attempts is None:
            settings = self._settings
            self._attempts = AttemptRunner(Registry(load_modules(settings.modules)), SystemClock(), settings.credits)
        return self._attempts

    def _done(self, key: StepKey, attempt: asyncio.Task[StepReport]) -> None:
        running = self._running.pop(key)
        report = withdrawn(running.task) if attempt.cancelled() else attempt.result()
        report = self._ended[key] = replace(report, attempt=running.task.attempt)
        self._ended.move_to_end(key)
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        self._report(running.host, report)

    def _report(self, host: str, report: StepReport) -> None:
        self._reports.setdefault(host, []).append(report)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """What has ended since the last flush, in one call a host and one to the dispatcher."""
        self._flushing = False
        ended: list[tuple[StepKey, int, bool]] = []
        for host, reports in self._reports.items():
            ended += [(report.key, report.attempt, report.result is not None) for report in reports]
            peer = self._hosts.setdefault(host, Peer(host, self._namespace))
            self._background(peer.insist("deliver", encode_reports(reports), until=self._stopped.is_set))
        self._reports = {}
        self._background(self._dispatcher.insist("done", self._name, ended, until=self._stopped.is_set))

    def _background(self, work: Any) -> None:
        call = asyncio.get_running_loop().create_task(work)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
