"""What the public types must refuse: each line marked with E and a code is an error of that code, and no other is."""

from __future__ import annotations

from dataclasses import dataclass

import sagas
from sagas import Client, SyncClient, activity, saga, signal, update


@activity
async def charge(user_id: str, cents: int) -> str:
    return f"{user_id} {cents}"


@saga
async def book(user_id: str) -> str:
    await charge(user_id)  # E: call-arg
    await charge(user_id, "5")  # E: arg-type
    await charge.options(timeout="5")(user_id, 5)  # E: arg-type
    await charge.options(ray={"gpus": 1})(user_id, 5)  # E: arg-type
    await charge.options(ray={"num_gpus": "all"})(user_id, 5)  # E: arg-type
    return await charge(user_id, 5)


@saga
@dataclass
class Subscription:
    user_id: str

    async def run(self) -> int:
        return 1

    @signal
    def cancel(self, reason: str) -> None: ...

    @update
    async def change_plan(self, plan: str) -> int:
        return len(plan)

    @change_plan.validator  # E: arg-type
    def check_plan(self, plan: int) -> None: ...


@saga
async def tidy_up() -> None:
    other = sagas.instance("sub-1")
    await other.signal(Subscription.cancel, 5)  # E: arg-type
    await other.signal(Subscription.cancel, "a", "b")  # E: arg-type
    await other.cancel(5)  # E: arg-type
    sagas.set_attributes(plan=["pro"])  # E: arg-type
    sagas.patched(5)  # E: arg-type
    await sagas.instance(5).cancel()  # E: arg-type


@saga
async def supervise() -> str:
    sagas.child(book, 5)  # E: arg-type
    sagas.child(Subscription, "u1", on_parent_close="forget")  # E: call-overload
    child = sagas.child(Subscription, "u1")
    await child.signal(Subscription.cancel, 5)  # E: arg-type
    text: str = await child  # E: assignment
    return text


async def use(client: Client) -> None:
    await client.start(book, 5)  # E: arg-type
    handle = await client.start(Subscription, "u1")
    await handle.signal(Subscription.cancel, 5)  # E: arg-type
    await handle.update(Subscription.change_plan, 5)  # E: arg-type
    await handle.update(Subscription.change_plan)  # E: arg-type
    _changed: str = await handle.update(Subscription.change_plan, "pro")  # E: arg-type
    _text: str = await handle.result()  # E: assignment


def use_sync(client: SyncClient) -> None:
    client.start(book, 5)  # E: arg-type
    client.start(book)  # E: arg-type
    client.execute(book, "u1", 5)  # E: arg-type
    client.start(book, "u1", on_conflict="replace")  # E: call-overload
    handle = client.start(Subscription, "u1")
    handle.signal(Subscription.cancel, 5)  # E: arg-type
    handle.signal(Subscription.cancel)  # E: arg-type
    _text: str = handle.result()  # E: assignment
    _more: int = client.execute(book, "u1")  # E: assignment
