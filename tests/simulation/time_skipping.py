"""An event loop that never waits: when nothing is ready it moves its own clock to the next timer. For pure asyncio.

Law: the order of what happens depends on the program alone. A loop in which nothing is left to happen raises instead of
hanging. Threads and sockets have no place here: their time would not be this loop's.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

START_S = 1_704_067_200.0


class NothingLeft(RuntimeError):
    """Every task waits, and no timer will ever wake one."""


class _Skipping(selectors.DefaultSelector):  # type: ignore[valid-type, misc]
    def __init__(self) -> None:
        super().__init__()
        self.now_s = START_S

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise NothingLeft("no task is ready and no timer is set")
        self.now_s += max(0.0, timeout)
        return super().select(0)


class TimeSkippingLoop(asyncio.SelectorEventLoop):
    """``time()`` is POSIX seconds from ``START_S`` on; hours pass in milliseconds."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)
        self._clock_resolution = 1e-6  # floats of this size are no finer: what is due now must count as due

    def time(self) -> float:
        return self._skipping.now_s


class LoopClock:
    """The engine's clock on such a loop."""

    def now_ms(self) -> int:
        return round(asyncio.get_running_loop().time() * 1000)

    def elapsed_ms(self) -> int:
        return self.now_ms()

    async def wait(self, wake: asyncio.Event, until_ms: int | None) -> None:
        delay = None if until_ms is None else max(0, until_ms - self.now_ms()) / 1000
        try:
            async with asyncio.timeout(delay):
                await wake.wait()
        except TimeoutError:
            return

    def alarm(self, ms: int | None, ring: Callable[[], None]) -> asyncio.TimerHandle | None:
        return None if ms is None else asyncio.get_running_loop().call_later(ms / 1000, ring)


def run(work: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` on a time-skipping loop."""
    with asyncio.Runner(loop_factory=TimeSkippingLoop) as runner:
        return runner.run(work)
