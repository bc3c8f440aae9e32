"""How a client waits for something to change."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Patience(Protocol):
    """How a client waits for something to change: on a real clock, or by moving a virtual one."""

    async def wait(self, changed: asyncio.Event, timeout_s: float) -> None: ...


class RealPatience:
    """Wait for the event, at most ``timeout_s``."""

    async def wait(self, changed: asyncio.Event, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await changed.wait()
        except TimeoutError:
            return
