"""Signals: applied once, in order, whenever they come; what cannot be applied is kept as a dead letter."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import sagas
from sagas import Handle, activity, query, saga, signal
from tests.conformance.world import Gate, World, event_names


@saga
class Mailbox:
    """Collects numbers until it is told to stop."""

    def __init__(self) -> None:
        self.got: list[int] = []
        self.seen_first: list[int] | None = None
        self.stopped = False

    async def run(self) -> list[int]:
        self.seen_first = list(self.got)
        await sagas.wait_until(lambda: self.stopped)
        return self.got

    @signal
    def put(self, n: int) -> None:
        self.got.append(n)

    @signal
    def put_twice(self, n: int, times: int = 2) -> None:
        self.got.extend([n] * times)

    @signal
    def refuse(self, why: str) -> None:
        raise ValueError(why)

    @signal
    def stop(self) -> None:
        self.stopped = True

    @query
    def first(self) -> list[int] | None:
        return self.seen_first

    @query
    def all(self) -> list[int]:
        return self.got


async def dead_letters(handle: Handle[Any]) -> list[Any]:
    return [event for event in await handle.history() if type(event).__name__ == "SignalDeadLettered"]


def test_signals_are_applied_in_the_order_they_were_sent(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Mailbox, id="m")
        for n in range(30):
            await handle.signal(Mailbox.put, n)
        await handle.signal(Mailbox.stop)
        assert await handle.result() == list(range(30))

    everywhere.run(scenario)


def test_a_signal_by_name(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Mailbox, id="m")
        await handle.signal("put", 1)
        await world.client.get("m").signal("put_twice", 2)
        await world.client.get("m").signal(Mailbox.put_twice, 3, 1)
        await handle.signal("stop")
        assert await handle.result() == [1, 2, 2, 3]

    world.run(scenario)


def test_signals_that_come_with_the_start_are_applied_before_its_code(timed: World) -> None:
    async def scenario() -> None:
        await timed.env.stop()
        handle = await timed.client.start(Mailbox, id="m")
        await handle.signal(Mailbox.put, 1)
        await handle.signal(Mailbox.put, 2)
        await timed.env.start()
        assert await handle.query(Mailbox.first) == [1, 2]

    timed.run(scenario)


def test_signals_during_a_step_are_applied_at_once(world: World) -> None:
    gates: list[Gate] = []

    @activity
    async def wait() -> None:
        await gates[0]()

    @saga
    class Busy(Mailbox):
        async def run(self) -> list[int]:
            await wait()
            return self.got

    async def scenario() -> None:
        gates.append(Gate())
        handle = await world.client.start(Busy, id="b")
        await world.until(lambda: gates[0].came == 1)
        await handle.signal(Busy.put, 1)

        async def applied() -> bool:
            return await handle.query(Busy.all) == [1]

        await world.until(applied)
        gates[0].open()
        assert await handle.result() == [1]

    world.run(scenario)


def test_signals_survive_a_crash(durable: World) -> None:
    async def scenario() -> None:
        handle = await durable.client.start(Mailbox, id="m")
        await handle.signal(Mailbox.put, 1)
        await durable.until_waiting(handle, "message")
        await handle.signal(Mailbox.put, 2)
        await durable.reopen(Mailbox)
        handle = durable.client.get("m")
        await handle.signal("put", 3)
        await handle.signal("stop")
        assert await handle.result() == [1, 2, 3]

    durable.run(scenario)


def test_the_same_message_id_is_taken_once(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Mailbox, id="m")
        for _ in range(3):
            await handle.signal(Mailbox.put, 1, message_id="pay-1")
        await handle.signal(Mailbox.put, 2, message_id="pay-2")
        await handle.signal(Mailbox.put, 3)
        await handle.signal(Mailbox.put, 3)
        await handle.signal(Mailbox.stop)
        assert await handle.result() == [1, 2, 3, 3]

    everywhere.run(scenario)


def test_message_ids_are_remembered_across_hosts_and_runs(durable: World) -> None:
    async def scenario() -> None:
        handle = await durable.client.start(Mailbox, id="m")
        await handle.signal(Mailbox.put, 1, message_id="pay-1")
        await handle.signal(Mailbox.stop)
        assert await handle.result() == [1]
        await durable.reopen(Mailbox)
        handle = await durable.client.start(Mailbox, id="m")
        await handle.signal(Mailbox.put, 1, message_id="pay-1")
        await handle.signal(Mailbox.put, 2, message_id="pay-2")
        await handle.signal(Mailbox.stop)
        assert await handle.result() == [2]

    durable.run(scenario)


def test_message_ids_of_two_instances_do_not_meet(world: World) -> None:
    async def scenario() -> None:
        for id in ("a", "b"):
            handle = await world.client.start(Mailbox, id=id)
            await handle.signal(Mailbox.put, 1, message_id="same")
            await handle.signal(Mailbox.stop)
            assert await handle.result() == [1]

    world.run(scenario)


def test_message_ids_are_remembered_for_a_day(timed: World) -> None:
    async def scenario() -> None:
        handle = await timed.client.start(Mailbox, id="m")
        await handle.signal(Mailbox.put, 1, message_id="pay-1")
        await timed.env.advance(hours=23, minutes=59)
        await handle.signal(Mailbox.put, 1, message_id="pay-1")
        await handle.signal(Mailbox.stop)
        assert await handle.result() == [1]

    timed.run(scenario)


# --- dead letters ---------------------------------------------------------------------------------------


def test_a_signal_nobody_handles_is_a_dead_letter(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Mailbox, id="m")
        await everywhere.client.get("m").signal("no_such", 1)
        await handle.signal(Mailbox.put, 2)
        await handle.signal(Mailbox.stop)
        assert await handle.result() == [2]
        (letter,) = await dead_letters(handle)
        assert letter.name == "no_such"
        assert "no_such" in letter.reason

    everywhere.run(scenario)


def test_a_query_is_not_a_signal(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Mailbox, id="m")
        await world.client.get("m").signal("all")
        await world.client.get("m").signal("run")
        await world.client.get("m").signal("__init__")
        await handle.signal(Mailbox.stop)
        assert await handle.result() == []
        assert [letter.name for letter in await dead_letters(handle)] == ["all", "run", "__init__"]

    world.run(scenario)


@pytest.mark.parametrize("args", [("not a number",), ([1],), (), (1, 2)])
def test_a_signal_that_cannot_be_decoded_is_a_dead_letter(world: World, args: tuple[Any, ...]) -> None:
    async def scenario() -> None:
        await world.client.start(Mailbox, id="m")
        handle = world.client.get("m")
        await handle.signal("put", *args)
        await handle.signal("put", 2)
        await handle.signal("stop")
        assert await handle.result() == [2]
        (letter,) = await dead_letters(handle)
        assert letter.name == "put"
        assert letter.reason

    world.run(scenario)


def test_wrong_arguments_by_the_handler_itself_are_refused_at_once(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Mailbox, id="m")
        with pytest.raises(sagas.ArgumentMismatch, match="put"):
            await handle.signal(Mailbox.put)
        with pytest.raises(sagas.ArgumentMismatch):
            await handle.signal(Mailbox.stop, 1)
        await handle.signal(Mailbox.stop)
        assert await handle.result() == []
        assert await dead_letters(handle) == []

    world.run(scenario)


def test_an_argument_that_cannot_be_encoded_is_refused_at_once(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Mailbox, id="m")
        with pytest.raises(sagas.PayloadError):
            await handle.signal("put", object())
        await handle.signal(Mailbox.stop)
        assert await handle.result() == []

    world.run(scenario)


def test_a_handler_that_raises_an_ordinary_error_makes_a_dead_letter(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Mailbox, id="m")
        await handle.signal(Mailbox.refuse, "not on sundays")
        await handle.signal(Mailbox.put, 1)
        await handle.signal(Mailbox.stop)
        assert await handle.result() == [1]
        (letter,) = await dead_letters(handle)
        assert letter.name == "refuse"
        assert "not on sundays" in letter.reason

    world.run(scenario)


def test_a_handler_with_a_bug_parks_and_the_signal_is_applied_after_resume(world: World) -> None:
    broken = [True]

    @saga
    class Buggy(Mailbox):
        @signal
        def put(self, n: int) -> None:
            if broken[0]:
                self.no_such_attribute.append(n)
            self.got.append(n)

    async def scenario() -> None:
        handle = await world.client.start(Buggy, id="b")
        await handle.signal(Buggy.put, 1)
        assert "no_such_attribute" in await world.until_parked(handle)
        await handle.signal(Buggy.put, 2)
        broken[0] = False
        await handle.resume()
        await handle.signal(Buggy.stop)
        assert await handle.result() == [1, 2]
        assert await dead_letters(handle) == []

    world.run(scenario)


# --- handlers -------------------------------------------------------------------------------------------


def test_handlers_that_still_run_when_run_returns_are_finished_first(world: World) -> None:
    noted: list[str] = []

    @activity
    async def note(what: str) -> None:
        noted.append(what)

    @saga
    class Flow:
        def __init__(self) -> None:
            self.told = False

        async def run(self) -> str:
            await sagas.wait_until(lambda: self.told)
            return "returned"

        @signal
        async def tell(self) -> None:
            self.told = True
            await asyncio.sleep(0.02)
            await note("finished")

    async def scenario() -> None:
        handle = await world.client.start(Flow, id="flow")
        await handle.signal(Flow.tell)
        assert await handle.result() == "returned"
        assert noted == ["finished"]
        names = await event_names(handle)
        assert names.index("StepCompleted") < names.index("RunCompleted")

    world.run(scenario)


def test_an_async_handler_runs_beside_run(world: World) -> None:
    @saga
    class Flow:
        def __init__(self) -> None:
            self.log: list[str] = []

        async def run(self) -> list[str]:
            self.log.append("run")
            await sagas.wait_until(lambda: self.log.count("end") == 2)
            return self.log

        @signal
        async def tell(self, name: str, wait: float) -> None:
            self.log.append(name)
            await asyncio.sleep(wait)
            self.log.append("end")

    async def scenario() -> None:
        handle = await world.client.start(Flow, id="flow")
        await world.until_waiting(handle, "message")
        await handle.signal(Flow.tell, "slow", 0.05)
        await handle.signal(Flow.tell, "quick", 0.0)
        log = await handle.result()
        assert log[:2] == ["run", "slow"]
        assert "quick" in log

    world.run(scenario)


# --- to whom --------------------------------------------------------------------------------------------


def test_a_signal_to_an_id_that_never_was(everywhere: World) -> None:
    async def scenario() -> None:
        with pytest.raises(sagas.SagaNotFound) as missing:
            await everywhere.client.get("nobody").signal("put", 1)
        assert missing.value.id == "nobody"

    everywhere.run(scenario)


def test_a_signal_to_an_ended_run(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Mailbox, id="m")
        await handle.signal(Mailbox.stop)
        await handle.result()
        with pytest.raises(sagas.SagaClosed) as closed:
            await handle.signal(Mailbox.put, 1)
        assert closed.value.id == "m"
        assert closed.value.status == "completed"

    everywhere.run(scenario)


def test_signal_with_start_starts_once_and_signals_each_time(everywhere: World) -> None:
    async def scenario() -> None:
        client = everywhere.client
        one = await client.signal_with_start(Mailbox, id="m", signal=Mailbox.put, signal_args=(1,))
        two = await client.signal_with_start(Mailbox, id="m", signal="put", signal_args=(2,))
        assert await one.query(Mailbox.first) in ([1], [1, 2])  # the signal came with the start
        await two.signal(Mailbox.stop)
        assert await one.result() == [1, 2]
        assert await two.result() == [1, 2]
        assert (await event_names(one)).count("RunStarted") == 1

    everywhere.run(scenario)


def test_signal_with_start_after_an_end_starts_again(world: World) -> None:
    async def scenario() -> None:
        client = world.client
        one = await client.signal_with_start(Mailbox, id="m", signal=Mailbox.stop)
        assert await one.result() == []
        two = await client.signal_with_start(Mailbox, id="m", signal=Mailbox.put, signal_args=(7,))
        await two.signal(Mailbox.stop)
        assert await two.result() == [7]
        assert await one.result() == []

    world.run(scenario)


def test_signal_with_start_takes_start_arguments(world: World) -> None:
    @saga
    class Named(Mailbox):
        def __init__(self, first: int) -> None:
            super().__init__()
            self.got.append(first)

    async def scenario() -> None:
        handle = await world.client.signal_with_start(Named, 100, id="n", signal=Named.put, signal_args=(1,))
        await handle.signal(Named.stop)
        assert await handle.result() == [100, 1]

    world.run(scenario)


def test_signal_with_start_with_wrong_arguments_starts_nothing(world: World) -> None:
    async def scenario() -> None:
        with pytest.raises(sagas.ArgumentMismatch):
            await world.client.signal_with_start(Mailbox, 1, id="m", signal=Mailbox.put, signal_args=(1,))
        with pytest.raises(sagas.ArgumentMismatch):
            await world.client.signal_with_start(Mailbox, id="m", signal=Mailbox.put, signal_args=())
        with pytest.raises(sagas.SagaNotFound):
            await world.client.get("m").describe()

    world.run(scenario)
