"""Runs and others: children, answers from outside, updates, runs that go on from another's history."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import sagas
from sagas import (
    Handle,
    Rejected,
    Retry,
    SagaAlreadyStarted,
    SagaCancelled,
    SagaFailed,
    UpdateFailed,
    UpdateRejected,
    activity,
    compensating,
    query,
    saga,
    signal,
    update,
)
from sagas.testing import Environment
from tests.histories.programs import recorded


class No(Rejected):
    """Whoever was asked said no."""


@activity(retry=Retry(max_attempts=1))
async def reserve(what: str) -> str:
    return f"reserved {what}"


@reserve.compensation
async def give_back(reserved: str | None, what: str) -> None: ...


@saga
async def supplier(what: str) -> str:
    async with compensating():
        reserved = await reserve(what)
        if what == "nothing":
            raise No("none left")
        if what == "later":
            await sagas.sleep(86_400)
    return reserved


@saga
async def orders() -> list[Any]:
    said: list[Any] = await asyncio.gather(sagas.child(supplier, "a"), sagas.child(supplier, "b", id="b"))
    for again in ("nothing", "taken", "later"):
        child = sagas.child(supplier, again, id=again)
        if again == "later":
            await sagas.sleep(60)
            await child.cancel("not needed")
        try:
            said.append(await child)
        except (SagaFailed, SagaCancelled, SagaAlreadyStarted) as error:
            said.append(type(error).__name__)
    sagas.child(supplier, "later", id="left behind", on_parent_close="abandon")
    return said


@recorded
async def children(env: Environment) -> list[Handle[Any]]:
    taken = await env.client.start(supplier, "later", id="taken")
    handle = await env.client.start(orders, id="orders")
    said = await handle.result()
    assert said[2:] == ["SagaFailed", "SagaAlreadyStarted", "SagaCancelled"], said
    await env.settle()
    return [handle, taken, *(env.client.get(id) for id in ("b", "nothing", "later", "left behind"))]


@saga
class Approval:
    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.seats = 1

    async def run(self) -> list[str]:
        said = []
        for _ in range(3):
            callback = sagas.callback(str)
            self.tokens.append(callback.token)
            try:
                async with asyncio.timeout(1000):
                    said.append(await callback)
            except (No, TimeoutError) as error:
                said.append(type(error).__name__)
        return [*said, str(self.seats)]

    @query
    def token(self) -> str:
        return self.tokens[-1]

    @update
    async def add_seats(self, seats: int) -> int:
        await reserve(f"{seats} seats")
        self.seats += seats
        return self.seats

    @add_seats.validator
    def check_seats(self, seats: int) -> None:
        if seats > 5:
            raise ValueError("too many")

    @update
    def set_seats(self, seats: int) -> None:
        if seats < 0:
            raise ValueError("there is no such number")
        self.seats = seats

    @signal
    def reset(self) -> None:
        self.seats = 1


@recorded
async def answers_and_updates(env: Environment) -> list[Handle[Any]]:
    handle = await env.client.start(Approval, id="approval")
    await env.client.complete(await handle.query(Approval.token), "yes")
    assert await handle.update(Approval.add_seats, 2) == 3
    with suppress(UpdateRejected):
        await handle.update(Approval.add_seats, 6)
    with suppress(UpdateFailed):
        await handle.update(Approval.set_seats, -1)
    await handle.pause()
    await env.settle()
    late = [asyncio.create_task(handle.update(Approval.add_seats, seats)) for seats in (1, 9)]
    await env.settle()
    await handle.resume()
    await asyncio.gather(*late, return_exceptions=True)
    await env.client.fail(await handle.query(Approval.token), No("not today"))
    await env.settle()
    assert await handle.result() == ["yes", "No", "TimeoutError", "4"]
    return [handle]


@recorded
async def forked(env: Environment) -> list[Handle[Any]]:
    handle = await env.client.start(supplier, "later", id="origin")
    await env.advance(hours=1)
    at = [type(event).__name__ for event in await handle.history()].index("StepCompleted")
    fork = await handle.fork(event=at, id="fork")
    await handle.result()
    await fork.result()
    return [handle, fork]
