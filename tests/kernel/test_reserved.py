"""The run's own timers: what they do to its code, in which order with what else arrives."""

from __future__ import annotations

import asyncio

import pytest

from sagas import activity, saga
from sagas.kernel.duration import from_ms
from sagas.kernel.events import RunCancelled, RunStarted, RunTimedOut, TimerFired
from sagas.kernel.reserved import DEADLINE
from sagas.kernel.saga import saga_type_of
from sagas.kernel.state import RunState
from tests.kernel.driver import START_MS, Run, kinds


@activity
async def one() -> None: ...


@saga(timeout=10)
async def bounded() -> None:
    await one()
    await asyncio.Event().wait()


@pytest.mark.parametrize("cancel_first", [True, False])
def test_of_a_cancel_and_the_timeout_in_one_batch_the_first_counts(cancel_first: bool) -> None:
    run = Run(bounded)
    run.start()
    facts = [run.cancel("enough"), TimerFired(DEADLINE)]
    run.give(run.done("one"), *(facts if cancel_first else reversed(facts)))
    assert isinstance(run.end, RunCancelled if cancel_first else RunTimedOut)
    assert run.steps() == ["one"]


def test_a_run_that_times_out_before_its_first_line_does_nothing() -> None:
    run = Run(bounded)
    assert kinds(run.start(TimerFired(DEADLINE))) == ["RunTimedOut"]


def test_a_deadline_is_a_timer_of_the_run_that_its_code_does_not_wait_for() -> None:
    state = RunState()
    state.evolve(RunStarted("id", "run", "bounded", b"", deadline_ms=START_MS + 10, at_ms=START_MS))
    assert state.due_timers(START_MS + 9) == []
    assert state.due_timers(START_MS + 10) == [DEADLINE]
    assert (state.next_timer_ms, state.next_wake_ms) == (START_MS + 10, None)
    state.evolve(TimerFired(DEADLINE, at_ms=START_MS + 10))
    assert state.next_timer_ms is None


def test_deadlines_end_with_the_calendar() -> None:
    @saga(timeout=1e12)
    async def patient() -> None: ...

    assert from_ms(saga_type_of(patient).deadline_ms(START_MS)).year == 9999
    assert saga_type_of(bounded).deadline_ms(START_MS) == START_MS + 10_000
