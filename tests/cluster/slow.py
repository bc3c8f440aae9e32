"""A saga of one slow step, which says how often it was really begun."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from sagas import activity, saga


@activity(timeout=60)
async def work(diary: str, name: str, seconds: float) -> None:
    """Leaves a line when it begins."""
    with Path(diary).open("a", encoding="utf-8") as lines:
        lines.write(f"{name} {os.getpid()}\n")
    await asyncio.sleep(seconds)


@saga
async def slow(diary: str, name: str, seconds: float) -> str:
    await work(diary, name, seconds)
    return name
