"""Sagas whose steps beat; what they do, and when, is told through files."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import sagas
from sagas import Outcome, Retry, activity, saga

SOON = Retry(initial=0.1, jitter=0)


def note(folder: str, line: str) -> None:
    with Path(folder, "diary").open("a", encoding="utf-8") as lines:
        lines.write(f"{line} {os.getpid()}\n")


@activity(retry=SOON)
async def walk(folder: str) -> Any:
    """Tells each word it finds in ``words``; the second attempt returns what the first has told last."""
    if sagas.step().attempt > 1:
        return sagas.step().heartbeat_details
    note(folder, "walks")
    while True:
        words = Path(folder, "words")
        if words.exists():
            sagas.heartbeat(words.read_text())
        await asyncio.sleep(0.02)


@saga
async def walking(folder: str) -> Any:
    return await walk(folder)


@activity(retry=SOON)
def grind(folder: str) -> None:
    note(folder, "grinds")
    try:
        while True:
            sagas.heartbeat()
            time.sleep(0.02)
    except asyncio.CancelledError:
        note(folder, "stopped")
        raise


@saga
async def grinding(folder: str) -> None:
    await grind(folder)


@activity(retry=SOON, heartbeat_timeout=1.5)
async def freeze(folder: str) -> int:
    if sagas.step().attempt > 1:
        return os.getpid()
    note(folder, "beats")
    while True:
        sagas.heartbeat()
        await asyncio.sleep(0.02)


@saga
async def freezing(folder: str) -> int:
    return await freeze(folder)


@saga
async def nobody_works() -> tuple[str, bool]:
    """Of a queue that no worker serves."""
    try:
        await freeze.options(queue="nobody", queue_timeout=1)("")
    except sagas.ActivityTimeout as error:
        return error.kind, error.outcome is Outcome.NONE
    return "done", False
