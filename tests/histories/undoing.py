"""Scopes: undone, kept, nested, in parallel, back to a savepoint, past a pivot, cancelled, stuck."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import sagas
from sagas import ActivityFailed, Handle, Rejected, Retry, activity, compensating, saga
from sagas.testing import Environment
from tests.histories.programs import recorded


class Full(Rejected):
    """No room left."""


@activity(retry=Retry(max_attempts=1))
async def book(place: str) -> str:
    if place.startswith("full"):
        raise Full(place)
    if place.startswith("broken"):
        raise OSError(place)
    return f"booked {place}"


@book.compensation(retry=Retry(max_attempts=2, jitter=0))
async def release(booking: str | None, place: str) -> None:
    if place.startswith("sticky"):
        raise OSError("it cannot be undone")


@activity(retry=Retry(max_attempts=1))
async def tell(what: str) -> None: ...


@saga
async def trip(plan: list[str], parallel: bool = False) -> int:
    async with compensating(parallel=parallel) as undo:
        undo.add(tell, "undone by hand")
        for place in plan:
            if place == "pivot":
                undo.pivot()
            elif place == "nap":
                await sagas.sleep(86400)
            elif place == "tell":
                await tell("forward")
            else:
                await book(place)
    return len(plan)


async def _ended(handle: Handle[Any]) -> Handle[Any]:
    with suppress(sagas.SagaFailed, sagas.SagaCancelled):
        await handle.result()
    return handle


@recorded
async def scopes(env: Environment) -> list[Handle[Any]]:
    plans = {
        "well": ["a", "b"],
        "refused": ["a", "b", "full"],
        "unknown": ["a", "broken"],
        "pivoted": ["a", "pivot", "tell"],
    }
    handles = [await env.client.start(trip, plan, id=name) for name, plan in plans.items()]
    handles.append(await env.client.start(trip, ["a", "b", "c", "full"], True, id="parallel"))
    return [await _ended(handle) for handle in handles]


@recorded
async def scopes_cancelled(env: Environment) -> list[Handle[Any]]:
    asleep = await env.client.start(trip, ["a", "b", "nap", "c"], id="asleep")
    await env.advance(hours=1)
    await asleep.cancel("enough")
    pivoted = await env.client.start(trip, ["a", "pivot", "nap", "tell"], id="pivoted")
    await env.advance(hours=1)
    await pivoted.cancel("too late")
    return [await _ended(asleep), await _ended(pivoted)]


@recorded
async def scopes_stuck(env: Environment) -> list[Handle[Any]]:
    handle = await env.client.start(trip, ["a", "sticky", "full"], id="stuck")
    await env.advance(hours=1)
    assert (await handle.describe()).compensation == "stuck"
    return [handle]


@saga
async def winding() -> str:
    async with compensating() as undo:
        await book("first")
        place = undo.savepoint()
        await book("second")
        await book("third")
        await undo.back_to(place)
        async with compensating():
            await book("inner")
        unknown = book("broken")
        with suppress(ActivityFailed):
            await unknown
        undo.keep(unknown)
        with suppress(ActivityFailed):
            await book("broken and not kept")
        await asyncio.gather(book("left"), book("right"))
        with suppress(Full):
            async with compensating():
                await book("lost")
                await book("full")
    return "home"


@recorded
async def scopes_within_scopes(env: Environment) -> list[Handle[Any]]:
    handle = await env.client.start(winding, id="winding")
    assert await handle.result() == "home"
    return [handle]


@saga
async def group() -> None:
    async with compensating(), asyncio.TaskGroup() as together:
        for place in ("a", "b", "full", "c"):
            together.create_task(book(place))


@recorded
async def scope_around_a_group(env: Environment) -> list[Handle[Any]]:
    return [await _ended(await env.client.start(group, id="group"))]
