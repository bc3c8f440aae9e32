"""The two clocks: the system's, and a virtual one that moves only when a test says so. Milliseconds of the epoch."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> int: ...

    async def wait(self, wake: asyncio.Event, until_ms: int | None) -> None:
        """Return when ``wake`` is set, or when the clock reaches ``until_ms``."""
        ...


class SystemClock:
    """Wall-clock time. It may step back; a run's own clock never does."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def wait(self, wake: asyncio.Event, until_ms: int | None) -> None:
        delay = None if until_ms is None else max(0, until_ms - self.now_ms()) / 1000
        try:
            async with asyncio.timeout(delay):
                await wake.wait()
        except TimeoutError:
            return


class VirtualClock:
    """Stands still until ``set``; a host under it is woken by whoever sets it, never by itself."""

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms

    def now_ms(self) -> int:
        return self._now_ms

    def set(self, now_ms: int) -> None:
        """Move forward to ``now_ms`` (never back)."""
        self._now_ms = max(self._now_ms, now_ms)

    async def wait(self, wake: asyncio.Event, until_ms: int | None) -> None:
        if until_ms is None or until_ms > self._now_ms:
            await wake.wait()
