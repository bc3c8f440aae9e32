"""Timers, signals, conditions, and messages between instances."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import sagas
from sagas import Handle, Retry, SagaClosed, SagaNotFound, activity, saga, signal
from sagas.testing import Environment
from tests.histories.programs import recorded


@activity(retry=Retry(max_attempts=1))
async def bill(month: int) -> int:
    return month


@saga
async def timers() -> list[Any]:
    loop, said = asyncio.get_running_loop(), list[Any]()
    await sagas.sleep(timedelta(days=31))
    await sagas.sleep_until(sagas.now() + timedelta(hours=1))
    try:
        async with asyncio.timeout(5):
            await asyncio.Event().wait()
    except TimeoutError:
        said.append("timeout")
    async with asyncio.timeout(50):
        said.append(await bill(1))
    try:
        await asyncio.wait_for(asyncio.sleep(1000), 2)
    except TimeoutError:
        said.append("wait_for")
    later = loop.create_future()
    loop.call_later(3, later.set_result, "call_later")
    said.append(await later)
    handle = loop.call_later(9, said.append, "never")
    await asyncio.sleep(0)
    handle.cancel()
    return [*said, sagas.now().isoformat()]


@recorded
async def timers_of_every_kind(env: Environment) -> list[Handle[Any]]:
    handle = await env.client.start(timers, id="timers")
    await handle.result()
    return [handle]


@saga
@dataclass
class Subscription:
    user: str
    plan: str = "free"
    ended: bool = False
    seen: list[str] = field(default_factory=list)

    async def run(self) -> str:
        months = 0
        while not self.ended:
            months += 1
            await bill(months)
            try:
                await sagas.wait_until(lambda: self.ended, timeout=timedelta(days=31))
            except TimeoutError:
                continue
        return f"{self.user} {self.plan} {months} {self.seen}"

    @signal
    async def change_plan(self, plan: str) -> None:
        await bill(-1)
        await asyncio.sleep(60)
        self.plan = plan

    @signal
    def end(self) -> None:
        self.ended = True

    @signal
    def reject(self, why: str) -> None:
        raise ValueError(why)

    @signal
    def note(self, number: int) -> None:
        self.seen.append(f"{number} of {sagas.info().id}")


@recorded
async def a_subscription(env: Environment) -> list[Handle[Any]]:
    handle = await env.client.start(Subscription, "u1", id="sub")
    await env.advance(days=70)
    await handle.signal(Subscription.change_plan, "pro")
    await handle.signal(Subscription.note, 7)
    await handle.signal("nobody_hears", 1)
    await handle.signal("note", "no number")
    await handle.signal(Subscription.reject, "dead letter")
    await env.restart()
    await env.advance(days=40)
    await handle.signal(Subscription.end)
    await handle.result()
    return [handle]


@saga
async def courier(targets: list[str]) -> list[str]:
    said = []
    for target in targets:
        try:
            await sagas.instance(target).signal(Subscription.note, 1)
            await sagas.instance(target).cancel("by the courier")
        except (SagaNotFound, SagaClosed) as error:
            said.append(type(error).__name__)
        else:
            said.append("delivered")
    return said


@recorded
async def messages_between_instances(env: Environment) -> list[Handle[Any]]:
    open_one = await env.client.start(Subscription, "u1", id="open")
    closed = await env.client.start(timers, id="closed")
    await closed.terminate("for the test")
    await env.settle()
    sender = await env.client.start(courier, ["open", "closed", "nobody"], id="courier")
    assert await sender.result() == ["delivered", "SagaClosed", "SagaNotFound"]
    await env.settle()
    return [sender, open_one, closed]


@saga
class Clerk:
    """Takes a letter at the second attempt."""

    def __init__(self) -> None:
        self.got: list[int] = []
        self.asked = 0

    async def run(self) -> list[int]:
        await sagas.wait_until(lambda: len(self.got) == 2)
        return self.got

    @signal
    def put(self, number: int) -> None:
        self.asked += 1
        if self.asked == 1:
            raise ValueError("not yet")
        self.got.append(number)


@recorded
async def dead_letters_redelivered(env: Environment) -> list[Handle[Any]]:
    handle = await env.client.start(Clerk, id="clerk")
    await env.settle()
    await handle.signal("put", 1, message_id="m1")
    await handle.signal("no_such", message_id="m2")
    await handle.signal("put", "x", message_id="m3")
    await env.settle()
    await handle.redeliver(by="anna")
    await env.settle()
    await handle.signal("put", 2)
    await handle.result()
    return [handle]
