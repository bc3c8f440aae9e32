"""``sagas.instance(id)``: one saga signals or cancels another; taken once, in order, whatever happens to the sender."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import sagas
from sagas import SagaCancelled, SagaClosed, SagaNotFound, saga, signal
from tests.conformance.world import World, event_names


@saga
class Inbox:
    """Ends with what it was sent once it has ``wanted`` numbers."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.got: list[int] = []

    async def run(self) -> list[int]:
        await sagas.wait_until(lambda: len(self.got) >= self.wanted)
        return self.got

    @signal
    def put(self, number: int) -> None:
        self.got.append(number)


@saga
async def sends(target: str, numbers: list[int]) -> str:
    for number in numbers:
        await sagas.instance(target).signal(Inbox.put, number)
    return "all sent"


@saga
async def sends_at_once(targets: list[str], number: int) -> list[str]:
    async def send(target: str) -> str:
        try:
            await sagas.instance(target).signal(Inbox.put, number)
        except (SagaNotFound, SagaClosed) as error:
            return type(error).__name__
        return "delivered"

    return list(await asyncio.gather(*(send(target) for target in targets)))


@saga
async def forgets(target: str) -> str:
    """Its message leaves with the commit in which it ends."""
    sending = asyncio.ensure_future(sagas.instance(target).signal("put", 7))
    await asyncio.sleep(0)
    sending.cancel()
    return "did not wait"


@saga
async def calls_off(target: str) -> str:
    await sagas.instance(target).cancel("not needed any more")
    return "called off"


def test_signals_of_one_saga_reach_another_in_order(everywhere: World) -> None:
    async def scenario() -> None:
        client = everywhere.client
        inbox = await client.start(Inbox, 20, id="inbox")
        assert await client.execute(sends, "inbox", list(range(20)), id="sender") == "all sent"
        assert await inbox.result() == list(range(20))
        names = await event_names(client.get("sender"))
        assert names.count("MessageSent") == names.count("MessageDelivered") == 20

    everywhere.run(scenario)


def test_each_target_answers_for_itself(everywhere: World) -> None:
    async def scenario() -> None:
        client = everywhere.client
        await client.execute(sends_at_once, [], 0, id="ended")
        inboxes = [await client.start(Inbox, 1, id=f"in-{n}") for n in range(8)]
        targets = ["in-0", "nobody", "in-1", "ended", *(f"in-{n}" for n in range(2, 8))]
        answers = await client.execute(sends_at_once, targets, 5, id="sender")
        assert answers == ["delivered", "SagaNotFound", "delivered", "SagaClosed", *["delivered"] * 6]
        assert [await inbox.result() for inbox in inboxes] == [[5]] * 8

    everywhere.run(scenario)


def test_a_message_outlives_the_run_that_sent_it(everywhere: World) -> None:
    async def scenario() -> None:
        client = everywhere.client
        inbox = await client.start(Inbox, 1, id="inbox")
        assert await client.execute(forgets, "inbox", id="sender") == "did not wait"
        assert await inbox.result() == [7]

    everywhere.run(scenario)


def test_one_saga_cancels_another(everywhere: World) -> None:
    async def scenario() -> None:
        client = everywhere.client
        inbox = await client.start(Inbox, 1, id="inbox")
        assert await client.execute(calls_off, "inbox") == "called off"
        with pytest.raises(SagaCancelled) as caught:
            await inbox.result()
        assert "not needed any more" in str(caught.value)

    everywhere.run(scenario)


def test_outside_a_saga_there_is_the_client() -> None:
    with pytest.raises(sagas.NotInSaga):
        _made: Any = sagas.instance("sub-1")
