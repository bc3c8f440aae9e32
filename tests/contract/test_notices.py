"""Notices and replies: who listens hears, in order, and only what is meant for it."""

import asyncio

from sagas.store.port import Store
from tests.conftest import OpenStore
from tests.contract.samples import DEADLINE_S, claimed, committed, step, with_store


class Ear:
    """A listener that can be waited on."""

    def __init__(self) -> None:
        self._heard: asyncio.Queue[bytes] = asyncio.Queue()

    def __call__(self, payload: bytes) -> None:
        self._heard.put_nowait(payload)

    async def next(self) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            return await self._heard.get()


def test_what_is_published_is_heard_by_all_who_listen(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        one, two, elsewhere = Ear(), Ear(), Ear()
        await store.subscribe("x", one)
        await store.subscribe("x", two)
        await store.subscribe("y", elsewhere)
        for payload in (b"1", b"2"):
            await store.publish("x", payload)
        await store.publish("y", b"\x00\xff")
        assert [await one.next(), await one.next()] == [b"1", b"2"]
        assert [await two.next(), await two.next()] == [b"1", b"2"]
        assert await elsewhere.next() == b"\x00\xff"

    with_store(open_store, scenario)


def test_a_commit_publishes_its_notices_on_the_shards_channel(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        ear = Ear()
        await store.subscribe(store.notice_channel("a"), ear)
        claim = await claimed(store, "a")
        await committed(store, claim, 1, step("a", 5, notice=b"refused"))
        await committed(store, claim, 1, step("a", notice=b"first"), step("a", 1), step("a", 2, notice=b"second"))
        assert [await ear.next(), await ear.next()] == [b"first", b"second"]

    with_store(open_store, scenario)


def test_a_closed_subscription_hears_nothing_more(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        gone, stays = Ear(), Ear()
        subscription = await store.subscribe("x", gone)
        await subscription.close()
        await subscription.close()
        await store.subscribe("x", stays)
        again = await store.subscribe("x", gone)
        await again.close()
        await store.publish("x", b"1")
        assert await stays.next() == b"1"
        assert gone._heard.empty()

    with_store(open_store, scenario)


def test_a_listener_that_raises_does_not_deafen_the_others(open_store: OpenStore, caplog) -> None:
    async def scenario(store: Store) -> None:
        def broken(payload: bytes) -> None:
            raise RuntimeError("broken")

        ear = Ear()
        await store.subscribe("x", broken)
        await store.subscribe("x", ear)
        await store.publish("x", b"1")
        await store.publish("x", b"2")
        assert [await ear.next(), await ear.next()] == [b"1", b"2"]

    with_store(open_store, scenario)
    assert "a listener on a channel raised" in caplog.text


def test_a_listener_never_runs_inside_the_commit(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        ear = Ear()
        inside = asyncio.current_task()
        tasks: list[asyncio.Task[object] | None] = []

        def listener(payload: bytes) -> None:
            tasks.append(asyncio.current_task())
            ear(payload)

        await store.subscribe(store.notice_channel("a"), listener)
        await committed(store, claim, 1, step("a", notice=b"closed"))
        assert await ear.next() == b"closed"
        assert inside not in tasks

    with_store(open_store, scenario)
