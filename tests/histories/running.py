"""A run as a whole: its attributes, its patches, its timeout, its start."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import sagas
from sagas import Handle, Retry, SagaTimedOut, activity, compensating, patched, saga
from sagas.testing import Environment
from tests.histories.programs import recorded


@activity
async def hold(seats: int) -> str:
    return f"{seats} seats"


@hold.compensation
async def let_go(held: str | None, seats: int) -> None: ...


@saga
async def customer() -> dict[str, Any]:
    sagas.set_attributes(plan="basic", seats=1, trial=True)
    await sagas.sleep(1)
    if patched("no trials"):
        sagas.set_attributes(trial=None, rate=0.5)
    await sagas.sleep(1)
    return {"again": patched("no trials"), **sagas.info().attributes}


@recorded
async def attributes_and_patches(env: Environment) -> list[Handle[Any]]:
    handle = await env.client.start(customer, id="customer", attributes={"region": "eu"})
    await handle.result()
    return [handle]


@saga(timeout=timedelta(hours=1))
async def bounded(seats: int) -> None:
    async with compensating():
        await hold(seats)
        await asyncio.Event().wait()


@recorded
async def timed_out(env: Environment) -> list[Handle[Any]]:
    handle = await env.client.start(bounded, 2, id="bounded")
    try:
        await handle.result()
    except SagaTimedOut:
        return [handle]
    raise AssertionError("it waits for ever")


@saga
class Delayed:
    def __init__(self) -> None:
        self.told: list[str] = []

    async def run(self) -> list[str]:
        return self.told

    @sagas.signal
    def tell(self, what: str) -> None:
        self.told.append(what)


@recorded
async def delayed_and_cancelled_before(env: Environment) -> list[Handle[Any]]:
    begun = await env.client.start(Delayed, id="delayed", start_delay=60)
    never = await env.client.start(Delayed, id="never", start_delay=60)
    await begun.signal(Delayed.tell, "early")
    await never.cancel("changed my mind")
    await begun.result()
    return [begun, never]


@saga
class Counted:
    def __init__(self, turn: int, told: list[str]) -> None:
        self.turn = turn
        self.told = told
        self.left = 2

    async def run(self) -> list[str]:
        sagas.set_attributes(turn=self.turn)
        await sagas.wait_until(lambda: self.left <= 0 or len(self.told) == 6)
        if len(self.told) == 6:
            return self.told
        sagas.continue_as_new(self.turn + 1, self.told)

    @sagas.signal
    async def tell(self, what: str) -> None:
        await sagas.sleep(1)
        self.told.append(what)
        self.left -= 1


@recorded
async def a_chain_of_runs(env: Environment) -> list[Handle[Any]]:
    handle = await env.client.start(Counted, 1, [], id="counted", attributes={"region": "eu"})
    for what in "abcdef":
        await handle.signal(Counted.tell, what)
        await env.advance(0.6)
    assert await handle.result() == list("abcdef")
    runs = [handle.run_id, *(f"{handle.run_id}~{place}" for place in (1, 2))]
    return [env.client.get("counted", run_id=run_id) for run_id in runs]


@saga(retry=Retry(initial=60, jitter=0, max_attempts=2), timeout=3600)
async def fails_at_first(turn: int) -> int:
    async with compensating():
        await hold(turn)
        if not sagas.info().run_id.endswith("~1"):
            raise ValueError("not at once")
    return turn


@recorded
async def a_run_that_is_tried_again(env: Environment) -> list[Handle[Any]]:
    handle = await env.client.start(fails_at_first, 5, id="again")
    assert await handle.result() == 5
    return [env.client.get("again", handle.run_id), handle]
