"""Updates: messages with an answer. One that is rejected leaves no trace; an accepted one has one outcome for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import sagas
from sagas import Handle, SagaClosed, UpdateFailed, UpdateRejected, activity, query, saga, signal, update
from tests.conformance.world import Gate, World, event_names

gates: list[Gate] = []
"""The gate of the scenario that plays."""


@activity
async def bill(plan: str) -> str:
    return f"billed {plan}"


@activity
async def pass_gate() -> None:
    await gates[-1]()


@saga
class Subscription:
    def __init__(self, seats: int = 1) -> None:
        self.plan = "free"
        self.seats = seats
        self.ended = False
        self.log: list[str] = []

    async def run(self) -> str:
        await sagas.wait_until(lambda: self.ended)
        return self.plan

    @update
    async def change_plan(self, plan: str, note: str = "") -> str:
        self.log.append(f"{plan}{note}")
        receipt = await bill(plan)
        self.plan = plan
        return receipt

    @change_plan.validator
    def check_plan(self, plan: str, note: str = "") -> None:
        if plan not in ("pro", "team", "bug"):
            raise ValueError(f"no plan {plan!r}")

    @update
    def rename(self, name: str) -> int:
        if not name:
            raise ValueError("a name is needed")
        self.log.append(name)
        return len(self.log)

    @update
    async def take_seat(self) -> int:
        self.seats -= 1
        await bill("seat")
        return self.seats

    @take_seat.validator
    def check_seat(self) -> None:
        if self.seats == 0:
            raise ValueError("no seat is left")

    @update
    def stumble(self) -> None:
        raise KeyError("a bug")

    @update
    async def wait_at_gate(self) -> str:
        await pass_gate()
        self.log.append("passed")
        return "passed"

    @update
    async def nap(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "rested"

    @update
    def unspeakable(self) -> object:
        return object()

    @update
    def meddle(self) -> None: ...

    @meddle.validator
    def check_meddle(self) -> None:
        asyncio.ensure_future(bill("x"))  # noqa: RUF006  # must be refused

    @update
    async def end_it(self) -> str:
        self.ended = True
        return await bill("last")

    @signal
    def end(self) -> None:
        self.ended = True

    @query
    def noted(self) -> list[str]:
        return self.log

    @query
    def present_plan(self) -> str:
        return self.plan


def test_an_update_returns_what_its_handler_returns(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Subscription, id="s")
        assert await handle.update(Subscription.change_plan, "pro") == "billed pro"
        assert await handle.query(Subscription.present_plan) == "pro"
        assert await everywhere.client.get("s").update("rename", "x") == 2
        names = await event_names(handle)
        assert [name for name in names if name.startswith("Update")] == ["UpdateAccepted", "UpdateCompleted"] * 2

    everywhere.run(scenario)


def test_a_rejected_update_leaves_no_history(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Subscription, id="s")
        await everywhere.until_waiting(handle, "message")
        before = await event_names(handle)
        with pytest.raises(UpdateRejected, match="no plan 'gold'") as rejected:
            await handle.update(Subscription.change_plan, "gold")
        assert (rejected.value.name, rejected.value.message) == ("change_plan", "no plan 'gold'")
        with pytest.raises(UpdateRejected, match=r"no_such.*change_plan"):
            await handle.update("no_such")
        for args in ((), (1,), ("pro", "a", "b")):
            with pytest.raises(UpdateRejected):
                await handle.update("change_plan", *args)
        for hidden in ("run", "end", "noted", "check_plan", "__init__"):
            with pytest.raises(UpdateRejected):
                await handle.update(hidden)
        with pytest.raises(UpdateRejected, match="read"):
            await handle.update(Subscription.meddle)
        assert await event_names(handle) == before
        assert await handle.update(Subscription.change_plan, "team") == "billed team"

    everywhere.run(scenario)


def test_wrong_arguments_by_the_handler_itself_are_refused_at_once(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Subscription, id="s")
        with pytest.raises(sagas.ArgumentMismatch):
            await handle.update(Subscription.change_plan)  # type: ignore[call-overload]
        with pytest.raises(sagas.InvalidArgument):
            await handle.update(Subscription.end)

    world.run(scenario)


def test_an_updates_error_goes_to_its_caller_alone(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Subscription, id="s")
        with pytest.raises(UpdateFailed) as failed:
            await handle.update(Subscription.rename, "")
        assert (failed.value.cause_type, failed.value.message) == ("ValueError", "a name is needed")
        with pytest.raises(UpdateFailed) as failed:
            await handle.update(Subscription.stumble)
        assert failed.value.cause_type == "KeyError"
        with pytest.raises(UpdateFailed) as failed:
            await handle.update(Subscription.unspeakable)
        assert failed.value.cause_type == "PayloadError"
        assert (await handle.describe()).parked is None
        await handle.signal(Subscription.end)
        assert await handle.result() == "free"
        assert "SignalDeadLettered" not in await event_names(handle)

    everywhere.run(scenario)


def test_one_id_is_one_update(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Subscription, id="s")
        both = [handle.update(Subscription.change_plan, plan, message_id="u1") for plan in ("pro", "team")]
        first = await asyncio.gather(*both)
        assert first in (["billed pro"] * 2, ["billed team"] * 2)
        assert await handle.update(Subscription.change_plan, "team", message_id="u1") == first[0]
        assert len(await handle.query(Subscription.noted)) == 1
        with pytest.raises(UpdateFailed):
            await handle.update(Subscription.rename, "", message_id="u2")
        with pytest.raises(UpdateFailed, match="a name is needed"):
            await handle.update(Subscription.rename, "x", message_id="u2")

    everywhere.run(scenario)


def test_a_rejected_id_may_be_tried_again(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Subscription, 0, id="s")
        for _ in range(2):
            with pytest.raises(UpdateRejected):
                await handle.update(Subscription.take_seat, message_id="u1")

    world.run(scenario)


def test_a_validator_sees_what_the_updates_before_it_did(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Subscription, 2, id="s")
        taken = await asyncio.gather(*(handle.update(Subscription.take_seat) for _ in range(5)), return_exceptions=True)
        assert sum(isinstance(each, UpdateRejected) for each in taken) == 3
        assert await handle.update(Subscription.rename, "x") == 1

    everywhere.run(scenario)


def test_the_outcome_is_told_after_a_crash_and_after_the_end(durable: World) -> None:
    async def scenario() -> None:
        handle = await durable.client.start(Subscription, id="s")
        assert await handle.update(Subscription.change_plan, "pro", message_id="u1") == "billed pro"
        await durable.reopen(Subscription, bill, pass_gate)
        handle = durable.client.get("s")
        assert await handle.update("change_plan", "pro", message_id="u1") == "billed pro"
        await handle.signal("end")
        assert await handle.result() == "pro"
        assert await handle.update("change_plan", "pro", message_id="u1") == "billed pro"
        with pytest.raises(SagaClosed):
            await handle.update("change_plan", "pro", message_id="u2")
        await durable.client.start(Subscription, id="s")
        handle = durable.client.get("s")
        assert await handle.update("change_plan", "pro", message_id="u1") == "billed pro"
        assert await handle.query("noted") == []

    durable.run(scenario)


def test_an_update_goes_on_after_a_crash(durable: World) -> None:
    async def scenario() -> None:
        gates.append(Gate())
        handle = await durable.client.start(Subscription, id="s")
        with pytest.raises(TimeoutError, match="u1"):
            await handle.update(Subscription.wait_at_gate, message_id="u1", timeout=0.05)
        await durable.until(lambda: gates[-1].came == 1)
        gates[-1].open()
        await durable.reopen(Subscription, bill, pass_gate)
        handle = durable.client.get("s")
        assert await handle.update("wait_at_gate", message_id="u1") == "passed"
        assert await handle.query("noted") == ["passed"]

    durable.run(scenario)


def test_handlers_still_running_when_run_returns_are_finished_first(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Subscription, id="s")
        assert await handle.update(Subscription.end_it) == "billed last"
        assert await handle.result() == "free"
        names = await event_names(handle)
        assert names.index("UpdateCompleted") < names.index("RunCompleted")

    world.run(scenario)


def test_updates_of_the_batch_in_which_the_run_ends_are_finished_first(timed: World) -> None:
    async def scenario() -> None:
        handle = await timed.client.start(Subscription, id="s")
        await timed.until_waiting(handle, "message")
        await timed.env.stop()
        sent = [handle.update(Subscription.change_plan, plan, message_id=plan) for plan in ("pro", "gold")]
        answers = await asyncio.gather(*sent, handle.signal(Subscription.end), return_exceptions=True)
        assert [type(answer) for answer in answers[:2]] == [AssertionError] * 2  # nobody runs virtual time
        await timed.env.start()
        assert await handle.result() == "free"
        names = await event_names(handle)
        assert names.count("UpdateAccepted") == 1
        assert names.index("UpdateCompleted") < names.index("RunCompleted")
        assert await handle.update(Subscription.change_plan, "pro", message_id="pro") == "billed pro"

    timed.run(scenario)


def test_an_update_cut_off_by_the_end_says_that_the_run_ended(world: World) -> None:
    async def scenario() -> None:
        gates.append(Gate())
        handle = await world.client.start(Subscription, id="s")
        waiting = asyncio.create_task(handle.update(Subscription.wait_at_gate, message_id="u1"))
        await world.until(lambda: gates[-1].came == 1)
        await handle.cancel()
        with pytest.raises(SagaClosed) as closed:
            await waiting
        assert closed.value.status == "cancelled"
        with pytest.raises(SagaClosed):
            await handle.update(Subscription.wait_at_gate, message_id="u1")
        gates[-1].open()

    world.run(scenario)


@pytest.mark.parametrize("end", ["cancel", "terminate"])
def test_an_update_beside_a_cancel_has_one_answer(everywhere: World, end: str) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Subscription, id="s")
        answers: list[Any] = await asyncio.gather(
            handle.update(Subscription.rename, "x", message_id="u1"), getattr(handle, end)(), return_exceptions=True
        )
        again = await _outcome(handle, "u1")
        assert type(again) is type(answers[0])
        assert again == 1 or isinstance(again, SagaClosed)

    everywhere.run(scenario)


async def _outcome(handle: Handle[Any], message_id: str) -> Any:
    try:
        return await handle.update(Subscription.rename, "x", message_id=message_id)
    except SagaClosed as error:
        return error


@pytest.mark.parametrize("plan", ["pro", "gold"])
def test_an_update_to_a_paused_run_waits(everywhere: World, plan: str) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Subscription, id="s")
        await everywhere.until_waiting(handle, "message")
        await handle.pause()
        with pytest.raises(TimeoutError):
            await handle.update(Subscription.change_plan, plan, message_id="u1", timeout=0.1)
        assert "UpdateReceived" in await event_names(handle)
        await handle.resume()
        for _ in range(2):
            if plan == "pro":
                assert await handle.update(Subscription.change_plan, plan, message_id="u1") == "billed pro"
            else:
                with pytest.raises(UpdateRejected, match="no plan 'gold'"):
                    await handle.update(Subscription.change_plan, plan, message_id="u1")
        assert len(await handle.query(Subscription.noted)) == (plan == "pro")

    everywhere.run(scenario)


def test_an_update_to_a_parked_run_waits(durable: World) -> None:
    async def scenario() -> None:
        broken[0] = True
        handle = await durable.client.start(Buggy, id="b")
        await durable.until_parked(handle)
        with pytest.raises(TimeoutError):
            await handle.update(Buggy.add, 1, message_id="u1", timeout=0.1)
        broken[0] = False
        await durable.reopen(Buggy)
        handle = durable.client.get("b")
        await handle.resume()
        assert await handle.update("add", 1, message_id="u1") == [1]
        assert await handle.update("add", 2) == [1, 2]

    durable.run(scenario)


broken = [True]


@saga
class Buggy:
    def __init__(self) -> None:
        self.got: list[int] = []

    async def run(self) -> None:
        if broken[0]:
            raise KeyError("a bug")
        await asyncio.sleep(3600)

    @update
    def add(self, n: int) -> list[int]:
        self.got.append(n)
        return self.got


def test_an_update_may_take_months(timed: World) -> None:
    async def scenario() -> None:
        handle = await timed.client.start(Subscription, id="s")
        before = timed.env.now
        assert await handle.update(Subscription.nap, 90 * 86400) == "rested"
        assert (timed.env.now - before).days == 90
        with pytest.raises(TimeoutError):
            await handle.update(Subscription.nap, 86400, timeout=3600)

    timed.run(scenario)


def test_updates_to_nobody_and_to_a_function(world: World) -> None:
    @saga
    async def flow() -> None:
        await asyncio.sleep(0.2)

    async def scenario() -> None:
        with pytest.raises(sagas.SagaNotFound):
            await world.client.get("nobody").update("rename", "x")
        handle = await world.client.start(flow, id="f")
        with pytest.raises(UpdateRejected, match="rename"):
            await handle.update("rename", "x")

    world.run(scenario)


def test_an_update_that_comes_with_the_start(timed: World) -> None:
    async def scenario() -> None:
        await timed.env.stop()
        handle = await timed.client.start(Subscription, id="s")
        sent = asyncio.create_task(handle.update(Subscription.rename, "x", message_id="u1"))
        with pytest.raises(AssertionError):  # nobody runs virtual time
            await sent
        await timed.env.start()
        assert await handle.update(Subscription.rename, "x", message_id="u1") == 1

    timed.run(scenario)


def test_an_override_keeps_its_validator_and_may_replace_it(world: World) -> None:
    @saga
    class Strict(Subscription):
        async def run(self) -> str:
            return await super().run()

        async def change_plan(self, plan: str, note: str = "") -> str:  # type: ignore[override]
            return f"changed {plan}"

        def check_seat(self) -> None:
            raise ValueError("never")

    async def scenario() -> None:
        handle = await world.client.start(Strict, id="s")
        assert await handle.update("change_plan", "pro") == "changed pro"
        with pytest.raises(UpdateRejected, match="no plan"):
            await handle.update("change_plan", "gold")
        with pytest.raises(UpdateRejected, match="never"):
            await handle.update("take_seat")

    world.run(scenario)


def test_a_validator_that_could_never_work_is_refused_at_once() -> None:
    def refused(self: Any) -> None: ...
    async def waits(self: Any, n: int) -> None: ...

    @update
    def add(self: Any, n: int) -> None: ...

    for wrong in (refused, waits, 5):
        with pytest.raises(sagas.DefinitionError, match="validator"):
            add.validator(wrong)  # type: ignore[arg-type]
