"""Which executor a step goes to: the host's own (``local=True``), one process an attempt (``ray=``), else the pool."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from sagas.engine.executor import Executor
from sagas.engine.steps import StepKey, StepReport, StepTask


class Elsewhere(Executor, Protocol):
    """An executor in other processes: it must be told which attempts are over."""

    def settled(self, reports: Sequence[StepReport]) -> None: ...


class RoutingExecutor:
    """Splits each batch; a cancel goes to all, each knows its own."""

    def __init__(self, local: Executor, pool: Elsewhere, alone: Elsewhere) -> None:
        """``alone``: for attempts that ask Ray for resources."""
        self._local = local
        self._pool = pool
        self._alone = alone

    def dispatch(self, tasks: Sequence[StepTask]) -> None:
        for executor, batch in self._split(tasks):
            executor.dispatch(batch)

    def in_process(self, task: StepTask) -> bool:
        return task.local

    def settled(self, reports: Sequence[StepReport]) -> None:
        """Reports came in from other processes."""
        self._pool.settled(reports)
        self._alone.settled(reports)

    def cancel(self, keys: Sequence[StepKey]) -> None:
        for executor in (self._local, self._pool, self._alone):
            executor.cancel(keys)

    async def adopt(self, tasks: Sequence[StepTask]) -> set[StepKey]:
        """Each knows its own."""
        known = await asyncio.gather(*(executor.adopt(batch) for executor, batch in self._split(tasks)))
        return set().union(*known)

    async def close(self) -> None:
        for executor in (self._local, self._pool, self._alone):
            await executor.close()

    def _split(self, tasks: Sequence[StepTask]) -> list[tuple[Executor, list[StepTask]]]:
        """Each executor with its part of the batch, if it has one."""
        here = [task for task in tasks if task.local]
        alone = [task for task in tasks if task.ray is not None and not task.local]
        pooled = [task for task in tasks if task.ray is None and not task.local]
        parts: list[tuple[Executor, list[StepTask]]] = [
            (self._local, here),
            (self._pool, pooled),
            (self._alone, alone),
        ]
        return [(executor, batch) for executor, batch in parts if batch]
