"""Callbacks: a token given away, and a saga that waits until its holder has answered, once."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass
from typing import Any

import pytest

import sagas
from sagas import ActivityFailed, CallbackDone, InvalidArgument, Rejected, SagaClosed, activity, query, saga
from sagas.kernel.token import Token
from tests.conformance.world import World, event_names


class NotToday(Rejected):
    """The approver said no."""


@dataclass
class Approval:
    by: str
    cents: int


given: dict[str, str] = {}


@activity
async def give_away(name: str, token: str) -> None:
    given[name] = token


@saga
class Order:
    def __init__(self, name: str, times: int = 1) -> None:
        self.name = name
        self.times = times
        self.tokens: list[str] = []

    async def run(self) -> list[Any]:
        callbacks = [sagas.callback(Approval) for _ in range(self.times)]
        self.tokens = [each.token for each in callbacks]
        await give_away(self.name, self.tokens[0])
        found: list[Any] = []
        for each in callbacks:
            try:
                approval = await each
            except NotToday as error:
                found.append(error.args[0])
            except ActivityFailed as error:
                found.append([error.activity, error.cause_type, error.message])
            else:
                assert approval is not await each  # decoded for each who awaits it
                found.append([approval.by, approval.cents])
        return found

    @query
    def all_tokens(self) -> list[str]:
        return self.tokens


async def tokens(world: World, id: str) -> list[str]:
    """Those of an order that has given them away."""
    await world.until_event(world.client.get(id), "StepCompleted")
    found: list[str] = await world.client.get(id).query("all_tokens")
    return found


def test_a_callback_is_completed_from_outside(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Order, "a", id="a")
        await everywhere.until_waiting(handle, "callback")
        (token,) = await tokens(everywhere, "a")
        assert given["a"] == token
        assert token.replace("-", "").replace("_", "").isalnum()
        (wait,) = [wait for wait in (await handle.describe()).waiting_for if wait.kind == "callback"]
        assert "callback" in str(wait)
        await everywhere.client.complete(token, Approval("anna", 500))
        assert await handle.result() == [["anna", 500]]

    everywhere.run(scenario)


def test_a_callback_outlives_its_host(durable: World) -> None:
    async def scenario() -> None:
        await durable.client.start(Order, "a", 2, id="a")
        first, second = await tokens(durable, "a")
        await durable.client.complete(first, Approval("anna", 1))
        await durable.reopen(Order, give_away)
        assert await tokens(durable, "a") == [first, second]
        with pytest.raises(CallbackDone):
            await durable.client.complete(first, Approval("bert", 2))
        await durable.client.complete(second, Approval("carl", 3))
        assert await durable.client.get("a").result() == [["anna", 1], ["carl", 3]]

    durable.run(scenario)


def test_a_callback_fails_as_an_activity_does(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Order, "a", 4, id="a")
        each = await tokens(everywhere, "a")
        await everywhere.client.fail(each[0], "the printer is on fire")
        await everywhere.client.fail(each[1], NotToday("come back"))
        await everywhere.client.fail(each[2], OSError("no answer"))
        await everywhere.client.complete(each[3], ["no", "approval"])
        found = await handle.result()
        assert found[:3] == [
            ["callback", "Failed", "the printer is on fire"],
            "come back",
            ["callback", "OSError", "no answer"],
        ]
        assert found[3][:2] == ["callback", "PayloadError"]

    everywhere.run(scenario)


def test_the_first_answer_counts_and_later_ones_are_told(everywhere: World) -> None:
    async def scenario() -> None:
        client = everywhere.client
        handle = await client.start(Order, "a", 2, id="a")
        token, _ = await tokens(everywhere, "a")
        answers = [client.complete(token, Approval(str(n), n)) for n in range(4)]
        told = await asyncio.gather(*answers, client.fail(token, "no"), return_exceptions=True)
        assert told.count(None) == 1
        assert sum(isinstance(each, CallbackDone) for each in told) == 4
        await everywhere.until_event(handle, "CallbackCompleted" if told[4] else "CallbackFailed")
        with pytest.raises(CallbackDone, match="first answer") as done:
            await client.fail(token, "too late")
        assert done.value.id == "a"
        names = await event_names(handle)
        assert names.count("CallbackCompleted") + names.count("CallbackFailed") == 1

    everywhere.run(scenario)


def test_the_same_answer_may_be_sent_again(everywhere: World) -> None:
    async def scenario() -> None:
        client = everywhere.client
        handle = await client.start(Order, "a", 2, id="a")
        first, second = await tokens(everywhere, "a")
        for _ in range(3):
            await client.complete(first, Approval("anna", 1), message_id="m1")
        await everywhere.until_event(handle, "CallbackCompleted")
        await client.complete(first, Approval("anna", 1), message_id="m1")
        with pytest.raises(CallbackDone):
            await client.complete(first, Approval("bert", 2), message_id="m2")
        await client.complete(second, Approval("carl", 3))
        assert await handle.result() == [["anna", 1], ["carl", 3]]

    everywhere.run(scenario)


def test_a_token_cannot_be_garbled_or_guessed(everywhere: World) -> None:
    async def scenario() -> None:
        client = everywhere.client
        handle = await client.start(Order, "a", 2, id="a")
        await client.start(Order, "b", 1, id="b")
        first, second = await tokens(everywhere, "a")
        (foreign,) = await tokens(everywhere, "b")
        one, two, other = Token.parse(first), Token.parse(second), Token.parse(foreign)
        forged = [
            Token(id="a", run_id=one.run_id, number=two.number, secret=one.secret),
            Token(id="a", run_id=one.run_id, number=99, secret=one.secret),
            Token(id="a", run_id=other.run_id, number=one.number, secret=one.secret),
            Token(id="b", run_id=other.run_id, number=other.number, secret=one.secret),
            Token(id="a", run_id=one.run_id, number=one.number, secret=b""),
        ]
        garbled = [first[:-1], first[1:], first.swapcase(), f"{first}x", "", "é", "a b", "x" * 5000, first + "\n"]
        cut = base64.urlsafe_b64encode(b"12345").decode()
        for wrong in (*(each.text() for each in forged), *garbled, cut):
            with pytest.raises(InvalidArgument, match="token"):
                await client.complete(wrong, Approval("eve", 1))
            with pytest.raises(InvalidArgument, match="token"):
                await client.fail(wrong, "no")
        nobody = Token(id="nobody", run_id=one.run_id, number=1, secret=one.secret)
        with pytest.raises(sagas.SagaNotFound):
            await client.complete(nobody.text(), 1)
        await client.complete(first, Approval("anna", 1))
        await client.complete(second, Approval("bert", 2))
        assert await handle.result() == [["anna", 1], ["bert", 2]]

    everywhere.run(scenario)


def test_the_callback_of_an_ended_run_is_closed(everywhere: World) -> None:
    async def scenario() -> None:
        client = everywhere.client
        handle = await client.start(Order, "a", 2, id="a")
        first, second = await tokens(everywhere, "a")
        await client.complete(first, Approval("anna", 1))
        await everywhere.until_event(handle, "CallbackCompleted")
        await handle.cancel()
        with pytest.raises(sagas.SagaCancelled):
            await handle.result()
        with pytest.raises(SagaClosed) as closed:
            await client.complete(second, Approval("bert", 2))
        assert closed.value.status == "cancelled"
        with pytest.raises(CallbackDone):
            await client.complete(first, Approval("bert", 2))
        await client.start(Order, "a", 1, id="a")
        with pytest.raises(SagaClosed):
            await client.complete(second, Approval("bert", 2))

    everywhere.run(scenario)


def test_an_answer_waits_for_a_paused_run(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Order, "a", id="a")
        (token,) = await tokens(everywhere, "a")
        await handle.pause()
        await everywhere.client.complete(token, Approval("anna", 1))
        await everywhere.until_event(handle, "CallbackCompleted")
        assert "RunCompleted" not in await event_names(handle)
        await handle.resume()
        assert await handle.result() == [["anna", 1]]

    everywhere.run(scenario)


def test_waiting_for_a_callback_may_time_out_and_go_on(timed: World) -> None:
    @saga
    class Patient(Order):
        async def run(self) -> list[Any]:
            back = sagas.callback()
            self.tokens = [back.token]
            await give_away("p", back.token)
            try:
                async with asyncio.timeout(60):
                    await back
            except TimeoutError:
                both = await asyncio.gather(back, back)
                return [*both, await back]
            return []

    async def scenario() -> None:
        handle = await timed.client.start(Patient, "p", id="p")
        await timed.env.advance(61)
        await timed.client.complete((await tokens(timed, "p"))[0], {"any": 1})
        assert await handle.result() == [{"any": 1}] * 3

    timed.run(scenario)


def test_a_callback_outside_a_saga_or_in_a_query_is_refused(world: World) -> None:
    @saga
    class Asked(Order):
        async def run(self) -> list[Any]:
            await asyncio.sleep(0.5)
            return []

        @query
        def open_one(self) -> str:
            return sagas.callback().token

    async def scenario() -> None:
        handle = await world.client.start(Asked, "q", id="q")
        with pytest.raises(sagas.QueryFailed, match="read"):
            await handle.query(Asked.open_one)
        with pytest.raises(sagas.NotInSaga):
            sagas.callback()

    world.run(scenario)
