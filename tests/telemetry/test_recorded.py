"""What a history must hold for its spans to be made from it alone: how it is cut into traces, when attempts began."""

from __future__ import annotations

from dataclasses import fields, replace

import msgpack
import pytest

from sagas import Retry, activity, saga
from sagas.engine.steps import StepReport, StepTask, decode_attempts, decode_tasks, encode_tasks
from sagas.errors import DefinitionError
from sagas.kernel.events import SCHEMA, RunStarted, StepCompleted, StepFailed, decode_chunk
from sagas.kernel.failure import Failure
from sagas.kernel.saga import TraceMode
from tests.engine.bench import DUE, Bench


@activity(retry=Retry(initial=1, jitter=0, max_attempts=3))
async def book(place: str) -> str:
    return place


@saga
async def trip(place: str) -> None:
    await book(place)


@saga(trace_mode="continuous")
async def sprint(place: str) -> None:
    await book(place)


@saga(trace_mode="continuous")
class Longer:
    async def run(self) -> None: ...


def began(report: StepReport, started_ms: int) -> StepReport:
    return replace(report, started_ms=started_ms)


@pytest.mark.parametrize(("flow", "args", "mode"), [(trip, "x", "episodes"), (sprint, "x", "continuous")])
def test_a_run_records_how_its_history_is_cut_into_traces(flow: object, args: str, mode: TraceMode) -> None:
    bench = Bench(flow, book)
    bench.turn(bench.start(flow, args))
    started = bench.history()[0]
    assert isinstance(started, RunStarted)
    assert started.trace_mode == mode


def test_a_class_may_say_so_too() -> None:
    bench = Bench(Longer)
    bench.turn(bench.start(Longer))
    started = bench.history()[0]
    assert isinstance(started, RunStarted)
    assert started.trace_mode == "continuous"


def test_another_mode_is_refused_at_definition() -> None:
    with pytest.raises(DefinitionError, match="'episodes' or 'continuous', not 'hourly'"):
        saga(trace_mode="hourly")  # type: ignore[call-overload]


def test_a_history_from_before_is_cut_into_episodes() -> None:
    (started,) = decode_chunk(msgpack.packb((SCHEMA, 7, [(1, "id", "run", "T", b"", {}, "", "m")])))
    assert isinstance(started, RunStarted)
    assert started.trace_mode == "episodes"


def test_each_attempt_is_recorded_with_the_time_it_began() -> None:
    bench = Bench(trip, book)
    (task,) = bench.turn(bench.start(trip, "x")).effects.dispatch
    bench.turn(began(bench.failed(task, OSError("no")), 1001))
    bench.reload()  # what is known of attempts is stored
    (task,) = bench.turn(DUE, after_ms=1000).effects.dispatch
    failed_ms = bench.now_ms
    turn = bench.turn(began(bench.done(task, "x"), failed_ms - 5))
    done = turn.events[0]
    assert isinstance(done, StepCompleted)
    ((attempt, _, _, _, first_ms),) = done.errors
    assert (attempt, first_ms, done.attempt, done.started_ms) == (1, 1001, 2, failed_ms - 5)


def test_a_step_that_fails_says_when_its_last_attempt_began() -> None:
    bench = Bench(trip, book)
    (task,) = bench.turn(bench.start(trip, "x")).effects.dispatch
    failure = Failure.of(OSError("no")).asking(final=True, retry_after_ms=None)
    turn = bench.turn(began(bench.failed(task, failure), 1001))
    failed = turn.events[0]
    assert isinstance(failed, StepFailed)
    assert (failed.started_ms, failed.errors[-1][4]) == (1001, 1001)


def test_when_a_lost_attempt_began_nobody_knows() -> None:
    bench = Bench(trip, book)
    (task,) = bench.turn(bench.start(trip, "x")).effects.dispatch
    bench.turn(began(bench.failed(task, Failure.lost("gone")), 1001))
    assert bench.resident.attempts[task.step].errors[0][4] == 0


def test_attempts_that_were_stored_before_are_read() -> None:
    stored = {2: (2, 5000, 1000, 1, 0, True, ((1, 1500, "OSError", "no"),))}
    attempt = decode_attempts(msgpack.packb(stored))[2]
    assert (attempt.number, attempt.errors, attempt.started_ms) == (2, ((1, 1500, "OSError", "no"),), 0)


def test_a_task_of_an_older_host_has_no_trace() -> None:
    task = StepTask("id", "run", 1, 1, "book", b"", "default", None, trace="00-1-2-01")
    assert decode_tasks(encode_tasks([task])) == [task]
    row = msgpack.unpackb(encode_tasks([task]))[0]
    older = row[: [each.name for each in fields(StepTask)].index("trace")]
    assert decode_tasks(msgpack.packb([older])) == [replace(task, trace="")]
