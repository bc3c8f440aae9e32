"""``compensating()``: what is undone, in which order, given which outcomes, and what never interrupts it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any

import pytest

import sagas
from sagas import ActivityFailed, Retry, activity, compensating, saga, signal
from tests.conformance.shop import Broken, Refused, Shop
from tests.conformance.world import World, event_names


@pytest.fixture
def shop() -> Shop:
    return Shop()


@saga
async def flow_of_nothing() -> None: ...


def fails(world: World, flow: object, cause: str = "ValueError") -> None:
    """The saga fails for this reason, with everything undone."""

    async def scenario() -> None:
        handle = await world.client.start(flow, id="flow")
        with pytest.raises(sagas.SagaFailed) as failed:
            await handle.result()
        assert failed.value.cause_type == cause
        described = await handle.describe()
        assert described.status == "failed"
        assert described.compensation in ("done", "none")

    world.run(scenario)


def completes(world: World, flow: object, wanted: object = None) -> None:
    async def scenario() -> None:
        assert await world.client.execute(flow, id="flow") == wanted

    world.run(scenario)


# --- order and arguments --------------------------------------------------------------------------------


def test_undo_runs_newest_first_with_the_result_then_the_arguments(everywhere: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            for name in ("a", "b", "c"):
                await shop.act(name)
            raise ValueError("no")

    fails(everywhere, flow)
    assert shop.log == ["do a", "do b", "do c", "undo c <c>", "undo b <b>", "undo a <a>"]


def test_a_block_that_ends_well_undoes_nothing(everywhere: World, shop: Shop) -> None:
    @saga
    async def flow() -> str:
        async with compensating():
            await shop.act("a")
            return await shop.act("b")

    completes(everywhere, flow, "<b>")
    assert shop.log == ["do a", "do b"]


def test_steps_without_an_undo_are_passed_over(world: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
            await shop.plain("b")
            await shop.act("c")
            raise ValueError("no")

    fails(world, flow)
    assert shop.log == ["do a", "do b", "do c", "undo c <c>", "undo a <a>"]


def test_outside_a_scope_nothing_is_undone(world: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        await shop.act("before")
        async with compensating():
            await shop.act("in")
        await shop.act("after")
        raise ValueError("no")

    fails(world, flow)
    assert shop.log == ["do before", "do in", "do after"]


def test_order_is_that_of_scheduling_not_of_completion(world: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await asyncio.gather(shop.act("a"), shop.act("b"), shop.act("c"))
            raise ValueError("no")

    async def scenario() -> None:
        gates = {name: shop.gate(name) for name in "abc"}
        handle = await world.client.start(flow, id="flow")
        for name in "cab":
            await world.until(lambda name=name: gates[name].came == 1)
            gates[name].open()
        with pytest.raises(sagas.SagaFailed):
            await handle.result()
        assert shop.log[3:] == ["undo c <c>", "undo b <b>", "undo a <a>"]

    world.run(scenario)


def test_an_undo_names_its_action_and_has_its_own_key(world: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
            await shop.act("b")
            raise ValueError("no")

    fails(world, flow)
    assert shop.undo_of == {"a": shop.keys["a"], "b": shop.keys["b"]}
    assert len(set(shop.keys.values())) == 4


def test_the_first_error_is_what_the_caller_sees(world: World, shop: Shop) -> None:
    shop.fail("c", OSError("no card"))

    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
            await shop.act("c")

    fails(world, flow, "ActivityFailed")


def test_the_error_goes_on_through_the_block(world: World, shop: Shop) -> None:
    @saga
    async def flow() -> str:
        try:
            async with compensating():
                await shop.act("a")
                raise ValueError("no")
        except ValueError as error:
            return f"caught {error} after {shop.log[-1]}"

    completes(world, flow, "caught no after undo a <a>")


# --- the outcome decides --------------------------------------------------------------------------------


def test_a_step_that_failed_is_unknown_and_undone_with_none(everywhere: World, shop: Shop) -> None:
    shop.fail("b", OSError("reply lost"))

    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
            await shop.act("b")

    fails(everywhere, flow, "ActivityFailed")
    assert shop.log == ["do a", "do b", "undo b None", "undo a <a>"]


def test_rejected_is_not_undone(everywhere: World, shop: Shop) -> None:
    shop.fail("b", Refused("no"))

    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
            await shop.act("b")

    fails(everywhere, flow, "Refused")
    assert shop.log == ["do a", "do b", "undo a <a>"]


def test_permanent_is_undone_with_none(world: World, shop: Shop) -> None:
    shop.fail("b", Broken("no"))

    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("b")

    fails(world, flow, "Broken")
    assert shop.log == ["do b", "undo b None"]


def test_rejected_after_a_failed_attempt_is_undone(world: World, shop: Shop) -> None:
    shop.fail("b", OSError("reply lost"), Refused("no"))

    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act.options(retry=Retry(initial=0.01))("b")

    fails(world, flow, "Refused")
    assert shop.log == ["do b", "do b", "undo b None"]


def test_a_step_that_timed_out_is_undone_with_none(everywhere: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
            await shop.act.options(timeout=0.05)("b")

    async def scenario() -> None:
        shop.gate("b")
        with pytest.raises(sagas.SagaFailed) as failed:
            await everywhere.client.execute(flow, id="flow")
        assert failed.value.cause_type == "ActivityTimeout"
        assert shop.log == ["do a", "do b", "undo b None", "undo a <a>"]

    everywhere.run(scenario)


def test_an_unknown_step_that_was_caught_is_undone_when_the_scope_ends_well(everywhere: World, shop: Shop) -> None:
    shop.fail("b", OSError("reply lost"))

    @saga
    async def flow() -> str:
        async with compensating():
            await shop.act("a")
            with suppress(ActivityFailed):
                await shop.act("b")
            await shop.act("c")
        return "done"

    completes(everywhere, flow, "done")
    assert shop.log == ["do a", "do b", "do c", "undo b None"]


def test_a_rejected_step_that_was_caught_leaves_nothing_to_undo(world: World, shop: Shop) -> None:
    shop.fail("b", Refused("no"))

    @saga
    async def flow() -> str:
        async with compensating():
            await shop.act("a")
            with suppress(Refused):
                await shop.act("b")
        return "done"

    completes(world, flow, "done")
    assert shop.log == ["do a", "do b"]


def test_open_steps_are_settled_before_the_first_undo(world: World, shop: Shop) -> None:
    """A failing scope waits for the outcome of its open steps: a thread cannot be cancelled."""
    shop.fail("b", OSError("down"))
    opened = threading.Event()

    @activity(retry=Retry(max_attempts=1))
    def slow() -> str:
        shop.log.append("do slow")
        assert opened.wait(30)
        return "<slow>"

    @slow.compensation
    async def undo_slow(result: str | None) -> None:
        shop.log.append(f"undo slow {result}")

    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("first")
            await asyncio.gather(slow(), shop.act("b"))

    async def scenario() -> None:
        handle = await world.client.start(flow, id="flow")
        try:
            await world.until(lambda: {"do slow", "do b"} <= set(shop.log))
            await world.until_event(handle, "StepFailed")
            assert not [line for line in shop.log if line.startswith("undo")]
        finally:
            opened.set()
        with pytest.raises(sagas.SagaFailed):
            await handle.result()
        undone = [line for line in shop.log if line.startswith("undo")]
        assert undone in (
            ["undo b None", "undo slow <slow>", "undo first <first>"],
            ["undo b None", "undo slow None", "undo first <first>"],  # its withdrawal came first: unknown
        )

    world.run(scenario)


def test_an_open_step_that_never_settles_is_unknown_after_its_timeout(world: World, shop: Shop) -> None:
    shop.fail("b", OSError("down"))

    @saga
    async def flow() -> None:
        async with compensating():
            await asyncio.gather(shop.act.options(timeout=0.3)("slow"), shop.act("b"))

    async def scenario() -> None:
        shop.gate("slow")
        with pytest.raises(sagas.SagaFailed):
            await world.client.execute(flow, id="flow")
        undone = [line for line in shop.log if line.startswith("undo")]
        assert undone == ["undo b None", "undo slow None"]

    world.run(scenario)


def test_steps_of_tasks_started_in_the_block_belong_to_it(world: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        async def deep() -> None:
            await shop.act("task")

        async with compensating():
            async with asyncio.TaskGroup() as group:
                group.create_task(deep())
            await shop.act("b")
            raise ValueError("no")

    fails(world, flow)
    assert shop.log[2:] == ["undo b <b>", "undo task <task>"]


# --- nesting --------------------------------------------------------------------------------------------


def test_an_inner_scope_that_ended_well_is_undone_by_the_outer_one(everywhere: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
            async with compensating():
                await shop.act("b")
                await shop.act("c")
            await shop.act("d")
            raise ValueError("no")

    fails(everywhere, flow)
    assert shop.log[4:] == ["undo d <d>", "undo c <c>", "undo b <b>", "undo a <a>"]


def test_an_inner_scope_that_fails_undoes_only_itself(world: World, shop: Shop) -> None:
    @saga
    async def flow() -> str:
        async with compensating():
            await shop.act("a")
            try:
                async with compensating():
                    await shop.act("b")
                    raise ValueError("no")
            except ValueError:
                await shop.act("c")
        return "done"

    completes(world, flow, "done")
    assert shop.log == ["do a", "do b", "undo b <b>", "do c"]


def test_what_an_inner_scope_undid_is_not_undone_again(world: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
            async with compensating():
                await shop.act("b")
                raise ValueError("no")

    fails(world, flow)
    assert shop.log == ["do a", "do b", "undo b <b>", "undo a <a>"]


def test_two_scopes_one_after_the_other(world: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
        async with compensating():
            await shop.act("b")
            raise ValueError("no")

    fails(world, flow)
    assert shop.log == ["do a", "do b", "undo b <b>"]


# --- parallel -------------------------------------------------------------------------------------------


def test_parallel_undoes_all_at_once(everywhere: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        async with compensating(parallel=True):
            await shop.act("a")
            await shop.act("b")
            raise ValueError("no")

    async def scenario() -> None:
        gates = [shop.gate("undo a"), shop.gate("undo b")]
        handle = await everywhere.client.start(flow, id="flow")
        await everywhere.until(lambda: all(gate.came == 1 for gate in gates))
        for gate in gates:
            gate.open()
        with pytest.raises(sagas.SagaFailed):
            await handle.result()
        assert sorted(shop.log[2:]) == ["undo a <a>", "undo b <b>"]

    everywhere.run(scenario)


def test_sequential_undoes_one_after_the_other(world: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
            await shop.act("b")
            raise ValueError("no")

    async def scenario() -> None:
        gate = shop.gate("undo b")
        handle = await world.client.start(flow, id="flow")
        await world.until(lambda: gate.came == 1)
        assert (await handle.describe()).compensation == "running"
        assert "undo a <a>" not in shop.log
        gate.open()
        with pytest.raises(sagas.SagaFailed):
            await handle.result()
        assert shop.log[-1] == "undo a <a>"
        assert (await handle.describe()).compensation == "done"

    world.run(scenario)


# --- undo goes through ----------------------------------------------------------------------------------


def test_a_failing_undo_is_retried_until_it_works(everywhere: World, shop: Shop) -> None:
    shop.fail("undo b", OSError("1"), OSError("2"), OSError("3"))

    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
            await shop.act("b")
            raise ValueError("no")

    fails(everywhere, flow)
    assert shop.log[2:] == ["undo b <b>"] * 4 + ["undo a <a>"]


def test_by_default_an_undo_is_retried_for_ever(timed: World) -> None:
    undone: list[int] = []

    @activity(retry=Retry(max_attempts=1))
    async def act() -> int:
        return 1

    @act.compensation
    async def undo(result: int | None) -> None:
        undone.append(sagas.step().attempt)
        if len(undone) < 30:
            raise OSError("down")

    @saga
    async def flow() -> None:
        async with compensating():
            await act()
            raise ValueError("no")

    fails(timed, flow)
    assert undone == list(range(1, 31))


def test_an_undo_whose_attempts_are_used_up_is_stuck(world: World, shop: Shop) -> None:
    undone: list[int] = []

    @activity
    async def pay() -> int:
        return 1

    @pay.compensation(retry=Retry(max_attempts=2, initial=0.01))
    async def pay_back(result: int | None) -> None:
        undone.append(1)
        raise OSError("cannot refund")

    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("older")
            await pay()
            raise ValueError("no")

    async def scenario() -> None:
        handle = await world.client.start(flow, id="flow")

        async def stuck() -> bool:
            return (await handle.describe()).compensation == "stuck"

        if world.virtual:
            await world.env.advance(seconds=1)
        await world.until(stuck)
        assert (await handle.describe()).status == "running"
        assert undone == [1, 1]
        assert shop.log == ["do older"]  # strictly newest first: what is older waits
        with pytest.raises(sagas.SagaParked, match="cannot refund"):
            await handle.result()
        await handle.terminate("by hand")
        with pytest.raises(sagas.SagaTerminated):
            await handle.result()

    world.run(scenario)


async def cancels(handle: sagas.Handle[Any], times: int) -> bool:
    """So many cancels are recorded."""
    return sum("Cancel" in name for name in await event_names(handle)) >= times


@pytest.mark.parametrize("applied", [True, False], ids=["before it ended", "as it ended"])
def test_cancel_never_interrupts_an_undo(everywhere: World, shop: Shop, applied: bool) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
            await shop.act("b")
            raise ValueError("no")

    async def scenario() -> None:
        gate = shop.gate("undo b")
        handle = await everywhere.client.start(flow, id="flow")
        await everywhere.until(lambda: gate.came == 1)
        await handle.cancel()
        await handle.cancel()
        if applied:
            await everywhere.until(lambda: cancels(handle, 2))
        gate.open()
        with pytest.raises(sagas.SagaFailed) as failed:
            await handle.result()
        assert failed.value.cause_type == "ValueError"  # the first error survives
        assert shop.log[2:] == ["undo b <b>", "undo a <a>"]

    everywhere.run(scenario)


def test_a_crash_in_the_middle_of_undoing_goes_on_where_it_was(durable: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            for name in "abc":
                await shop.act(name)
            await sagas.wait_until(lambda: False, timeout=0.01)

    async def scenario() -> None:
        gate = shop.gate("undo b")
        handle = await durable.client.start(flow, id="flow")
        if durable.virtual:
            await durable.env.advance(seconds=1)
        await durable.until(lambda: gate.came >= 1)
        gate.open()
        await durable.reopen(flow, shop.act, shop.undo)
        with pytest.raises(sagas.SagaFailed) as failed:
            await durable.again(handle).result()
        assert failed.value.cause_type == "TimeoutError"
        undone = list(dict.fromkeys(line for line in shop.log if line.startswith("undo")))
        assert undone == ["undo c <c>", "undo b <b>", "undo a <a>"]
        assert shop.log.count("undo c <c>") == 1
        assert shop.log.count("undo a <a>") == 1

    durable.run(scenario)


def test_cancel_undoes(everywhere: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
            await shop.act("b")
            await asyncio.sleep(3600)

    async def scenario() -> None:
        handle = await everywhere.client.start(flow, id="flow")
        await everywhere.until_waiting(handle, "timer")
        await handle.cancel("changed my mind")
        with pytest.raises(sagas.SagaCancelled, match="changed my mind"):
            await handle.result()
        assert shop.log[2:] == ["undo b <b>", "undo a <a>"]
        described = await handle.describe()
        assert (described.status, described.compensation) == ("cancelled", "done")

    everywhere.run(scenario)


def test_cancel_during_a_step_awaits_its_outcome_and_undoes_it(world: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
            await shop.act("b")

    async def scenario() -> None:
        gate = shop.gate("b")
        handle = await world.client.start(flow, id="flow")
        await world.until(lambda: gate.came == 1)
        await handle.cancel()
        gate.open()
        with pytest.raises(sagas.SagaCancelled):
            await handle.result()
        assert shop.log[2:] in (["undo b <b>", "undo a <a>"], ["undo b None", "undo a <a>"])

    world.run(scenario)


def test_steps_in_finally_and_except_still_run_when_undoing(world: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
            try:
                await asyncio.sleep(3600)
            finally:
                await shop.plain("goodbye")

    async def scenario() -> None:
        handle = await world.client.start(flow, id="flow")
        await world.until_waiting(handle, "timer")
        await handle.cancel()
        with pytest.raises(sagas.SagaCancelled):
            await handle.result()
        assert shop.log == ["do a", "do goodbye", "undo a <a>"]

    world.run(scenario)


def test_terminate_runs_no_undo(everywhere: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
            await asyncio.sleep(3600)

    async def scenario() -> None:
        handle = await everywhere.client.start(flow, id="flow")
        await everywhere.until_waiting(handle, "timer")
        await handle.terminate("fire")
        with pytest.raises(sagas.SagaTerminated, match="fire"):
            await handle.result()
        assert shop.log == ["do a"]
        assert (await handle.describe()).status == "terminated"

    everywhere.run(scenario)


def test_terminate_interrupts_undoing(world: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
            await shop.act("b")
            raise ValueError("no")

    async def scenario() -> None:
        gate = shop.gate("undo b")
        handle = await world.client.start(flow, id="flow")
        await world.until(lambda: gate.came == 1)
        await handle.terminate()
        with pytest.raises(sagas.SagaTerminated):
            await handle.result()
        gate.open()
        await world.client.execute(flow_of_nothing, id="other")  # the host has turned since
        assert "undo a <a>" not in shop.log

    world.run(scenario)


def test_pause_does_not_stop_an_undo(world: World, shop: Shop) -> None:
    """Undo steps ignore pause."""

    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
            await shop.act("b")
            raise ValueError("no")

    async def scenario() -> None:
        gate = shop.gate("undo b")
        handle = await world.client.start(flow, id="flow")
        await world.until(lambda: gate.came == 1)
        await handle.pause()
        gate.open()
        await world.until(lambda: "undo a <a>" in shop.log)
        with pytest.raises(sagas.SagaFailed):
            await handle.result()

    world.run(scenario)


# --- a bug in a scope -----------------------------------------------------------------------------------


def test_a_bug_in_a_scope_parks_before_any_undo(everywhere: World, shop: Shop) -> None:
    broken = [True]

    @saga
    async def flow() -> str:
        async with compensating():
            await shop.act("a")
            if broken[0]:
                undefined_name  # noqa: B018, F821
            await shop.act("b")
        return "done"

    async def scenario() -> None:
        handle = await everywhere.client.start(flow, id="flow")
        with pytest.raises(sagas.SagaParked, match="undefined_name"):
            await handle.result()
        assert shop.log == ["do a"]
        described = await handle.describe()
        assert (described.status, described.compensation) == ("running", "none")
        broken[0] = False
        await handle.resume()
        assert await handle.result() == "done"
        assert shop.log == ["do a", "do b"]

    everywhere.run(scenario)


def test_a_parked_scope_is_undone_when_cancelled(world: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
            await shop.act("b")
            {}["missing"]

    async def scenario() -> None:
        handle = await world.client.start(flow, id="flow")
        await world.until_parked(handle)
        assert shop.log == ["do a", "do b"]
        await handle.cancel()
        with pytest.raises(sagas.SagaCancelled):
            await handle.result()
        assert shop.log[2:] == ["undo b <b>", "undo a <a>"]

    world.run(scenario)


def test_a_parked_scope_is_left_alone_when_terminated(world: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
            {}["missing"]

    async def scenario() -> None:
        handle = await world.client.start(flow, id="flow")
        await world.until_parked(handle)
        await handle.terminate()
        with pytest.raises(sagas.SagaTerminated):
            await handle.result()
        assert shop.log == ["do a"]

    world.run(scenario)


# --- what can be seen -----------------------------------------------------------------------------------


def test_history_shows_the_undos(world: World, shop: Shop) -> None:
    shop.fail("undo a", OSError("down"))

    @saga
    async def flow() -> None:
        async with compensating():
            await shop.act("a")
            raise ValueError("no")

    async def scenario() -> None:
        handle = await world.client.start(flow, id="flow")
        with pytest.raises(sagas.SagaFailed):
            await handle.result()
        names = await event_names(handle)
        assert names.count("CompensationScheduled") == 1
        assert names.index("CompensationScheduled") < names.index("CompensationCompleted") < names.index("RunFailed")

    world.run(scenario)


def test_a_saga_that_undid_nothing_says_none(world: World, shop: Shop) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            raise ValueError("no")

    async def scenario() -> None:
        handle = await world.client.start(flow, id="flow")
        with pytest.raises(sagas.SagaFailed):
            await handle.result()
        assert (await handle.describe()).compensation == "none"

    world.run(scenario)


def test_signals_are_taken_while_undoing(world: World, shop: Shop) -> None:
    @saga
    class Flow:
        def __init__(self) -> None:
            self.told: list[int] = []

        async def run(self) -> None:
            async with compensating():
                await shop.act("a")
                raise ValueError("no")

        @signal
        def tell(self, n: int) -> None:
            self.told.append(n)

        @sagas.query
        def seen(self) -> list[int]:
            return self.told

    async def scenario() -> None:
        gate = shop.gate("undo a")
        handle = await world.client.start(Flow, id="flow")
        await world.until(lambda: gate.came == 1)
        await handle.signal(Flow.tell, 5)
        gate.open()
        with pytest.raises(sagas.SagaFailed):
            await handle.result()
        assert await handle.query(Flow.seen) == [5]

    world.run(scenario)
