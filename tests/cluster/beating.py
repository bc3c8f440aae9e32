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


@activity(ray={"resources": {"unobtainium": 1}}, queue_timeout=1)
async def impossible() -> None: ...


@saga
async def nobody_works() -> list[tuple[str, bool]]:
    """Of a queue that no worker serves, and of resources that no node has."""
    ended: list[tuple[str, bool]] = []
    for work in (lambda: freeze.options(queue="nobody", queue_timeout=1)(""), impossible):
        try:
            await work()
        except sagas.ActivityTimeout as error:
            ended.append((error.kind, error.outcome is Outcome.NONE))
    return ended
