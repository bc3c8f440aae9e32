"""One attempt in a process of its own, with what it asked Ray for. Law: the process ends when its report is durable."""

from __future__ import annotations

import asyncio
import contextlib

import ray

from actors.settings import ClusterSettings
from actors.worker import WorkerActor
from sagas.engine.steps import decode_tasks
from sagas.workers import DEFAULT

_BEGINS_WITHIN_S = 60.0
"""Whoever wanted it has died when nobody begins its attempt by then; the next owner makes another."""

_LINGERS_S = 2.0
"""Whoever follows it ends it sooner."""


class TaskActor(WorkerActor):
    """A worker of one attempt, known to no dispatcher: hosts find it by its name."""

    def __init__(self, name: str, settings: ClusterSettings) -> None:
        super().__init__(DEFAULT, name, settings)
        self._begun = asyncio.Event()
        self._background.start(self._end_itself())

    async def ready(self) -> None:
        """Ray has found what it asked for."""

    async def begin(self, host: str, blob: bytes) -> None:
        """Make this attempt for ``host``, unless that is done: then it is the host to be told.

        Raises: what the modules raise; the attempt has not begun then.
        """
        [task] = decode_tasks(blob)
        if not self._adopted(host, task.key, task.attempt) and not self._is_past(task):
            self._begin(host, task)
        self._begun.set()

    async def _tell_dispatcher(self, ended: list[tuple[str, str, int, int, bool]]) -> None:
        await self._reporting.drained()
        await self._leave()
        self._stopped.set()

    async def _end_itself(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_BEGINS_WITHIN_S):
                await self._begun.wait()
        if self._begun.is_set():
            await self._stopped.wait()
            await asyncio.sleep(_LINGERS_S)
        ray.kill(ray.get_runtime_context().current_actor)
