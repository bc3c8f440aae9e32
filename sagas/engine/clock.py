"""The two clocks: the system's, and a virtual one that moves only when a test says so. Milliseconds of the epoch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> int: ...

    async def wait(self, wake: asyncio.Event, until_ms: int | None) -> None:
        """Return when ``wake`` is set, or when the clock reaches ``until_ms``."""
        ...

    def timeout(self, ms: int | None) -> AbstractAsyncContextManager[asyncio.Timeout]:
        """``async with`` it: TimeoutError when this clock has gone ``ms`` further (None: never)."""
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

    def timeout(self, ms: int | None) -> AbstractAsyncContextManager[asyncio.Timeout]:
        return asyncio.timeout(None if ms is None else ms / 1000)


class VirtualClock:
    """Stands still until ``set``; a host under it is woken by whoever sets it, never by itself."""

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms
        self._timeouts: list[tuple[int, asyncio.Timeout]] = []

    def now_ms(self) -> int:
        return self._now_ms

    def set(self, now_ms: int) -> None:
        """Move forward to ``now_ms`` (never back); timeouts that are reached expire."""
        self._now_ms = max(self._now_ms, now_ms)
        for due_ms, timeout in self._timeouts:
            if due_ms <= self._now_ms and not timeout.expired():
                timeout.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def timeout(self, ms: int | None) -> AsyncGenerator[asyncio.Timeout]:
        async with asyncio.timeout(None) as timeout:
            if ms is None:
                yield timeout
                return
            entry = (self._now_ms + ms, timeout)
            self._timeouts.append(entry)
            try:
                yield timeout
            finally:
                self._timeouts.remove(entry)

    def next_timeout_ms(self) -> int | None:
        """When the earliest timeout that is still open will be reached."""
        return min((due_ms for due_ms, _ in self._timeouts), default=None)

    async def wait(self, wake: asyncio.Event, until_ms: int | None) -> None:
        if until_ms is None or until_ms > self._now_ms:
            await wake.wait()
