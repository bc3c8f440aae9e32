"""Where steps run: the port the engine dispatches through, and the executor in the host's own process."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import Protocol

from sagas.engine.attempt import AttemptRunner, withdrawn
from sagas.engine.steps import StepKey, StepReport, StepTask

Deliver = Callable[[Sequence[StepReport]], None]
"""How reports come back; called on the host's loop, must return at once."""


class Executor(Protocol):
    """Tasks go in after their commit; exactly one report an attempt comes back, or none when a process died."""

    def dispatch(self, tasks: Sequence[StepTask]) -> None:
        """Hand attempts over; returns at once."""
        ...

    def cancel(self, keys: Sequence[StepKey]) -> None:
        """Ask running attempts to stop; each still reports."""
        ...

    async def adopt(self, tasks: Sequence[StepTask]) -> set[StepKey]:
        """Which of these attempts, dispatched by another host or an earlier process, are still known: each reports.

        The others will never report.
        """
        ...

    async def close(self) -> None: ...


class InProcessExecutor:
    """Runs attempts on the host's loop and in its threads: for tests, ``embedded()`` and ``local=True``."""

    def __init__(self, runner: AttemptRunner, deliver: Deliver) -> None:
        self._runner = runner
        self._deliver = deliver
        self._running: dict[StepKey, asyncio.Task[StepReport]] = {}
        self._attempts: dict[StepKey, int] = {}

    def dispatch(self, tasks: Sequence[StepTask]) -> None:
        for task in tasks:
            running = asyncio.get_running_loop().create_task(self._runner.run(task))
            self._running[task.key] = running
            self._attempts[task.key] = task.attempt
            running.add_done_callback(functools.partial(self._ended, task))

    async def adopt(self, tasks: Sequence[StepTask]) -> set[StepKey]:
        """What runs here since before the shard was lost and taken again."""
        return {task.key for task in tasks if self._attempts.get(task.key) == task.attempt}

    def _ended(self, task: StepTask, running: asyncio.Task[StepReport]) -> None:
        if self._running.get(task.key) is running:
            del self._running[task.key], self._attempts[task.key]
        # Cancelled before its first line ran, the coroutine could report nothing itself.
        self._deliver([withdrawn(task) if running.cancelled() else running.result()])

    def cancel(self, keys: Sequence[StepKey]) -> None:
        for key in keys:
            if running := self._running.get(key):
                running.cancel()

    async def close(self) -> None:
        self._runner.stop()
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._runner.close()
