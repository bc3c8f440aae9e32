"""Dead letters: what no handler can take harms nobody, is there to be seen, and is applied once code can take it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

import sagas
from sagas import Handle, activity, query, saga, signal
from tests.conformance.world import World, event_names

mended = [False]
"""Whether the code of the scenario that plays has been corrected."""


@dataclass
class Picky:
    n: int

    def __post_init__(self) -> None:
        if self.n < 0:
            raise KeyError("a record that raises what only a bug does")


@activity
async def touch() -> None: ...


@saga
class Clerk:
    def __init__(self) -> None:
        self.got: list[Any] = []
        self.tried = 0
        self.stopped = False

    async def run(self) -> list[Any]:
        await sagas.wait_until(lambda: self.stopped)
        return [self.tried, *self.got]

    @signal
    def put(self, n: int) -> None:
        self.got.append(n)

    @signal
    def put_record(self, record: Picky) -> None:
        self.got.append(record.n)

    @signal
    def refuse_odd(self, n: int) -> None:
        self.tried += 1  # which stays, however often it is replayed
        if n % 2 and not mended[0]:
            raise ValueError(f"{n} is odd")
        self.got.append(n)

    @signal
    async def refuse_late(self, n: int) -> None:
        await touch()
        self.tried += 1
        if not mended[0]:
            raise ValueError("not now")
        await touch()
        self.got.append(n)

    @signal
    def stop(self) -> None:
        self.stopped = True

    @query
    def all_got(self) -> list[Any]:
        return [self.tried, *self.got]


async def until_dead(world: World, handle: Handle[Any], count: int) -> None:
    async def lie() -> bool:
        return (await handle.describe()).dead_letters == count

    await world.until(lie)


def test_bad_input_harms_nobody_and_is_there_to_be_seen(everywhere: World) -> None:
    async def scenario() -> None:
        mended[0] = False
        await everywhere.client.start(Clerk, id="c")
        handle = everywhere.client.get("c")
        bad: list[tuple[str, tuple[Any, ...]]] = [
            ("nobody", (1,)),
            ("put", ("x",)),
            ("put", ()),
            ("put", (1, 2)),
            ("put", ([[[{}]]],)),
            ("put_record", ({"n": -1},)),
            ("put_record", ({"m": 1},)),
            ("refuse_odd", (3,)),
            ("run", ()),
            ("\x00", ()),
            ("x" * 300, ()),
        ]
        for number, (name, args) in enumerate(bad):
            await handle.signal(name, *args, message_id=f"m{number}")
            await handle.signal("put", number)
        await handle.signal("refuse_odd", 4)
        await until_dead(everywhere, handle, len(bad))
        letters = await handle.dead_letters()
        assert [(letter.message_id, letter.name) for letter in letters] == [
            (f"m{number}", name) for number, (name, _) in enumerate(bad)
        ]
        assert all(letter.reason for letter in letters)
        assert (await handle.describe()).parked is None
        await handle.signal("stop")
        assert await handle.result() == [2, *range(len(bad)), 4]

    everywhere.run(scenario)


@pytest.mark.parametrize("name", ["refuse_odd", "refuse_late"])
def test_a_letter_is_applied_by_code_that_can_take_it(durable: World, name: str) -> None:
    async def scenario() -> None:
        mended[0] = False
        await durable.client.start(Clerk, id="c")
        handle = durable.client.get("c")
        await handle.signal("put", 1)
        await handle.signal(name, 5, message_id="five")
        await until_dead(durable, handle, 1)
        assert await handle.query("all_got") == [1, 1]
        await handle.redeliver("five")  # by code that cannot take it yet
        await durable.until(lambda: _died(handle, 2))
        assert await handle.query("all_got") == [2, 1]
        await durable.reopen(Clerk, touch)
        handle = durable.client.get("c")
        assert await handle.query("all_got") == [2, 1]
        mended[0] = True
        await durable.reopen(Clerk, touch)
        handle = durable.client.get("c")
        await handle.signal("put", 2)
        assert await handle.query("all_got") in ([0, 1, 2], [2, 1, 2])  # what a handler does before it fails is gone
        assert await handle.redeliver(0, by="anna") == 1
        await until_dead(durable, handle, 0)
        assert await handle.redeliver() == 0

        async def taken() -> bool:
            return 5 in await handle.query("all_got")

        await durable.until(taken)
        await durable.reopen(Clerk, touch)
        handle = durable.client.get("c")
        await handle.signal("stop")
        assert (await handle.result())[1:] == [1, 2, 5]

    durable.run(scenario)


async def _died(handle: Handle[Any], times: int) -> bool:
    return (await event_names(handle)).count("SignalDeadLettered") == times


def test_a_letter_is_redelivered_once_however_often_that_is_asked(world: World) -> None:
    async def scenario() -> None:
        mended[0] = False
        await world.client.start(Clerk, id="c")
        handle = world.client.get("c")
        for n in (1, 3):
            await handle.signal("refuse_odd", n, message_id=str(n))
        await until_dead(world, handle, 2)
        mended[0] = True
        assert await asyncio.gather(*(handle.redeliver() for _ in range(3))) == [2, 2, 2]
        await until_dead(world, handle, 0)
        for wrong in ("1", 0, -1, "nothing"):
            with pytest.raises(sagas.InvalidArgument, match="dead letter"):
                await handle.redeliver(wrong)
        await handle.signal("stop")
        assert (await handle.result())[1:] == [1, 3]
        with pytest.raises(sagas.SagaNotFound):
            await world.client.get("nobody").redeliver()

    world.run(scenario)


def test_a_signal_that_came_before_its_handler_was_written(durable: World) -> None:
    def declared(*, learned: bool) -> Any:
        class Pupil:
            def __init__(self) -> None:
                self.known: list[str] = []

            async def run(self) -> list[str]:
                await sagas.wait_until(lambda: "end" in self.known)
                return self.known

            @signal
            def hear(self, word: str) -> None:
                self.known.append(word)

            if learned:

                @signal
                def learn(self, word: str) -> None:
                    self.known.append(f"learned {word}")

        return saga(name="Pupil")(Pupil)

    async def scenario() -> None:
        await durable.client.start(declared(learned=False), id="p")
        handle = durable.client.get("p")
        await handle.signal("learn", "latin")
        await handle.signal("hear", "greek")
        await until_dead(durable, handle, 1)
        known = declared(learned=True)
        if durable.virtual:
            durable.env._registry._sagas["Pupil"] = sagas.kernel.saga.saga_type_of(known)  # type: ignore[attr-defined]
        await durable.reopen(known)
        handle = durable.client.get("p")
        await handle.redeliver()
        await handle.signal("hear", "end")
        assert await handle.result() == ["greek", "learned latin", "end"]

    durable.run(scenario)
