"""A step that needs a pool of its process; the pool cannot be made before a file is there."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import sagas
from sagas import activity, saga

FOLDER = Path(os.environ.get("SAGAS_TEST_POOLS", "."))
POOL: list[int] = []


@sagas.on_worker_start
async def pool() -> AsyncIterator[None]:
    if not (FOLDER / "database").exists():
        raise ConnectionRefusedError("no database")
    POOL.append(os.getpid())
    yield
    (FOLDER / f"left-{os.getpid()}").touch()


@activity
async def use() -> list[int]:
    return POOL


@saga
async def using() -> list[int]:
    return await use()
