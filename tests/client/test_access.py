"""A client's way into a store: standstills that were lifted, and subscriptions that fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sagas import access as access_module
from sagas.access import Access
from sagas.errors import SagaNotFound, SagaParked, StoreUnavailable
from sagas.patience import RealPatience
from sagas.store.head import encode_head
from sagas.store.memory import MemoryStore
from sagas.store.port import AdmissionVerdict, Claim, Head, Listener, Status, Subscription
from tests.contract.samples import claimed, closing, committed, message, step


def parked(run_id: str = "r1", events: int = 3, lifts: int = 0) -> bytes:
    return encode_head(
        Head(
            status=Status.RUNNING, run_id=run_id, type="T", version=1, events=events, started_ms=1, closed_ms=0,
            parked="a bug", lifts=lifts,
        )
    )  # fmt: skip


def play(scenario: Callable[[MemoryStore, Access], Awaitable[None]], store: MemoryStore | None = None) -> None:
    async def run() -> None:
        opened = store or MemoryStore()
        access = Access(opened, RealPatience())
        await scenario(opened, access)
        await access.close()

    asyncio.run(run())


async def stored(store: MemoryStore, head: bytes, id: str = "a") -> Claim:
    claim = await claimed(store, id)
    await committed(store, claim, claim.sequence + 1, step(id, head=head))
    return claim


async def is_parked(access: Access, id: str = "a") -> bool:
    """What asking for the result says, without waiting."""
    try:
        await access.result(id, None, 0)
    except SagaParked:
        return True
    except TimeoutError:
        return False
    raise AssertionError("it has not ended")


# --- standstills


def test_a_resume_that_is_repeated_lifts_no_later_standstill() -> None:
    async def scenario(store: MemoryStore, access: Access) -> None:
        claim = await stored(store, parked(events=3))
        assert await is_parked(access)
        resume = message("a", message_id="m")
        await access.lift(resume)
        assert not await is_parked(access)  # the result is asked for only after the message was applied
        await committed(store, claim, 2, step("a", 1, head=parked(events=5)))
        assert not await is_parked(access)  # what was applied are signals that had come before
        await committed(store, claim, 3, step("a", 2, head=parked(events=6, lifts=1)))
        assert (await access.lift(resume)).verdict is AdmissionVerdict.KNOWN
        assert await is_parked(access)

    play(scenario)


def test_what_lifted_one_run_lifts_no_later_run_of_its_id() -> None:
    async def scenario(store: MemoryStore, access: Access) -> None:
        claim = await stored(store, parked(events=9))
        await access.lift(message("a"))
        await committed(store, claim, 2, closing("a", 1, read_upto="9999999999999-0"))
        await committed(store, claim, 3, step("a", run_id="r2", head=parked("r2", events=2)))
        assert await is_parked(access)

    play(scenario)


def test_a_refused_message_lifts_nothing() -> None:
    async def scenario(store: MemoryStore, access: Access) -> None:
        await stored(store, parked())
        with pytest.raises(SagaNotFound):
            await access.lift(message("a", run_id="another"))
        assert await is_parked(access)

    play(scenario)


def test_few_are_remembered_and_none_that_was_told_as_parked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_module, "_MOST_LIFTED", 2)

    async def scenario(store: MemoryStore, access: Access) -> None:
        claims = {}
        for id in ("a", "b", "c"):
            claims[id] = await stored(store, parked(), id)
            await access.lift(message(id))
        assert [await is_parked(access, id) for id in ("a", "b", "c")] == [True, False, False]
        for id in ("b", "c"):
            claim = claims[id]
            await committed(store, claim, claim.sequence + 2, step(id, 1, head=parked(events=4, lifts=1)))
            assert await is_parked(access, id)
        assert access._lifted == {}

    play(scenario)


class Damaged(MemoryStore):
    """Its heads can be read by nobody but the door."""

    async def head(self, id: str) -> bytes | None:
        return b"\xc1"


def test_a_head_that_cannot_be_read_keeps_nobody_from_ending_the_run() -> None:
    async def scenario(store: MemoryStore, access: Access) -> None:
        await stored(store, parked())
        assert (await access.lift(message("a"))).verdict is AdmissionVerdict.OK

    play(scenario, Damaged())


# --- subscriptions


class Deaf(MemoryStore):
    """Its first subscription fails when ``fail`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.fail = asyncio.Event()
        self.asked = 0
        self.closed = False

    async def subscribe(self, channel: str, listener: Listener) -> Subscription:
        self.asked += 1
        if self.asked == 1:
            await self.fail.wait()
            raise StoreUnavailable("not now")
        return await super().subscribe(channel, listener)

    async def close(self) -> None:
        self.closed = True
        await super().close()


async def left(access: Access, store: Deaf) -> None:
    """A caller subscribes, and leaves before it has failed."""
    asking = asyncio.ensure_future(access.result("a", None, 0))
    while not store.asked:
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])


def test_a_subscription_that_failed_after_its_caller_left_is_nobodys_failure() -> None:
    store = Deaf()

    async def scenario(_: MemoryStore, access: Access) -> None:
        await stored(store, parked())
        await left(access, store)
        (subscription,) = access._subscriptions.values()
        store.fail.set()
        await asyncio.wait([subscription])
        assert await is_parked(access)

    play(scenario, store)


@pytest.mark.parametrize("fails", [True, False], ids=["failed", "on its way"])
def test_closing_closes_the_store_whatever_became_of_subscriptions(fails: bool) -> None:
    store = Deaf()

    async def scenario(_: MemoryStore, access: Access) -> None:
        await left(access, store)
        (subscription,) = access._subscriptions.values()
        if fails:
            subscription.add_done_callback(lambda _: None)
            store.fail.set()
            while not subscription.done():
                await asyncio.sleep(0)
        await access.close()
        assert store.closed

    play(scenario, store)
