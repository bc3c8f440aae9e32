"""Updates in the kernel: in which order they begin, and what a replay makes of those that were rejected or refused."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

import sagas
from sagas import activity, query, saga, signal, update, wait_until
from sagas.errors import NondeterminismError
from sagas.kernel.events import UpdateAccepted
from sagas.kernel.instance import Instance
from tests.kernel.driver import Run, kinds


@activity
async def note(text: str) -> None: ...


@saga
@dataclass
class Ledger:
    left: int = 2
    seen: list[str] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    done: bool = False

    async def run(self) -> list[str]:
        await wait_until(lambda: self.done or sagas.now().hour > 0)
        self.seen.append("run goes on")
        return self.seen

    @update
    async def take(self, name: str) -> int:
        self.left -= 1
        self.seen.append(name)
        self.lengths.append(sagas.info().history_length)
        await note(name)
        return self.left

    @take.validator
    def check_take(self, name: str) -> None:
        if not self.left:
            raise ValueError("none is left")

    @update
    def say(self, text: str) -> None:
        self.seen.append(text)

    @update
    def wake(self) -> None: ...

    @wake.validator
    def check_wake(self) -> None:
        asyncio.get_running_loop().create_future()

    @signal
    def tell(self, text: str) -> None:
        self.seen.append(text)
        self.lengths.append(sagas.info().history_length)

    @signal
    def end(self) -> None:
        self.done = True

    @query
    def all_seen(self) -> list[str]:
        return self.seen


def test_updates_begin_in_order_each_after_the_first_step_of_the_one_before() -> None:
    run = Run(Ledger)
    run.start()
    run.give(
        run.update(Ledger.take, "a", message_id="1"),
        run.update(Ledger.take, "b", message_id="2"),
        run.update(Ledger.take, "c", message_id="3"),
        run.update(Ledger.say, "d", message_id="4"),
        run.signal(Ledger.tell, "first"),
    )
    assert run.rejected == {"3": "none is left"}
    assert run.ask(Ledger.all_seen) == ["first", "a", "b", "d"]
    assert [event.message_id for event in run.history if isinstance(event, UpdateAccepted)] == ["1", "2", "4"]


def test_history_length_does_not_count_what_was_rejected() -> None:
    run = Run(Ledger, 1)
    run.start()
    run.give(
        run.update("no_such", message_id="1"),
        run.signal(Ledger.tell, "x"),
        run.update(Ledger.take, "a", message_id="2"),
        run.update(Ledger.take, "b", message_id="3"),
        run.signal(Ledger.tell, "y"),
    )
    assert run.instance.target.lengths == run.replayed().target.lengths == [3, 4, 5]


def test_a_rejection_alone_runs_nothing() -> None:
    run = Run(Ledger)
    run.start()
    before = list(run.history)
    hour_ms = 3_600_000
    assert run.give(run.update("no_such"), after_ms=hour_ms) == []
    assert run.history == before  # though the condition on the clock would hold by now
    assert "run goes on" not in run.ask(Ledger.all_seen)
    assert kinds(run.give(run.update(Ledger.say, "x", message_id="2"), after_ms=hour_ms)) == [
        "UpdateCompleted",
        "RunCompleted",
    ]


def test_a_validator_that_wakes_or_makes_something_parks() -> None:
    run = Run(Ledger)
    run.start()
    run.give(run.update(Ledger.wake))
    assert "validator of update 'wake'" in run.park


def test_what_was_recorded_while_nothing_ran_is_validated_later_and_in_replays() -> None:
    run = Run(Ledger, 1)
    run.start()
    run.record(run.update(Ledger.take, "a", message_id="1"), run.update(Ledger.take, "b", message_id="2"))
    decisions = run.give()
    assert kinds(decisions) == ["StepScheduled", "UpdateRefused"]
    assert kinds(run.give(run.done("note"), run.signal(Ledger.end))) == ["UpdateCompleted", "RunCompleted"]


def test_updates_before_the_end_begin_one_after_the_other() -> None:
    @saga
    class Brief(Ledger):
        async def run(self) -> list[str]:
            await note("run")
            return self.seen

    run = Run(Brief, 1)
    run.start()
    late = [run.update(Brief.take, name, message_id=name) for name in "ab"]
    assert kinds(run.give(run.done("note"), *late)) == ["StepScheduled"]
    assert kinds(run.give(run.done("note"))) == ["UpdateCompleted", "RunCompleted"]
    assert run.rejected == {}


def test_an_update_that_comes_when_the_run_has_failed_is_not_recorded() -> None:
    @saga
    class Brittle(Ledger):
        async def run(self) -> list[str]:
            await note("run")
            raise ValueError("failed")

    run = Run(Brittle)
    run.start()
    assert kinds(run.give(run.done("note"), run.update(Brittle.take, "a"))) == ["RunFailed"]
    assert "UpdateAccepted" not in kinds(run.history)


def test_an_outcome_that_the_code_does_not_cause_any_more_is_a_difference() -> None:
    run = Run(Ledger)
    run.start()
    run.give(run.update(Ledger.say, "x"))
    cut = [event for event in run.history if not isinstance(event, UpdateAccepted)]
    with pytest.raises(NondeterminismError, match="UpdateCompleted"):
        Instance.replay(run.type, cut)
