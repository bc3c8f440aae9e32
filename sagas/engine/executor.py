"""Where steps run: the port the engine dispatches through, and the executor in the host's own process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from sagas.engine.attempt import AttemptRunner, Heard, RunningAttempt, unheard
from sagas.engine.steps import StepKey, StepReport, StepTask

_LET_GO_S = 1.0

Deliver = Callable[[Sequence[StepReport]], None]
"""How reports come back; called on the host's loop, must return at once."""


class Executor(Protocol):
    """Tasks go in after their commit; exactly one report an attempt comes back, or none when a process died."""

    def dispatch(self, tasks: Sequence[StepTask]) -> None:
        """Hand attempts over; returns at once."""
        ...

    def in_process(self, task: StepTask) -> bool:
        """Whether it runs in this process: no other host could take it over."""
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

    def __init__(self, runner: AttemptRunner, deliver: Deliver, heard: Heard = unheard) -> None:
        """``deliver`` is given reports, ``heard`` heartbeats."""
        self._runner = runner
        self._deliver = deliver
        self._heard = heard
        self._running: dict[StepKey, tuple[int, RunningAttempt]] = {}  # -> the attempt's number

    def dispatch(self, tasks: Sequence[StepTask]) -> None:
        for task in tasks:
            self._running[task.key] = (task.attempt, self._runner.begin(task, self._ended, self._heard))

    def in_process(self, task: StepTask) -> bool:
        return True

    async def adopt(self, tasks: Sequence[StepTask]) -> set[StepKey]:
        """What runs here since before the shard was lost and taken again."""
        return {task.key for task in tasks if self._running.get(task.key, (0, None))[0] == task.attempt}

    def _ended(self, report: StepReport) -> None:
        key = report.key
        if self._running.get(key, (0, None))[0] == report.attempt:
            del self._running[key]
        self._deliver([report])

    def cancel(self, keys: Sequence[StepKey]) -> None:
        for key in keys:
            if running := self._running.get(key):
                running[1].cancel()

    async def close(self) -> None:
        self._runner.stop()
        running = [attempt for _, attempt in self._running.values()]
        for attempt in running:
            attempt.cancel()
        self._runner.close()
        work = [attempt.work for attempt in running if attempt.work is not None]
        if work and self._runner.readiness.in_use:  # let go of what it uses before that is gone
            await asyncio.wait(work, timeout=_LET_GO_S)
        await self._runner.readiness.close()
