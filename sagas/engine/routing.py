"""Which executor a step goes to: the host's own process for ``local=True``, else the pool of its queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sagas.engine.executor import Executor
from sagas.engine.steps import StepKey, StepReport, StepTask


class Pool(Executor, Protocol):
    """An executor in other processes: it must be told which attempts are over."""

    def settled(self, reports: Sequence[StepReport]) -> None: ...


class RoutingExecutor:
    """Splits each batch; a cancel goes to both, each knows its own."""

    def __init__(self, local: Executor, pool: Pool) -> None:
        self._local = local
        self._pool = pool

    def dispatch(self, tasks: Sequence[StepTask]) -> None:
        here = [task for task in tasks if task.local]
        elsewhere = [task for task in tasks if not task.local]
        if here:
            self._local.dispatch(here)
        if elsewhere:
            self._pool.dispatch(elsewhere)

    def in_process(self, task: StepTask) -> bool:
        return task.local

    def settled(self, reports: Sequence[StepReport]) -> None:
        """Reports came in from the pool."""
        self._pool.settled(reports)

    def cancel(self, keys: Sequence[StepKey]) -> None:
        self._local.cancel(keys)
        self._pool.cancel(keys)

    async def adopt(self, tasks: Sequence[StepTask]) -> set[StepKey]:
        """Each knows its own."""
        here = await self._local.adopt([task for task in tasks if task.local])
        return here | await self._pool.adopt([task for task in tasks if not task.local])

    async def close(self) -> None:
        await self._local.close()
        await self._pool.close()
