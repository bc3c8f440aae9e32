"""A dispatcher without workers: what waits too long for one is taken out, and its host told that it never began."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from actors.dispatcher import DispatcherActor
from actors.settings import ClusterSettings
from compensations import Outcome
from sagas.engine.steps import StepReport, StepTask, decode_reports, encode_tasks


class HeardBy:
    """A host that takes reports."""

    def __init__(self) -> None:
        self.reports: list[StepReport] = []
        self.heard = asyncio.Event()

    async def insist(self, method: str, blob: bytes, *, until: Callable[[], bool]) -> bool:
        assert method == "lost"
        self.reports += decode_reports(blob)
        self.heard.set()
        return True


def waiting(step: int, **limits: Any) -> StepTask:
    return StepTask("id", "run", step, 1, "work", b"", "default", None, **limits)


def test_what_waits_past_its_limit_never_begins() -> None:
    async def scenario() -> None:
        dispatcher, host = DispatcherActor("default", ClusterSettings(url="", modules=())), HeardBy()
        dispatcher._hosts["host-0"] = host  # type: ignore[assignment]
        await dispatcher.workers([])
        soon_ms = time.time_ns() // 1_000_000 + 50
        tasks = [
            waiting(1),
            waiting(2, queue_until_ms=soon_ms),
            waiting(3, queue_until_ms=soon_ms + 10**7, total_until_ms=soon_ms),
            waiting(4, queue_until_ms=soon_ms + 10**7),
        ]
        await dispatcher.submit("host-0", [1] * len(tasks), encode_tasks(tasks))
        async with asyncio.timeout(30):
            while len(host.reports) < 2:
                host.heard.clear()
                await host.heard.wait()
        told = sorted((report.step, report.failure.detail, report.failure.outcome) for report in host.reports)  # type: ignore[union-attr]
        assert told == [(2, "queue", Outcome.NONE), (3, "total", Outcome.NONE)]
        assert all(report.never_ran for report in host.reports)
        assert sorted(key.step for key in dispatcher._queued) == [1, 4]
        await dispatcher.cancel([tuple(task.key) for task in tasks])  # type: ignore[misc]
        assert not dispatcher._queued
        assert not dispatcher._alarms

    asyncio.run(scenario())
