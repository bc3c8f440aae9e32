"""A step that needs a pool of its process, and what stands around it; the pool waits for a file to be there."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import sagas
from sagas import ActivityCall, Middleware, Next, activity, saga

IN_A_CLUSTER = "SAGAS_TEST_POOLS" in os.environ
FOLDER = Path(os.environ.get("SAGAS_TEST_POOLS", "."))
POOL: list[int] = []


@sagas.on_worker_start
async def pool() -> AsyncIterator[None]:
    if not (FOLDER / "database").exists():
        raise ConnectionRefusedError("no database")
    POOL.append(os.getpid())
    yield
    (FOLDER / f"left-{os.getpid()}").touch()


class Around(Middleware):
    async def activity(self, call: ActivityCall, next: Next[ActivityCall]) -> Any:
        return [*await next(call), 7]


if IN_A_CLUSTER:  # in use for good where the module is loaded, which the tests' own process must not be
    sagas.use(Around())


@activity
async def use() -> list[int]:
    return POOL


@activity(ray={"num_cpus": 0.1})
async def use_alone() -> list[int]:
    return POOL


@saga
async def using_alone() -> list[int]:
    return await use_alone()


@saga
async def using() -> list[int]:
    return await use()
