"""A saga that does one step after the other, each of which says when it began: what ``benchmarks.recovery`` kills."""

from __future__ import annotations

import asyncio
import os
import time

import sagas
from sagas import activity, saga


@activity(timeout=60)
async def tick(diary: str, seconds: float) -> None:
    """Leaves ``time_ns saga_id idempotency_key`` when it begins."""
    step = sagas.step()
    line = os.open(diary, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(line, f"{time.time_ns()} {step.saga_id} {step.idempotency_key}\n".encode())
    finally:
        os.close(line)
    await asyncio.sleep(seconds)


@saga
async def ticking(diary: str, ticks: int, seconds: float) -> None:
    for _ in range(ticks):
        await tick(diary, seconds)
