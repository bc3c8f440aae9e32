"""One attempt, whatever its activity does: exactly one report, and nothing begins after it was given."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import sagas
from compensations import Outcome
from sagas.engine.attempt import AttemptRunner
from sagas.engine.clock import SystemClock
from sagas.engine.steps import StepReport, StepTask
from sagas.kernel.registry import Registry

BEGUN: list[str] = []
GO_ON = threading.Event()


@pytest.fixture(autouse=True)
def _afresh() -> None:
    BEGUN.clear()
    GO_ON.clear()


@sagas.activity
def occupy(name: str) -> str:
    BEGUN.append(name)
    GO_ON.wait(30)
    return name


@sagas.activity
def stops_an_iteration() -> None:
    next(iter(()))


@sagas.activity
async def sleeps() -> None:
    BEGUN.append("sleeps")
    await asyncio.sleep(3600)


def task_of(activity: Any, *args: Any, step: int = 1, timeout_ms: int | None = None) -> StepTask:
    return StepTask("id", "run", step, 1, activity.name, activity.signature.encode(args, {}), "default", timeout_ms)


def play(scenario: Callable[[AttemptRunner], Coroutine[Any, Any, None]], threads: int = 1) -> None:
    async def main() -> None:
        registry = Registry()
        for activity in (occupy, stops_an_iteration, sleeps):
            registry.learn(activity)
        runner = AttemptRunner(registry, SystemClock(), threads)
        try:
            async with asyncio.timeout(30):
                await scenario(runner)
        finally:
            GO_ON.set()
            runner.close()

    asyncio.run(main())


def begin(runner: AttemptRunner, task: StepTask) -> tuple[Any, asyncio.Future[StepReport]]:
    report: asyncio.Future[StepReport] = asyncio.get_running_loop().create_future()
    return runner.begin(task, report.set_result), report


def test_what_timed_out_while_it_waited_for_a_thread_never_begins() -> None:
    async def scenario(runner: AttemptRunner) -> None:
        _, first = begin(runner, task_of(occupy, "first", step=1))
        _, second = begin(runner, task_of(occupy, "second", step=2, timeout_ms=50))
        failure = (await second).failure
        assert failure is not None
        assert failure.kind == "timeout"
        GO_ON.set()
        assert (await first).failure is None
        _, third = begin(runner, task_of(occupy, "third", step=3))
        await third
        assert BEGUN == ["first", "third"]

    play(scenario)


def test_what_was_cancelled_while_it_waited_for_a_thread_never_ran() -> None:
    async def scenario(runner: AttemptRunner) -> None:
        _, first = begin(runner, task_of(occupy, "first", step=1))
        attempt, second = begin(runner, task_of(occupy, "second", step=2))
        attempt.cancel()
        report = await second
        assert report.never_ran
        assert report.failure is not None
        assert report.failure.outcome is Outcome.NONE
        GO_ON.set()
        await first
        assert BEGUN == ["first"]

    play(scenario)


def test_a_thread_that_works_is_awaited_when_it_is_cancelled() -> None:
    async def scenario(runner: AttemptRunner) -> None:
        attempt, report = begin(runner, task_of(occupy, "first"))
        while not BEGUN:
            await asyncio.sleep(0.01)
        attempt.cancel()
        await asyncio.sleep(0)
        assert not report.done()
        GO_ON.set()
        assert (await report).result is not None

    play(scenario)


def test_a_stop_iteration_is_reported_as_an_error() -> None:
    async def scenario(runner: AttemptRunner) -> None:
        _, report = begin(runner, task_of(stops_an_iteration))
        failure = (await report).failure
        assert failure is not None
        assert "StopIteration" in failure.message

    play(scenario)


def test_a_coroutine_cancelled_before_its_first_line_never_ran() -> None:
    async def scenario(runner: AttemptRunner) -> None:
        attempt, report = begin(runner, task_of(sleeps))
        attempt.cancel()
        assert (await report).never_ran
        assert BEGUN == []

    play(scenario)


def test_one_cancelled_at_work_may_have_had_an_effect() -> None:
    async def scenario(runner: AttemptRunner) -> None:
        attempt, report = begin(runner, task_of(sleeps))
        while not BEGUN:
            await asyncio.sleep(0)
        attempt.cancel()
        failure = (await report).failure
        assert failure is not None
        assert failure.outcome is Outcome.UNKNOWN

    play(scenario)


def test_where_no_thread_can_be_started_the_attempt_reports_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(runner: AttemptRunner) -> None:
        def refuse(*_args: Any) -> Any:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(runner.threads, "submit", refuse)
        _, report = begin(runner, task_of(occupy, "first"))
        failure = (await report).failure
        assert failure is not None
        assert "new thread" in failure.message

    play(scenario)
