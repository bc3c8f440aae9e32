"""The two clocks: the system's, and a virtual one that moves only when a test says so. Milliseconds of the epoch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Alarm(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    def now_ms(self) -> int: ...

    def elapsed_ms(self) -> int:
        """Milliseconds since some instant, never stepping back; on any thread."""
        ...

    async def wait(self, wake: asyncio.Event, until_ms: int | None) -> None:
        """Return when ``wake`` is set, or when the clock reaches ``until_ms``."""
        ...

    def alarm(self, ms: int | None, ring: Callable[[], None]) -> Alarm | None:
        """Call ``ring`` when this clock has gone ``ms`` further (None: never), unless it is cancelled before."""
        ...


class SystemClock:
    """Wall-clock time. It may step back; a run's own clock never does."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def elapsed_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    async def wait(self, wake: asyncio.Event, until_ms: int | None) -> None:
        delay = None if until_ms is None else max(0, until_ms - self.now_ms()) / 1000
        try:
            async with asyncio.timeout(delay):
                await wake.wait()
        except TimeoutError:
            return

    def alarm(self, ms: int | None, ring: Callable[[], None]) -> Alarm | None:
        return None if ms is None else asyncio.get_running_loop().call_later(ms / 1000, ring)


class VirtualClock:
    """Stands still until ``set``; a host under it is woken by whoever sets it, never by itself."""

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms
        self._alarms: list[_VirtualAlarm] = []

    def now_ms(self) -> int:
        return self._now_ms

    def elapsed_ms(self) -> int:
        return self._now_ms

    def set(self, now_ms: int) -> None:
        """Move forward to ``now_ms`` (never back); alarms that are reached ring soon."""
        self._now_ms = max(self._now_ms, now_ms)
        for alarm in [alarm for alarm in self._alarms if alarm.due_ms <= self._now_ms]:
            alarm.cancel()
            asyncio.get_running_loop().call_soon(alarm.ring)

    def alarm(self, ms: int | None, ring: Callable[[], None]) -> Alarm | None:
        if ms is None:
            return None
        alarm = _VirtualAlarm(self._alarms, self._now_ms + ms, ring)
        self._alarms.append(alarm)
        return alarm

    def next_alarm_ms(self) -> int | None:
        """When the earliest alarm will ring."""
        return min((alarm.due_ms for alarm in self._alarms), default=None)

    async def wait(self, wake: asyncio.Event, until_ms: int | None) -> None:
        if until_ms is None or until_ms > self._now_ms:
            await wake.wait()


class _VirtualAlarm:
    def __init__(self, alarms: list[_VirtualAlarm], due_ms: int, ring: Callable[[], None]) -> None:
        self._alarms = alarms
        self.due_ms = due_ms
        self.ring = ring

    def cancel(self) -> None:
        if self in self._alarms:
            self._alarms.remove(self)
