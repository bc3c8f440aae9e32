"""A worker as a Ray actor: runs activities of one queue and reports to the hosts that asked."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from actors.calls import Background, Lane, Peer
from actors.garbage import collect_less_often
from actors.heartbeats import Heartbeats
from actors.names import dispatcher_name, ray_namespace
from actors.reporting import Reporting
from actors.settings import ClusterSettings
from sagas.connection import open_store
from sagas.engine.attempt import AttemptRunner, RunningAttempt
from sagas.engine.clock import SystemClock
from sagas.engine.reports_by_mail import mail_reports
from sagas.engine.steps import Heartbeat, StepKey, StepReport, StepTask, decode_tasks
from sagas.errors import StoreUnavailable
from sagas.kernel.registry import Registry
from sagas.modules import load_modules
from sagas.store.port import Store

log = logging.getLogger("sagas.actors")

_AGAIN_S = 0.5
LEAVING_S = 5.0
"""How long it may take to leave what its activities needed."""

HeldRow = tuple[str, str, int, int, int | None, str]
"""(id, run, step, attempt, how long it may be silent in ms, the timeout that this reaches)."""

LAST_REPORTS_S = 5.0
"""How long a worker that ends may take to make its last reports durable."""


@dataclass(slots=True)
class _Running:
    """An attempt that runs here, and whom to tell: the last host that asked, by the number it asked for."""

    host: str
    number: int
    attempt: RunningAttempt
    task: StepTask


class WorkerActor:
    """Runs what it is given at once; how much that is, the dispatcher's credits decide."""

    def __init__(self, queue: str, name: str, settings: ClusterSettings) -> None:
        namespace = ray_namespace(settings.namespace)
        self._name = name
        self._threads = settings.queues[queue].threads
        self._process = uuid.uuid4().hex
        self._settings = settings
        self._attempts: AttemptRunner | None = None
        self._store: Store | None = None
        self._opening = asyncio.Lock()
        self._dispatcher = Peer(dispatcher_name(queue), namespace)
        self._running: dict[StepKey, _Running] = {}
        self._background = Background()
        self._ended: Lane[tuple[str, str, int, int, bool]] = Lane(self._background, self._tell_dispatcher)
        self._heartbeats = Heartbeats(self._background, namespace, self._host_of)
        self._reporting = Reporting(name, namespace, self._mail)
        self._one_ended = asyncio.Event()
        self._stopped = asyncio.Event()

    def __repr__(self) -> str:  # what stands before the lines that activities print
        return self._name

    async def start(self) -> None:
        """Load the modules, unless that is done, and begin to enter what they need. Raises: what they raise."""
        self._runner().readiness.want()

    async def prepared(self, within_s: float) -> str:
        """Why activities cannot begin yet; "" as soon as all that they need is entered (``@on_worker_start``)."""
        readiness = self._runner().readiness
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await readiness.wait()
                return ""
        return readiness.failing or "it waits for what @on_worker_start enters"

    async def describe(self) -> dict[str, Any]:
        """Name and process id; ``failing``: why it takes no steps yet, "" where nothing fails."""
        failing = "" if self._attempts is None else self._attempts.readiness.failing
        return {"name": self._name, "pid": os.getpid(), "failing": failing}

    async def live(self) -> None:
        """Returns when it was stopped; a call that fails tells its caller at once that the process died."""
        await self._stopped.wait()

    async def run(self, process: str, batches: list[tuple[str, bytes]]) -> bool:
        """Begin these attempts, each batch for its host, but for those of steps that run or have succeeded here.

        False, and nothing is begun, when they were meant for an earlier process of this worker: it may have begun them.
        """
        if process != self._process:
            return False
        for host, blob in batches:
            for task in decode_tasks(blob):
                if not self._adopted(host, task.key, task.attempt) and not self._is_past(task):
                    self._begin(host, task)
        return True

    async def adopt(self, host: str, attempts: list[tuple[str, str, int, int]]) -> list[int]:
        """``host`` has taken a shard over: those (id, run, step, attempt) that are known here are for it to be told.

        Returns their indexes; what runs goes on, and what has ended is reported to it.
        """
        return [
            index
            for index, (id, run_id, step, attempt) in enumerate(attempts)
            if self._adopted(host, StepKey(id, run_id, step), attempt)
        ]

    async def ping(self) -> None:
        """Answers while this worker's loop makes progress."""

    async def holding(self) -> tuple[str, list[HeldRow], list[tuple[str, str, int, int]]]:
        """This process; what runs here, with how long it may be silent; (id, run, step, attempt) of what has ended.

        That is what is not durable yet.
        """
        now_ms = time.time_ns() // 1_000_000
        running = [(*key, each.number, *each.task.silence(now_ms)) for key, each in self._running.items()]
        return self._process, running, [(*key, attempt) for key, attempt in self._reporting.unsettled()]

    async def cancel(self, keys: list[tuple[str, str, int]]) -> None:
        """Ask attempts to stop; each still reports."""
        for key in keys:
            found = self._running.get(StepKey(*key))
            if found is not None:
                found.attempt.cancel()

    async def stop(self, grace_s: float) -> None:
        """No more attempts will come: let those that run end, at most ``grace_s``; then make all reports durable."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self._running:
                    self._one_ended.clear()
                    await self._one_ended.wait()
                await self._reporting.drained()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_REPORTS_S):
                await self._reporting.close()
        await self._leave()
        self._stopped.set()

    async def _leave(self) -> None:
        """Leave what activities needed (``@on_worker_start``)."""
        if self._attempts is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVING_S):
                    await self._attempts.readiness.close()

    def _adopted(self, host: str, key: StepKey, attempt: int) -> bool:
        """Whether the outcome of what is known here of a step will be told ``host`` as that of ``attempt``."""
        running = self._running.get(key)
        if running is None:
            told = self._reporting.again(host, key, attempt)
            if told is not None:
                self._ended.put([(*key, attempt, told.result is not None)])
            return told is not None
        if attempt >= running.number:
            running.host, running.number = host, attempt
            if details := running.attempt.details:  # what the host before this one has not written
                self._heartbeats.tell(host, Heartbeat(*key, attempt, details))
        return True

    def _is_past(self, task: StepTask) -> bool:
        known = self._reporting.known(task.key)
        return known is not None and known.attempt >= task.attempt

    def _begin(self, host: str, task: StepTask) -> None:
        attempt = self._runner().begin(task, self._done, self._heard)
        self._running[task.key] = _Running(host, task.attempt, attempt, task)

    def _runner(self) -> AttemptRunner:
        # Not made when the actor is: Ray tells nobody why an actor could not be made, and callers wait for ever.
        if self._attempts is None:
            settings = self._settings
            self._attempts = AttemptRunner(Registry(load_modules(settings.modules)), SystemClock(), self._threads)
            collect_less_often()
        return self._attempts

    def _heard(self, heartbeat: Heartbeat) -> None:
        running = self._running[heartbeat.key]
        self._heartbeats.tell(running.host, replace(heartbeat, attempt=running.number))

    def _host_of(self, key: StepKey) -> str:
        running = self._running.get(key)
        return "" if running is None else running.host

    def _done(self, report: StepReport) -> None:
        running = self._running.pop(report.key)
        if report.attempt != running.number:
            report = replace(report, attempt=running.number)
        self._reporting.report(running.host, report)
        self._ended.put([(*report.key, report.attempt, report.result is not None)])
        self._one_ended.set()

    async def _tell_dispatcher(self, ended: list[tuple[str, str, int, int, bool]]) -> None:
        await self._dispatcher.insist("done", self._name, ended, until=self._stopped.is_set)

    async def _mail(self, reports: Sequence[StepReport]) -> None:
        async with self._opening:
            while self._store is None:
                try:
                    self._store = await open_store(self._settings.url, self._settings.namespace)
                except StoreUnavailable as error:
                    log.warning("%d reports wait for the store: %s", len(reports), error)
                    await asyncio.sleep(_AGAIN_S)
        await mail_reports(self._store, reports)
