"""Runs that stand still or end otherwise: parked and resumed, paused, cancelled, terminated."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import sagas
from sagas import Handle, Retry, activity, saga
from sagas.testing import Environment
from tests.histories.programs import recorded

BUG = [False]
"""Only while it is recorded: the code that is replayed has been mended."""


@activity(retry=Retry(max_attempts=1))
async def work(number: int) -> int:
    return number


@activity(retry=Retry(park_after=2, jitter=0))
async def stubborn() -> None:
    if BUG[0]:
        raise OSError("nobody answers")


@saga
async def mended() -> int:
    first = await work(1)
    if BUG[0]:
        raise KeyError("a bug")
    await stubborn()
    return first + await work(2)


@recorded
async def parked_and_resumed(env: Environment) -> list[Handle[Any]]:
    BUG[0] = True
    parked, waiting = [await env.client.start(mended, id=id) for id in ("parked", "waiting")]
    with suppress(sagas.SagaParked):
        await parked.result()
    BUG[0] = False
    await parked.resume("anna")
    assert await parked.result() == 3
    await env.settle()
    return [parked, waiting]


@saga
async def patient() -> int:
    async with asyncio.timeout(1000):
        return await work(1) + await _after_a_while()


async def _after_a_while() -> int:
    try:
        await sagas.sleep(100)
        return 1
    except asyncio.CancelledError:
        await work(-1)
        raise


@recorded
async def paused_and_resumed(env: Environment) -> list[Handle[Any]]:
    handle = await env.client.start(patient, id="paused")
    await env.settle()
    await handle.pause("anna")
    await env.advance(hours=1)
    await handle.resume("bert")
    with suppress(sagas.SagaFailed):
        await handle.result()
    return [handle]


@recorded
async def cancelled_and_terminated(env: Environment) -> list[Handle[Any]]:
    cancelled, terminated = [await env.client.start(patient, id=id) for id in ("cancelled", "terminated")]
    await env.advance(seconds=10)
    await cancelled.cancel("enough")
    await terminated.terminate("now")
    with suppress(sagas.SagaCancelled):
        await cancelled.result()
    at_once = await env.client.start(patient, id="at-once")
    await at_once.cancel("before its first line")
    await env.settle()
    return [cancelled, terminated, at_once]
