"""How a client waits: on the real clock, or (in a test environment) by letting virtual time pass."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Patience(Protocol):
    """A client's clock and its way to wait. Whoever waits looks again afterwards: a wait may end early."""

    def now(self) -> float:
        """Seconds on this patience's own clock."""
        ...

    async def settle(self, changed: asyncio.Event, again_s: float) -> None:
        """Wait for what is on its way already; virtual time does not move."""
        ...

    async def wait(self, changed: asyncio.Event, again_s: float, until: float | None) -> None:
        """Wait for what may be months away: until ``changed`` is set or the clock shows ``until``."""
        ...


class RealPatience:
    """Waits for the event, and looks again every ``again_s`` in case its notice was lost."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def settle(self, changed: asyncio.Event, again_s: float) -> None:
        try:
            async with asyncio.timeout(again_s):
                await changed.wait()
        except TimeoutError:
            return

    async def wait(self, changed: asyncio.Event, again_s: float, until: float | None) -> None:
        await self.settle(changed, again_s if until is None else min(again_s, max(0.0, until - self.now())))
