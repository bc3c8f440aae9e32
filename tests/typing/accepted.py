"""What users write, as the public types see it. mypy --strict must accept every line (test_public_types.py)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import assert_type

import sagas
from sagas import (
    Client,
    Description,
    Handle,
    Rejected,
    Retry,
    SyncClient,
    SyncHandle,
    activity,
    compensating,
    query,
    saga,
    signal,
    update,
)


class CardDeclined(Rejected): ...


@activity(retry=Retry(max_attempts=5, initial=timedelta(seconds=1)), timeout=30, queue="default")
async def charge(user_id: str, cents: int) -> str:
    return f"{user_id} {cents} {sagas.step().idempotency_key}"


@charge.compensation
async def refund(receipt: str | None, user_id: str, cents: int) -> None: ...


@activity(ray={"num_gpus": 1, "num_cpus": 0.5, "resources": {"tape": 2}})
def render(film: str) -> bytes:
    return film.encode()


@render.compensation(ray={"num_cpus": 1})
def erase(film: bytes | None, name: str) -> None: ...


@saga(placement="dedicated", ray={"resources": {"tape": 1}})
async def film(name: str) -> None:
    await render(name)


def _queues() -> dict[str, sagas.Workers | int]:
    big: sagas.RayResources = {"num_gpus": 4}
    render.options(ray=big)
    return {"gpu": sagas.Workers(count=2, ray=big, concurrency=8), "mail": 1}


@activity(heartbeat_timeout=timedelta(minutes=1), queue_timeout=30)
async def crawl(pages: int) -> None:
    for page in range(sagas.step().heartbeat_details or 0, pages):
        sagas.heartbeat(page)


@sagas.on_worker_start
async def pool() -> AsyncIterator[None]:
    yield


@sagas.on_worker_start
@asynccontextmanager
async def connection() -> AsyncIterator[str]:
    yield "open"


class Timing(sagas.Middleware):
    async def activity(self, call: sagas.ActivityCall, next: sagas.Next[sagas.ActivityCall]) -> object:
        return await next(replace(call, args=(*call.args, call.activity)))

    async def client(self, call: sagas.ClientCall, next: sagas.Next[sagas.ClientCall]) -> object:
        assert_type(call.operation, str)
        return await next(call)


with sagas.use(Timing()):
    pass


@activity
def count(user_id: str, *, deep: bool = False) -> int:
    return len(user_id) + deep


@saga
async def book(user_id: str, cents: int = 5) -> str:
    async with compensating() as undo:
        receipt = await charge(user_id, cents)
        assert_type(receipt, str)
        fast = await charge.options(timeout=5)(user_id, cents=cents)
        assert_type(fast, str)
        both = await asyncio.gather(count(user_id, deep=True), charge(user_id, 1))
        assert_type(both, tuple[int, str])
        undo.add(refund, None, user_id, cents)
    return receipt


@saga(name="sub", timeout=timedelta(days=365), retry=Retry(max_attempts=3))
@dataclass
class Subscription:
    user_id: str
    cancelled: bool = False

    async def run(self) -> int:
        await sagas.wait_until(lambda: self.cancelled, timeout=timedelta(days=31))
        return 1

    @signal
    def cancel(self, reason: str) -> None:
        self.cancelled = bool(reason)

    @query
    def is_cancelled(self) -> bool:
        return self.cancelled

    @update
    async def change_plan(self, plan: str, *, fast: bool = False) -> int:
        return len(plan) + fast

    @change_plan.validator
    def check_plan(self, plan: str, *, fast: bool = False) -> None:
        assert_type(self.rename(plan), bool)

    @update
    def rename(self, name: str) -> bool:
        return bool(name)


@saga
async def tidy_up(user_id: str) -> None:
    other = sagas.instance(f"sub-{user_id}")
    assert_type(await other.signal(Subscription.cancel, "no longer needed"), None)
    await other.signal("cancel", "by name")
    await asyncio.gather(other.cancel("gone"), other.cancel(reason="gone"))
    assert_type(sagas.patched("in one go"), bool)
    sagas.set_attributes(plan="pro", seats=5, rate=0.5, trial=None)


@saga
async def monthly(turn: int) -> int:
    if turn == 12:
        return turn
    sagas.continue_as_new(turn + 1)  # never returns: no path is left without a result


@saga
async def supervise(user_id: str) -> str:
    subscription = sagas.child(Subscription, user_id, id=f"sub-{user_id}", on_parent_close="abandon")
    assert_type(await subscription.signal(Subscription.cancel, "no longer needed"), None)
    await subscription.cancel(reason="gone")
    assert_type(await subscription, int)
    assert_type(await asyncio.gather(subscription, sagas.child(book, user_id, 5)), tuple[int, str])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(sagas.child(book, user_id))
    assert_type(task.result(), str)
    return await sagas.child(book, user_id)


@saga
async def approved(order_id: str) -> int:
    back: sagas.Callback[int] = sagas.callback(int)
    await charge(back.token, 1)
    assert_type(await back, int)
    many = sagas.callback(list[str])
    assert_type(await many, list[str])
    return await asyncio.wait_for(back, timeout=5)


async def answer(client: Client, token: str) -> None:
    assert_type(await client.complete(token, {"any": "value"}, message_id="m1"), None)
    await client.fail(token, "no")
    await client.fail(token, CardDeclined("no"))


async def use(client: Client) -> None:
    handle = await client.start(Subscription, "u1", id="sub-1")
    assert_type(handle, Handle[int])
    await client.start(Subscription, "u1", True, start_delay=timedelta(days=1))
    await handle.signal(Subscription.cancel, "no longer needed", message_id="m1")
    await handle.signal("cancel", "by name")
    assert_type(await handle.query(Subscription.is_cancelled), bool)
    assert_type(await handle.update(Subscription.change_plan, "pro", message_id="m1", timeout=5), int)
    assert_type(await handle.update(Subscription.rename, "n"), bool)
    await handle.update("rename", "by name", timeout=timedelta(seconds=5))
    assert_type(await handle.result(timeout=5), int)
    assert_type(await client.execute(book, "u1", 5), str)
    assert_type(await client.execute(book, "u1"), str)


def use_sync() -> None:
    with sagas.connect_sync(namespace="shop") as client:
        assert_type(client, SyncClient)
        handle = client.start(Subscription, "u1", id="sub-1")
        assert_type(handle, SyncHandle[int])
        client.start(Subscription, "u1", True, start_delay=60)
        handle.signal(Subscription.cancel, "no longer needed", message_id="m1")
        handle.signal("cancel", "by name")
        assert_type(handle.query(Subscription.is_cancelled), bool)
        assert_type(handle.update(Subscription.change_plan, "pro", message_id="m1", timeout=5), int)
        assert_type(handle.update(Subscription.rename, "n"), bool)
        assert_type(handle.result(timeout=5), int)
        assert_type(handle.describe(), Description)
        assert_type(client.execute(book, "u1", 5), str)
        assert_type(client.execute(book, "u1"), str)
        assert_type(client.list("status = 'running'"), Iterator[Description])
        assert_type(client.count(), int)


def holds_code_against_histories(files: list[Path]) -> None:
    assert_type(sagas.testing.replay(book, files), None)
    sagas.testing.replay(Subscription, files[0])
    sagas.testing.replay(book, b"")


@saga
async def measures() -> float:
    with sagas.unguarded():
        return time.perf_counter()
