"""Declaring sagas, activities and handlers: functions and classes, names, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import sagas
from sagas import DefinitionError, activity, query, saga, signal
from tests.conformance.world import World


@dataclass
class Trip:
    user: str
    cents: int


@dataclass
class Itinerary:
    hotel: str
    car: str


def test_a_function_is_a_saga(everywhere: World) -> None:
    @saga
    async def book(trip: Trip) -> Itinerary:
        assert isinstance(trip, Trip)
        return Itinerary(f"hotel of {trip.user}", f"car of {trip.cents}")

    async def scenario() -> None:
        found = await everywhere.client.execute(book, Trip("u1", 5), id="t1")
        assert found == Itinerary("hotel of u1", "car of 5")

    everywhere.run(scenario)


def test_a_class_is_a_saga_and_start_arguments_go_to_its_init(everywhere: World) -> None:
    @saga
    class Counter:
        def __init__(self, first: int, step: int = 1) -> None:
            self.first = first
            self.step = step

        async def run(self) -> int:
            return self.first + self.step

    async def scenario() -> None:
        assert await everywhere.client.execute(Counter, 40, 2, id="a") == 42
        assert await everywhere.client.execute(Counter, 40, id="b") == 41

    everywhere.run(scenario)


def test_a_dataclass_is_a_saga(world: World) -> None:
    @saga
    @dataclass
    class Subscription:
        user_id: str
        cancelled: bool = False

        async def run(self) -> str:
            await sagas.wait_until(lambda: self.cancelled)
            return f"goodbye {self.user_id}"

        @signal
        def cancel(self) -> None:
            self.cancelled = True

        @query
        def is_cancelled(self) -> bool:
            return self.cancelled

    async def scenario() -> None:
        handle = await world.client.start(Subscription, "u1", id="sub-1")
        assert await handle.query(Subscription.is_cancelled) is False
        await handle.signal(Subscription.cancel)
        assert await handle.result() == "goodbye u1"
        assert (await handle.describe()).type == "Subscription"

    world.run(scenario)


def test_a_saga_may_have_another_name(world: World) -> None:
    @saga(name="booking")
    async def book() -> str:
        return sagas.info().type

    async def scenario() -> None:
        handle = await world.client.start(book, id="t1")
        assert await handle.result() == "booking"
        assert (await handle.describe()).type == "booking"

    world.run(scenario)


def test_an_activity_may_have_another_name(world: World) -> None:
    @activity(name="billing.charge")
    async def charge() -> None: ...

    @saga
    async def flow() -> None:
        await charge()

    async def scenario() -> None:
        handle = await world.client.start(flow, id="flow")
        await handle.result()
        scheduled = [event for event in await handle.history() if type(event).__name__ == "StepScheduled"]
        assert [event.activity for event in scheduled] == ["billing.charge"]

    world.run(scenario)


def test_a_saga_that_returns_nothing_gives_none(world: World) -> None:
    @saga
    async def flow() -> None: ...

    async def scenario() -> None:
        assert await world.client.execute(flow, id="flow") is None

    world.run(scenario)


def test_handlers_of_a_base_class_count(world: World) -> None:
    class Tellable:
        told = 0

        @signal
        def tell(self, n: int) -> None:
            self.told += n

        @query
        def seen(self) -> int:
            return self.told

    @saga
    class Child(Tellable):
        async def run(self) -> int:
            await sagas.wait_until(lambda: self.told >= 3)
            return self.told

    async def scenario() -> None:
        handle = await world.client.start(Child, id="c")
        await handle.signal(Child.tell, 3)
        assert await handle.result() == 3
        assert await handle.query(Child.seen) == 3

    world.run(scenario)


def test_two_saga_types_of_one_name_are_refused_by_a_host_not_at_decoration(world: World) -> None:
    @saga(name="same")
    async def one() -> int:
        return 1

    @saga(name="same")
    async def two() -> int:
        return 2

    async def scenario() -> None:
        assert await world.client.execute(one, id="one") == 1
        with pytest.raises(DefinitionError, match="same"):
            await world.client.start(two, id="two")
        with pytest.raises(sagas.SagaNotFound):
            await world.client.get("two").describe()

    world.run(scenario)


def test_a_saga_is_async() -> None:
    with pytest.raises(DefinitionError):

        @saga
        def flow() -> None: ...

    with pytest.raises(DefinitionError):

        @saga
        class Flow:
            def run(self) -> None: ...


def test_a_class_without_run_is_refused() -> None:
    with pytest.raises(DefinitionError, match="run"):

        @saga
        class Flow:
            async def go(self) -> None: ...


def test_run_takes_no_arguments() -> None:
    with pytest.raises(DefinitionError, match="run"):

        @saga
        class Flow:
            async def run(self, n: int) -> None: ...


def test_an_undo_that_cannot_take_the_arguments_is_refused() -> None:
    @activity
    async def act(a: int, b: int) -> int:
        return a + b

    with pytest.raises(DefinitionError):

        @act.compensation
        async def undo(result: int | None) -> None: ...


def test_a_second_undo_is_refused() -> None:
    @activity
    async def act() -> None: ...

    @act.compensation
    async def undo(result: None) -> None: ...

    with pytest.raises(DefinitionError):

        @act.compensation
        async def undo_again(result: None) -> None: ...


def test_a_parked_type_may_be_declared_without_parking(world: World) -> None:
    """``park_on`` replaces the list."""

    @saga(park_on=(OSError,))
    async def flow(kind: str) -> None:
        raise {"type": TypeError, "os": OSError}[kind]("mine")

    async def scenario() -> None:
        with pytest.raises(sagas.SagaFailed) as failed:
            await world.client.execute(flow, "type", id="type")
        assert failed.value.cause_type == "TypeError"
        with pytest.raises(sagas.SagaParked):
            await world.client.execute(flow, "os", id="os")

    world.run(scenario)
