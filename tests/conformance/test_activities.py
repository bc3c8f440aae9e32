"""Activities: plain calls outside a saga, durable steps inside one; their arguments, results and options."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

import sagas
from sagas import Outcome, Retry, activity, compensating, saga
from tests.conformance.world import START, Gate, World, event_names, run

ONCE = Retry(max_attempts=1)


@dataclass
class Item:
    name: str
    cents: int


@dataclass
class Order:
    user: str
    items: list[Item] = field(default_factory=list)


# --- outside a saga -------------------------------------------------------------------------------------


def test_an_async_activity_outside_a_saga_is_its_function() -> None:
    @activity(retry=Retry(max_attempts=5), timeout=30)
    async def double(n: int) -> int:
        return n * 2

    assert run(double(21)) == 42


def test_a_sync_activity_outside_a_saga_is_its_function() -> None:
    @activity
    def double(n: int) -> int:
        return n * 2

    assert double(21) == 42


def test_outside_a_saga_the_plain_error_comes_out_and_nothing_is_retried() -> None:
    calls: list[int] = []

    @activity(retry=Retry(max_attempts=5))
    async def fail() -> None:
        calls.append(1)
        raise OSError("down")

    with pytest.raises(OSError, match="down"):
        run(fail())
    assert calls == [1]


def test_options_outside_a_saga_change_nothing() -> None:
    @activity
    async def double(n: int) -> int:
        return n * 2

    assert run(double.options(timeout=5, retry=ONCE, queue="gpu", priority=3)(4)) == 8


def test_an_unknown_option_is_refused() -> None:
    @activity
    async def double(n: int) -> int:
        return n * 2

    with pytest.raises(TypeError):
        double.options(tiemout=5)


def test_an_activity_keeps_its_name_and_documentation() -> None:
    @activity
    async def documented(n: int) -> int:
        """Says what it does."""
        return n

    assert documented.__name__ == "documented"
    assert documented.__doc__ == "Says what it does."


def test_an_activity_called_by_an_activity_is_a_plain_call(world: World) -> None:
    @activity
    async def inner(n: int) -> int:
        return n + 1

    @activity
    async def outer(n: int) -> int:
        return await inner(n) + 10

    @saga
    async def flow() -> int:
        return await outer(1)

    async def scenario() -> None:
        handle = await world.client.start(flow, id="flow")
        assert await handle.result() == 12
        scheduled = [e for e in await handle.history() if type(e).__name__ == "StepScheduled"]
        assert [e.activity for e in scheduled] == ["outer"]

    world.run(scenario)


# --- inside a saga --------------------------------------------------------------------------------------


def test_awaiting_an_activity_gives_its_result(everywhere: World) -> None:
    @activity
    async def double(n: int) -> int:
        return n * 2

    @saga
    async def flow(n: int) -> int:
        return await double(await double(n))

    async def scenario() -> None:
        assert await everywhere.client.execute(flow, 3, id="flow") == 12

    everywhere.run(scenario)


def test_a_sync_activity_runs_in_a_thread(world: World) -> None:
    threads: list[int] = []

    @activity
    def which() -> int:
        threads.append(threading.get_ident())
        return sagas.step().attempt

    @saga
    async def flow() -> int:
        return await which()

    async def scenario() -> None:
        assert await world.client.execute(flow, id="flow") == 1
        assert threads[0] != threading.get_ident()

    world.run(scenario)


def test_sync_activities_run_side_by_side(world: World) -> None:
    both = threading.Barrier(2, timeout=30)

    @activity(retry=ONCE)
    def meet() -> int:
        return both.wait()

    @saga
    async def flow() -> list[int]:
        return sorted(await asyncio.gather(meet(), meet()))

    async def scenario() -> None:
        assert await world.client.execute(flow, id="flow") == [0, 1]

    world.run(scenario)


def test_an_async_activity_runs_on_a_loop_beside_others(world: World) -> None:
    @saga
    async def flow() -> int:
        left, right = await asyncio.gather(first(), second())
        return left + right

    event = asyncio.Event()

    @activity
    async def first() -> int:
        await event.wait()
        return 1

    @activity
    async def second() -> int:
        event.set()
        return 2

    async def scenario() -> None:
        assert await world.client.execute(flow, id="flow") == 3

    world.run(scenario)


def test_positional_keyword_and_default_arguments(world: World) -> None:
    @activity
    async def join(a: str, b: str = "B", *rest: str, c: str = "C", **more: str) -> str:
        return " ".join([a, b, *rest, c, *(f"{k}={v}" for k, v in sorted(more.items()))])

    @saga
    async def flow() -> list[str]:
        return [
            await join("a"),
            await join("a", c="c"),
            await join(b="b", a="a"),
            await join("a", "b", "r", c="c", x="y"),
        ]

    async def scenario() -> None:
        assert await world.client.execute(flow, id="flow") == ["a B C", "a B c", "a b C", "a b r c x=y"]

    world.run(scenario)


def test_dataclasses_travel_as_arguments_and_results(everywhere: World) -> None:
    @activity
    async def add(order: Order, item: Item) -> Order:
        assert type(order) is Order
        assert type(item) is Item
        order.items.append(item)
        return order

    @saga
    async def flow(order: Order) -> Order:
        assert type(order) is Order
        longer = await add(order, Item("pen", 120))
        assert order.items == []  # what the activity did to its argument stayed there
        return await add(longer, Item("ink", 300))

    async def scenario() -> None:
        found = await everywhere.client.execute(flow, Order("u1"), id="flow")
        assert found == Order("u1", [Item("pen", 120), Item("ink", 300)])

    everywhere.run(scenario)


def test_wrong_arguments_raise_at_the_call_and_schedule_nothing(world: World) -> None:
    @activity
    async def pair(a: int, b: int) -> int:
        return a + b

    @saga
    async def flow() -> list[str]:
        caught: list[str] = []
        for call in (lambda: pair(1), lambda: pair(1, 2, 3), lambda: pair(1, b=2, c=3)):
            try:
                await call()
            except TypeError as error:
                caught.append(str(error))
        return caught

    async def scenario() -> None:
        handle = await world.client.start(flow, id="flow")
        caught = await handle.result()
        assert len(caught) == 3
        assert all("pair" in message for message in caught)
        assert "StepScheduled" not in await event_names(handle)

    world.run(scenario)


def test_an_argument_that_cannot_be_encoded_raises_at_the_call(world: World) -> None:
    @activity
    async def take(a: Any) -> None: ...

    @saga
    async def flow() -> str:
        try:
            await take(threading.Lock())
        except sagas.PayloadError as error:
            return str(error)
        return "taken"

    async def scenario() -> None:
        handle = await world.client.start(flow, id="flow")
        message = await handle.result()
        assert "lock" in message.lower()
        assert "StepScheduled" not in await event_names(handle)

    world.run(scenario)


def test_a_result_that_cannot_be_encoded_fails_the_step(world: World) -> None:
    @activity(retry=ONCE)
    async def give() -> Any:
        return threading.Lock()

    @saga
    async def flow() -> str:
        with pytest.raises(sagas.ActivityFailed) as failed:
            await give()
        assert failed.value.outcome is Outcome.UNKNOWN  # it ran: whatever it did may have happened
        return failed.value.cause_type

    async def scenario() -> None:
        assert await world.client.execute(flow, id="flow") == "PayloadError"

    world.run(scenario)


def test_options_change_one_call_only(world: World) -> None:
    calls: list[int] = []

    @activity(retry=ONCE)
    async def fail() -> None:
        calls.append(sagas.step().attempt)
        raise OSError("down")

    @saga
    async def flow() -> list[int]:
        counts: list[int] = []
        for call in (fail.options(retry=Retry(max_attempts=3, initial=0.01)), fail):
            try:
                await call()
            except sagas.ActivityFailed as error:
                counts.append(error.attempts)
        return counts

    async def scenario() -> None:
        assert await world.client.execute(flow, id="flow") == [3, 1]
        assert calls == [1, 2, 3, 1]

    world.run(scenario)


def test_compensate_false_takes_a_call_out_of_the_scope(world: World) -> None:
    undone: list[int] = []

    @activity
    async def act(n: int) -> int:
        return n

    @act.compensation
    async def undo(result: int | None, n: int) -> None:
        undone.append(n)

    @saga
    async def flow() -> None:
        async with compensating():
            await act(1)
            await act.options(compensate=False)(2)
            await act(3)
            raise ValueError("no")

    async def scenario() -> None:
        with pytest.raises(sagas.SagaFailed):
            await world.client.execute(flow, id="flow")
        assert undone == [3, 1]

    world.run(scenario)


def test_a_local_activity_is_a_durable_step_too(world: World) -> None:
    @activity(local=True)
    async def near(n: int) -> int:
        return n + sagas.step().attempt

    @saga
    async def flow() -> int:
        return await near(1) + await near.options(local=False)(10)

    async def scenario() -> None:
        handle = await world.client.start(flow, id="flow")
        assert await handle.result() == 13
        assert (await event_names(handle)).count("StepCompleted") == 2

    world.run(scenario)


def test_a_step_that_is_done_is_not_done_again_after_a_crash(durable: World) -> None:
    done: list[str] = []

    @activity
    async def once(name: str) -> None:
        done.append(name)

    @saga
    class Flow:
        def __init__(self) -> None:
            self.told = False

        async def run(self) -> None:
            await once("before")
            await sagas.wait_until(lambda: self.told)
            await once("after")

        @sagas.signal
        def tell(self) -> None:
            self.told = True

    async def scenario() -> None:
        handle = await durable.client.start(Flow, id="flow")
        await durable.until_waiting(handle, "message")
        await durable.reopen(Flow, once)
        handle = durable.client.get("flow")
        await handle.signal("tell")
        await handle.result()
        assert done == ["before", "after"]

    durable.run(scenario)


# --- sagas.step() ---------------------------------------------------------------------------------------


def test_step_says_whose_step_it_is(everywhere: World) -> None:
    seen: list[tuple[Any, ...]] = []

    @activity
    async def look() -> None:
        step = sagas.step()
        seen.append((step.saga_id, step.run_id, step.step_id, step.attempt, step.idempotency_key, step.undo_of))

    @saga
    async def flow() -> None:
        await look()
        await look()

    async def scenario() -> None:
        handle = await everywhere.client.start(flow, id="whose")
        await handle.result()
        run_id = (await handle.describe()).run_id
        assert [(s[0], s[1], s[3], s[5]) for s in seen] == [("whose", run_id, 1, None)] * 2
        assert seen[0][2] != seen[1][2]
        assert seen[0][4] != seen[1][4]
        assert all(seen_step[4] for seen_step in seen)

    everywhere.run(scenario)


def test_the_idempotency_key_is_the_same_on_every_attempt(everywhere: World) -> None:
    keys: list[tuple[int, str]] = []

    @activity(retry=Retry(initial=0.01))
    async def flaky() -> None:
        keys.append((sagas.step().attempt, sagas.step().idempotency_key))
        if len(keys) < 3:
            raise OSError("down")

    @saga
    async def flow() -> None:
        await flaky()

    async def scenario() -> None:
        await everywhere.client.execute(flow, id="flow")
        assert [attempt for attempt, _ in keys] == [1, 2, 3]
        assert len({key for _, key in keys}) == 1

    everywhere.run(scenario)


def test_two_runs_and_two_instances_have_other_keys(world: World) -> None:
    keys: list[str] = []

    @activity
    async def look() -> None:
        keys.append(sagas.step().idempotency_key)

    @saga
    async def flow() -> None:
        await look()

    async def scenario() -> None:
        await world.client.execute(flow, id="a")
        await world.client.execute(flow, id="a")
        await world.client.execute(flow, id="b")
        assert len(set(keys)) == 3

    world.run(scenario)


def test_an_undo_names_the_action_it_undoes(everywhere: World) -> None:
    seen: dict[str, tuple[str, str | None]] = {}

    @activity
    async def act(n: int) -> int:
        seen["act"] = (sagas.step().idempotency_key, sagas.step().undo_of)
        return n

    @act.compensation
    async def undo(result: int | None, n: int) -> None:
        seen["undo"] = (sagas.step().idempotency_key, sagas.step().undo_of)

    @saga
    async def flow() -> None:
        async with compensating():
            await act(1)
            raise ValueError("no")

    async def scenario() -> None:
        with pytest.raises(sagas.SagaFailed):
            await everywhere.client.execute(flow, id="flow")
        assert seen["act"][1] is None
        assert seen["undo"][1] == seen["act"][0]
        assert seen["undo"][0] != seen["act"][0]

    everywhere.run(scenario)


def test_the_deadline_is_when_the_attempt_times_out(timed: World) -> None:
    deadlines: list[Any] = []

    @activity(retry=ONCE)
    async def look() -> None:
        deadlines.append(sagas.step().deadline)

    @saga
    async def flow() -> None:
        await look()
        await look.options(timeout=30)()
        await look.options(timeout=timedelta(minutes=2))()

    async def scenario() -> None:
        await timed.client.execute(flow, id="flow")
        assert deadlines == [None, START + timedelta(seconds=30), START + timedelta(minutes=2)]

    timed.run(scenario)


def test_step_outside_an_activity_says_so(world: World) -> None:
    with pytest.raises(RuntimeError):
        sagas.step()

    @saga
    async def flow() -> str:
        try:
            sagas.step()
        except RuntimeError as error:
            return str(error)
        return "given"

    async def scenario() -> None:
        assert "activity" in await world.client.execute(flow, id="flow")

    world.run(scenario)


def test_what_belongs_to_sagas_is_refused_in_an_activity(world: World) -> None:
    @activity(retry=ONCE)
    async def confused() -> list[str]:
        refused: list[str] = []
        for call in (sagas.now, sagas.random, sagas.uuid4, sagas.info):
            try:
                call()
            except sagas.NotInSaga as error:
                refused.append(str(error))
        return refused

    @saga
    async def flow() -> list[str]:
        return await confused()

    async def scenario() -> None:
        refused = await world.client.execute(flow, id="flow")
        assert len(refused) == 4
        assert all(refused)

    world.run(scenario)


def test_an_activity_of_a_passivated_saga_reports_to_it(world: World) -> None:
    """A step that is open while nothing else happens finds its saga again."""
    gate: list[Gate] = []

    @activity
    async def wait() -> int:
        await gate[0]()
        return 7

    @saga
    async def flow() -> int:
        return await wait()

    async def scenario() -> None:
        gate.append(Gate())
        handle = await world.client.start(flow, id="flow")
        await world.until(lambda: gate[0].came == 1)
        gate[0].open()
        assert await handle.result() == 7

    world.run(scenario)
