"""Long polls: waiting for a run's end only as long as somebody waits for the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

T = TypeVar("T")


async def unless_over(wait: Coroutine[Any, Any, T], request: Request, stopping: asyncio.Event) -> T | None:
    """What ``wait`` gives; None when the client goes away, or the server is told to stop, before it does."""
    loop = asyncio.get_running_loop()
    waiting = loop.create_task(wait)
    others = [loop.create_task(stopping.wait()), loop.create_task(_gone(request))]
    try:
        await asyncio.wait([waiting, *others], return_when=asyncio.FIRST_COMPLETED)
        return waiting.result() if waiting.done() else None
    finally:
        for task in (waiting, *others):
            task.cancel()
        await asyncio.gather(waiting, *others, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
