"""A codec between processes and what is durable: everything works through it; without the key runs wait, unharmed."""

from __future__ import annotations

import pytest

import sagas
from sagas import CodecError, QueryFailed, Rejected, SagaFailed, activity, compensating, query, saga, signal
from tests.conformance.world import World
from tests.payloads.codecs import Know, Xor, know

__all__ = ["know"]

SECRET = "Ada-4711"
a, b = Xor("key-a", 0x33), Xor("key-b", 0x77)
undone: list[tuple[str | None, str]] = []


class Refused(Rejected): ...


@activity
async def reserve(name: str) -> str:
    return f"room of {name}"


@reserve.compensation
async def give_back(room: str | None, name: str) -> None:
    undone.append((room, name))


@activity
async def pay(name: str) -> str:
    raise Refused(f"the card of {name}")


@saga
class Stay:
    def __init__(self, guest: str) -> None:
        self.guest = guest
        self.wishes: list[str] = []
        self.leaving = False

    async def run(self) -> str:
        async with compensating():
            room = await reserve(self.guest)
            await sagas.wait_until(lambda: self.leaving)
            if self.wishes:
                await pay(self.guest)
        return room

    @signal
    def wish(self, what: str) -> None:
        self.wishes.append(what)

    @signal
    def leave(self) -> None:
        self.leaving = True

    @query
    def wished(self) -> list[str]:
        if not self.wishes:
            raise ValueError(f"{self.guest} wished for nothing")
        return self.wishes


@saga
async def careless(guest: str) -> None:
    raise TypeError(f"a bug with {guest}")


def test_a_run_goes_through_its_whole_life_sealed(everywhere: World, know: Know) -> None:
    async def scenario() -> None:
        undone.clear()
        know(a)
        h = await everywhere.client.start(Stay, SECRET, id="stay-1")
        with pytest.raises(QueryFailed, match=SECRET):
            await h.query(Stay.wished)
        await h.signal(Stay.wish, f"{SECRET} wants quiet")
        know(b, a)  # a new key: what the old one sealed is still read
        assert await h.query(Stay.wished) == [f"{SECRET} wants quiet"]
        await h.signal(Stay.leave)
        with pytest.raises(SagaFailed, match=f"the card of {SECRET}") as failed:
            await h.result()
        assert isinstance(failed.value.__cause__, Refused)
        assert failed.value.__cause__.args == (f"the card of {SECRET}",)
        assert undone == [(f"room of {SECRET}", SECRET)]

    everywhere.run(scenario)


def test_without_the_key_everything_is_seen_and_nothing_is_lost(durable: World, know: Know) -> None:
    async def scenario() -> None:
        know(a)
        h = await durable.client.start(Stay, SECRET, id="stay-2")
        await durable.until_waiting(h, "message")
        know(b)
        await durable.reopen(Stay, reserve, pay)
        h = durable.again(h)
        await h.signal(Stay.leave)

        async def waits_for_the_key() -> bool:
            return "'key-a'" in str((await h.describe()).waiting_for)

        await durable.until(waits_for_the_key)
        assert (await h.describe()).parked is None
        assert [each.id async for each in durable.client.list("type = 'Stay'")] == ["stay-2"]
        with pytest.raises(QueryFailed, match="'key-a'"):
            await h.query(Stay.wished)
        assert SECRET not in str(await h.history())
        know(b, a)
        await durable.reopen(Stay, reserve, pay)
        assert await durable.again(h).result() == f"room of {SECRET}"
        know(a)
        with pytest.raises(CodecError, match="'key-b'"):
            await durable.again(h).result()

    durable.run(scenario)


def test_the_words_of_errors_are_sealed_in_heads_and_histories(everywhere: World, know: Know) -> None:
    async def scenario() -> None:
        know(a)
        h = await everywhere.client.start(careless, SECRET, id="careless-1")
        assert SECRET in await everywhere.until_parked(h)
        assert SECRET not in str(await h.history())
        know()
        found = [each.parked async for each in everywhere.client.list("type = 'careless'")]
        assert found == ["TypeError: (sealed with 'key-a')"]

    everywhere.run(scenario)
