"""An instance in memory: which transition an input leads to, and what a reload makes of what was written."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack
import pytest

from compensations import Outcome
from sagas import Rejected, Retry, activity, compensating, query, saga, signal, wait_until
from sagas.engine.resident import Resident, Turn
from sagas.engine.steps import Heartbeat, StepTask, decode_attempts, queue_timed_out
from sagas.kernel.events import (
    Resumed,
    RunTerminated,
    StepCompleted,
    StepFailed,
    StepScheduled,
    encode_chunk,
)
from sagas.kernel.failure import Failure
from sagas.kernel.registry import Registry
from sagas.store.port import Loaded, Status
from tests.engine.bench import DUE, START_MS, Bench, kinds


@activity(retry=Retry(initial=1, backoff=2, jitter=0, max_attempts=3))
async def step(value: Any = None) -> Any:
    return value


@activity(retry=Retry(max_attempts=1))
async def once(value: Any = None) -> Any:
    return value


@activity
async def book(name: str) -> str:
    return name


@book.compensation
async def cancel_booking(booking: str | None, name: str) -> None: ...


@saga
async def flow() -> Any:
    return await step("x")


@saga
@dataclass
class Box:
    items: list[str] = field(default_factory=list)
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> list[str]:
        await wait_until(lambda: "end" in self.items)
        return self.items

    @signal
    def put(self, item: str) -> None:
        if item == "bug":
            raise KeyError(item)
        self.items.append(item)

    @query
    def look(self) -> list[str]:
        return self.items

    @query
    def wake(self) -> None:
        self.woken.set()


def started(*known: Any, saga: Any = flow) -> tuple[Bench, StepTask]:
    bench = Bench(saga, *known)
    (task,) = bench.turn(bench.start(saga)).effects.dispatch
    return bench, task


# --- the first turn


def test_a_start_is_admitted_written_and_dispatched() -> None:
    bench = Bench(flow)
    mail = bench.start(flow)
    turn = bench.turn(mail)
    assert turn.transition is not None
    assert (turn.transition.admitted, turn.transition.mail, turn.transition.version) == (True, (mail.entry,), 0)
    assert bench.kinds() == ["RunStarted", "Activated", "StepScheduled"]
    assert bench.index == {"status:running", "type:flow"}
    assert bench.busy
    (task,) = turn.effects.dispatch
    assert (task.activity, task.attempt, task.idempotency_key) == ("step", 1, "run-1/1")


def test_a_repeated_start_is_dropped() -> None:
    bench, _ = started()
    again = bench.start(flow)
    turn = bench.turn(again, bench.start(flow, run_id="run-2"))
    assert turn.transition is None
    assert again.entry in turn.discard


def test_an_ended_run_makes_room_for_another_with_its_own_history() -> None:
    bench, task = started()
    bench.turn(bench.done(task, 1))
    assert bench.stored.status is Status.COMPLETED
    (task,) = bench.turn(bench.start(flow, run_id="run-2")).effects.dispatch
    assert (bench.stored.run_id, bench.stored.status, bench.stored.version) == ("run-2", Status.RUNNING, 1)
    assert bench.index == {"status:running", "type:flow"}
    bench.reload(lambda _key, _attempt: True)
    bench.turn(bench.done(task, 2))
    assert bench.kinds("run-1")[-1] == bench.kinds("run-2")[-1] == "RunCompleted"


def test_terminate_and_start_in_one_batch_are_two_runs() -> None:
    bench, task = started()
    first = bench.turn(bench.terminate(), bench.start(flow, run_id="run-2"))
    assert bench.kinds()[-1] == "RunTerminated"
    assert first.drop
    assert first.effects.cancel == [task.key]
    left = bench.resident.inputs
    bench.reload().inputs.extend(left)
    assert bench.turn().effects.dispatch[0].run_id == "run-2"


# --- reports


def test_a_result_completes_its_step_and_ends_its_retry_state() -> None:
    bench, task = started()
    bench.turn(bench.done(task, "y"))
    assert bench.kinds()[-3:] == ["StepCompleted", "Activated", "RunCompleted"]
    assert (bench.busy, bench.steps, bench.timer_ms) == (False, None, None)


@pytest.mark.parametrize("wrong", ["run", "step", "attempt", "again"])
def test_a_report_that_is_not_awaited_is_dropped(wrong: str) -> None:
    bench, task = started(saga=twice)
    report = bench.done(task, "y")
    if wrong == "again":
        bench.turn(report)
        before = bench.kinds()
        turn = bench.turn(report)
    else:
        before = bench.kinds()
        stray = {"run": {"run_id": "run-0"}, "step": {"step": 9}, "attempt": {"attempt": 2}}[wrong]
        turn = bench.turn(replace(report, **stray))
    assert turn.transition is None
    assert bench.kinds() == before


@saga
async def twice() -> None:
    await step(1)
    await step(2)


def test_two_reports_of_one_attempt_in_one_turn_count_once() -> None:
    bench, task = started(saga=twice)
    bench.turn(bench.done(task, 1), bench.done(task, 2), bench.failed(task, ValueError("x")))
    assert bench.kinds().count("StepCompleted") == 1
    assert "StepFailed" not in bench.kinds()


def test_a_failed_attempt_waits_in_the_timer_set_and_is_tried_again() -> None:
    bench, task = started()
    turn = bench.turn(bench.failed(task, ValueError("one")))
    assert turn.transition is not None
    assert turn.transition.chunk is None
    assert bench.timer_ms == bench.now_ms + 1000
    assert not bench.busy
    (second,) = bench.turn(DUE, after_ms=1000).effects.dispatch
    assert (second.attempt, second.idempotency_key) == (2, task.idempotency_key)
    assert bench.busy
    bench.turn(bench.done(second, "y"))
    done = next(event for event in bench.history() if isinstance(event, StepCompleted))
    assert done.attempt == 2
    assert [(row[0], row[2], row[3]) for row in done.errors] == [(1, "ValueError", "one")]


def test_the_last_attempt_fails_the_step() -> None:
    bench, task = started()
    for _ in range(2):
        bench.turn(bench.failed(task, ValueError("no")))
        (task,) = bench.turn(DUE, after_ms=10_000).effects.dispatch
    bench.turn(bench.failed(task, ValueError("last")))
    failed = next(event for event in bench.history() if isinstance(event, StepFailed))
    assert failed.attempt == 3
    assert Failure.from_row(failed.failure).message == "last"
    assert bench.stored.status is Status.FAILED


def test_a_refusal_after_an_attempt_of_unknown_effect_is_of_unknown_effect() -> None:
    bench, task = started()
    bench.turn(bench.failed(task, ValueError("maybe")))
    bench.reload()
    (task,) = bench.turn(DUE, after_ms=10_000).effects.dispatch
    bench.turn(bench.failed(task, Rejected("no")))
    failed = next(event for event in bench.history() if isinstance(event, StepFailed))
    assert Failure.from_row(failed.failure).outcome is Outcome.UNKNOWN


def test_an_activity_that_cancels_itself_is_tried_again() -> None:
    bench, task = started()
    bench.turn(bench.failed(task, Failure.cancelled(Outcome.UNKNOWN)))
    assert bench.timer_ms is not None
    assert "StepFailed" not in bench.kinds()


# --- coming back


def test_a_reload_takes_what_nobody_runs_for_lost() -> None:
    bench, task = started()
    bench.reload()
    bench.turn()
    (state,) = decode_attempts(bench.steps).values()
    assert (state.number, state.lost, state.failed, state.maybe_done) == (2, 1, 0, True)
    (again,) = bench.turn(DUE, after_ms=1000).effects.dispatch
    assert (again.attempt, again.idempotency_key) == (2, task.idempotency_key)


def test_a_reload_leaves_what_still_runs_alone() -> None:
    bench, task = started()
    bench.reload(lambda key, attempt: (key, attempt) == (task.key, 1))
    assert bench.turn().transition is None
    bench.turn(bench.done(task, "y"))
    assert bench.stored.status is Status.COMPLETED


def test_an_older_attempt_that_still_runs_here_does_not_hide_the_loss_of_a_newer_one() -> None:
    bench, task = started()
    bench.reload()
    bench.turn()
    bench.turn(DUE, after_ms=1000)  # attempt 2, somewhere else, and gone with it
    bench.reload(lambda key, attempt: (key, attempt) == (task.key, 1))
    bench.turn()
    assert decode_attempts(bench.steps)[1].number == 3


def test_a_report_that_has_arrived_goes_before_what_a_load_takes_for_lost() -> None:
    bench, task = started(once, saga=only_once)
    report = bench.done(task, "y")
    resident = bench.reload()
    resident.inputs.insert(0, report)  # as the host does with what waited for the load
    bench.turn()
    assert bench.stored.status is Status.COMPLETED


@saga
async def only_once() -> Any:
    return await once("x")


def test_a_step_of_one_attempt_is_never_made_twice() -> None:
    bench, _ = started(once, saga=only_once)
    bench.reload()
    bench.turn()
    failed = next(event for event in bench.history() if isinstance(event, StepFailed))
    assert Failure.from_row(failed.failure).outcome is Outcome.UNKNOWN
    assert bench.stored.status is Status.FAILED


def test_the_wait_for_the_next_attempt_survives_a_reload() -> None:
    bench, task = started()
    bench.turn(bench.failed(task, ValueError("no")))
    due = bench.timer_ms
    bench.reload()
    assert bench.turn().transition is None
    assert bench.resident.attempts[1].next_ms == due


# --- giving steps up


@saga
async def impatient(seconds: float) -> str:
    try:
        async with asyncio.timeout(seconds):
            await step("x")
    except TimeoutError:
        await book("instead")
    return "done"


def test_a_step_given_up_in_flight_is_asked_to_stop_and_ends_with_its_own_outcome() -> None:
    bench = Bench(impatient)
    (task,) = bench.turn(bench.start(impatient, 5)).effects.dispatch
    turn = bench.turn(DUE, after_ms=5000)
    assert turn.effects.cancel == [task.key]
    bench.turn(bench.withdrawn(task))
    failed = next(event for event in bench.history() if isinstance(event, StepFailed))
    assert Failure.from_row(failed.failure).outcome is Outcome.NONE


def test_a_step_given_up_between_attempts_ends_without_another() -> None:
    bench = Bench(impatient)
    (task,) = bench.turn(bench.start(impatient, 5)).effects.dispatch
    bench.turn(bench.failed(task, ValueError("no")))
    (task,) = bench.turn(DUE, after_ms=1000).effects.dispatch
    bench.turn(bench.failed(task, ValueError("no")))
    bench.now_ms = START_MS + 5001
    bench.turn(DUE)
    while bench.resident.inputs:
        bench.turn()
    failed = next(event for event in bench.history() if isinstance(event, StepFailed))
    assert Failure.from_row(failed.failure).outcome is Outcome.UNKNOWN


def test_a_step_given_up_in_the_turn_that_made_it_is_never_dispatched() -> None:
    @saga
    async def hasty() -> None:
        task = asyncio.ensure_future(step("x"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(10)

    bench = Bench(hasty)
    turn = bench.turn(bench.start(hasty))
    assert (turn.effects.dispatch, turn.effects.cancel) == ([], [])
    bench.turn()
    failed = next(event for event in bench.history() if isinstance(event, StepFailed))
    assert Failure.from_row(failed.failure).outcome is Outcome.NONE


def test_a_run_that_ends_stops_what_it_left_behind() -> None:
    @saga
    async def careless() -> str:
        task = asyncio.ensure_future(step("left behind"))
        await book("x")
        return "done" if not task.done() else "odd"

    bench = Bench(careless)
    tasks = {task.activity: task for task in bench.turn(bench.start(careless)).effects.dispatch}
    turn = bench.turn(bench.done(tasks["book"], "x"))
    assert turn.effects.cancel == [tasks["step"].key]
    assert (bench.busy, bench.timer_ms, bench.steps) == (False, None, None)
    assert bench.turn(bench.withdrawn(tasks["step"])).transition is None


# --- mail


def test_a_run_ends_once_and_with_its_last_event() -> None:
    bench = Bench(Box)
    bench.turn(bench.start(Box))
    bench.turn(bench.terminate("first"), bench.signal(Box.put, "a"), bench.terminate("second"), bench.cancel())
    assert bench.kinds()[-3:] == ["SignalReceived", "CancelRequested", "RunTerminated"]
    assert bench.kinds().count("RunTerminated") == 1
    last = bench.history()[-1]
    assert isinstance(last, RunTerminated)
    assert last.reason == "first"
    assert bench.stored.status is Status.TERMINATED


def test_mail_for_a_run_that_ended_durably_is_dropped() -> None:
    bench = Bench(Box)
    bench.turn(bench.start(Box), bench.signal(Box.put, "end"))
    late = bench.signal(Box.put, "late")
    turn = bench.turn(late)
    assert (turn.transition, turn.discard) == (None, (late.entry,))


def test_a_query_is_answered_after_the_mail_before_it_and_needs_no_transition() -> None:
    bench = Bench(Box)
    bench.turn(bench.start(Box))
    bench.turn(bench.signal(Box.put, "a"))
    question = bench.query(Box.look)
    turn = bench.turn(question)
    assert (turn.transition, turn.discard) == (None, (question.entry,))
    ((channel, reply),) = turn.effects.replies
    assert channel == "rp:me"
    assert reply.value == msgpack.packb(["a"])


def test_a_query_that_wakes_a_task_costs_the_object_alone() -> None:
    @saga
    class Waiting(Box):
        async def run(self) -> list[str]:
            await self.woken.wait()
            return self.items

    bench = Bench(Waiting)
    bench.turn(bench.start(Waiting))
    assert not bench.turn(bench.query(Box.look)).drop
    turn = bench.turn(bench.query(Box.wake))
    assert turn.drop
    assert turn.transition is None


# --- parked, paused, drained, without code


def test_a_parked_run_keeps_its_mail_and_leaves_the_timer_set() -> None:
    @saga
    @dataclass
    class Napping(Box):
        async def run(self) -> list[str]:
            await wait_until(lambda: "end" in self.items, timeout=100)
            return self.items

    bench = Bench(Napping)
    bench.turn(bench.start(Napping))
    due = bench.timer_ms
    assert due is not None
    turn = bench.turn(bench.signal(Box.put, "bug"))
    assert turn.drop
    assert bench.kinds()[-2:] == ["SignalReceived", "Parked"]
    # Busy: a later owner looks whether its own code is another.
    assert (bench.timer_ms, bench.stored.parked_timer_ms, bench.busy) == (None, due, True)
    assert bench.stored.parked.startswith("KeyError")
    assert "attention" in bench.index
    assert turn.transition is not None
    assert turn.transition.notice
    bench.reload()
    bench.turn(bench.signal(Box.put, "kept"))
    assert bench.kinds()[-1] == "SignalReceived"
    assert bench.timer_ms is None


def test_a_due_timer_of_a_parked_run_is_a_stale_entry_and_is_taken_out() -> None:
    bench = Bench(Box)
    bench.turn(bench.start(Box))
    bench.turn(bench.signal(Box.put, "bug"))
    bench.reload()
    turn = bench.turn(DUE, after_ms=1_000_000)
    assert turn.transition is not None
    assert (turn.transition.chunk, turn.transition.timer_ms) == (None, None)


def test_a_stale_timer_entry_is_replaced_by_the_true_one() -> None:
    bench = Bench(impatient)
    bench.turn(bench.start(impatient, 50))
    due = bench.timer_ms
    turn = bench.turn(DUE, after_ms=10)  # long before: the entry was wrong
    assert turn.transition is not None
    assert (turn.transition.chunk, turn.transition.timer_ms) == (None, due)


def test_a_resume_applies_what_came_meanwhile() -> None:
    fixed = [False]

    @saga
    @dataclass
    class Fixable(Box):
        @signal
        def put(self, item: str) -> None:
            if not fixed[0]:
                raise KeyError(item)
            self.items.append(item)

    bench = Bench(Fixable)
    bench.turn(bench.start(Fixable))
    bench.turn(bench.signal(Fixable.put, "a"))
    bench.reload()
    bench.turn(bench.signal(Fixable.put, "end"))
    bench.reload()
    bench.turn(bench.resume())
    assert bench.kinds()[-2:] == ["Resumed", "Parked"]
    fixed[0] = True
    bench.reload()
    bench.turn(bench.resume())
    assert bench.stored.status is Status.COMPLETED
    assert "attention" not in bench.index
    assert not bench.stored.parked


def test_a_paused_run_records_and_resumes_with_all_of_it() -> None:
    bench, task = started(saga=twice)
    assert bench.turn(bench.pause()).drop
    bench.reload(lambda _key, _attempt: True)
    assert bench.turn(bench.done(task, 1)).effects.dispatch == []
    assert bench.stored.paused
    bench.reload()
    (second,) = bench.turn(bench.resume()).effects.dispatch
    assert second.step == 2
    assert not bench.stored.paused


def test_pause_and_resume_in_one_batch_go_on() -> None:
    bench, task = started(saga=twice)
    turn = bench.turn(bench.pause(), bench.done(task, 1), bench.resume())
    assert [each.step for each in turn.effects.dispatch] == [2]


def test_a_draining_host_records_and_the_next_one_runs() -> None:
    bench, task = started(saga=twice)
    turn = bench.turn(bench.done(task, 1), run=False)
    assert (turn.effects.dispatch, turn.drop, bench.busy) == ([], True, True)
    assert bench.kinds()[-1] == "StepCompleted"
    bench.reload()
    (second,) = bench.turn().effects.dispatch
    assert second.step == 2


def test_a_start_on_a_draining_host_is_recorded_for_the_next_one() -> None:
    bench = Bench(flow)
    bench.turn(bench.start(flow), run=False)
    assert bench.kinds() == ["RunStarted"]
    assert bench.busy
    bench.reload()
    assert len(bench.turn().effects.dispatch) == 1


def test_a_type_that_is_not_known_waits_for_code_and_starts_when_it_is_there() -> None:
    bench = Bench()
    bench.turn(bench.start(flow))
    bench.turn(bench.signal("put", "x"))
    assert bench.kinds() == ["RunStarted", "SignalReceived"]
    assert bench.busy
    assert not bench.stored.parked
    assert bench.stored.waiting[0][0] == "code"
    bench.registry.add(flow)
    bench.reload()
    assert len(bench.turn().effects.dispatch) == 1
    assert bench.stored.waiting[0][0] == "step"


def test_a_history_that_the_code_parts_from_parks_and_can_be_terminated() -> None:
    body = [step]

    @saga
    async def changing() -> None:
        await body[0]("x")

    bench = Bench(changing)
    bench.turn(bench.start(changing))
    body[0] = once
    bench.reload()
    bench.turn()
    assert bench.kinds()[-1] == "Parked"
    assert bench.stored.parked.startswith("NondeterminismError")
    bench.reload()
    bench.turn(bench.terminate())
    assert bench.stored.status is Status.TERMINATED


def test_a_parked_run_of_parted_history_goes_on_with_the_old_code() -> None:
    body = [step]

    @saga
    async def changing() -> None:
        await body[0]("x")

    bench = Bench(changing)
    (task,) = bench.turn(bench.start(changing)).effects.dispatch
    body[0] = once
    bench.reload(lambda _key, _attempt: True)
    bench.turn()
    body[0] = step
    bench.reload(lambda _key, _attempt: True)
    bench.turn(bench.resume())
    bench.turn(bench.done(task, 1))
    assert bench.stored.status is Status.COMPLETED


@pytest.mark.parametrize("damage", ["history", "head"])
def test_what_cannot_be_read_is_refused_and_its_mail_stays(damage: str) -> None:
    bench = Bench(Box)
    bench.turn(bench.start(Box))
    if damage == "history":
        bench.runs["run-1"].append(msgpack.packb((99, 1, [])))
    else:
        bench.head = b"\xc1"
    resident = Resident("id-1", bench.registry)
    resident.load(Loaded(head=bench.head, chunks=tuple(bench.runs["run-1"])))
    question, note = bench.query(Box.look), bench.signal(Box.put, "x")
    resident.inputs += [note, question, DUE]
    turn = resident.turn(bench.now_ms)
    assert (turn.transition, turn.discard) == (None, (question.entry,))
    assert turn.effects.replies[0][1].error is not None


def test_a_cancel_lifts_a_parked_run_and_undoes_it() -> None:
    @saga
    async def flow_with_bug() -> None:
        async with compensating():
            await book("x")
            raise KeyError("bug")

    bench = Bench(flow_with_bug)
    (task,) = bench.turn(bench.start(flow_with_bug)).effects.dispatch
    bench.turn(bench.done(task, "b"))
    assert bench.stored.parked
    bench.reload()
    (undo,) = bench.turn(bench.cancel()).effects.dispatch
    assert (undo.activity, undo.undo_of_key) == ("cancel_booking", "run-1/2")
    bench.turn(bench.done(undo))
    assert (bench.stored.status, bench.stored.compensation) == (Status.CANCELLED, "done")


def test_the_trail_of_a_turn_names_what_its_events_end() -> None:
    bench, task = started()
    turn: Turn = bench.turn(bench.done(task, 1))
    assert isinstance(turn.trail.ended[1], StepScheduled)
    assert (turn.position, kinds(turn.events)) == (3, ["StepCompleted", "Activated", "RunCompleted"])


def test_a_chunk_of_a_newer_library_is_no_reason_to_forget_the_head() -> None:
    bench = Bench(Box)
    bench.turn(bench.start(Box))
    bench.runs["run-1"].append(encode_chunk([Resumed("x", "y")], 1)[:-1] + b"\xc1")
    resident = bench.reload()
    assert resident.head is not None
    assert resident.unreadable


# --- heartbeats and the wait for a worker


def beat(task: StepTask, details: bytes) -> Heartbeat:
    return Heartbeat(*task.key, task.attempt, details)


def test_details_are_written_with_the_retry_state_and_reach_the_attempt_after_a_reload() -> None:
    bench, task = started()
    turn = bench.turn(beat(task, b"\x07"))
    assert turn.transition is not None
    assert turn.transition.chunk is None  # the history knows nothing of heartbeats
    bench.reload()
    bench.turn()
    (again,) = bench.turn(DUE, after_ms=200).effects.dispatch
    assert (again.attempt, again.heartbeat) == (2, b"\x07")


def test_a_beat_that_is_late_or_says_nothing_new_writes_nothing() -> None:
    bench, task = started()
    bench.turn(beat(task, b"\x07"))
    assert bench.turn(beat(task, b"\x07")).transition is None
    bench.turn(bench.failed(task, ValueError("no")))
    assert bench.turn(beat(task, b"\x08")).transition is None
    (again,) = bench.turn(DUE, after_ms=1100).effects.dispatch
    assert bench.turn(beat(task, b"\x09")).transition is None
    assert bench.turn(beat(again, b"\x0a")).transition is not None
    bench.turn(bench.done(again))
    assert bench.steps is None


def test_a_failure_brings_the_last_details_along() -> None:
    bench, task = started()
    bench.turn(beat(task, b"\x07"))
    bench.turn(replace(bench.failed(task, ValueError("no")), heartbeat=b"\x08"))
    (again,) = bench.turn(DUE, after_ms=1100).effects.dispatch
    assert again.heartbeat == b"\x08"


def test_each_attempt_waits_for_a_worker_by_itself_and_all_of_them_by_the_total() -> None:
    @activity(retry=Retry(initial=1, jitter=0), queue_timeout=5, total_timeout=60, timeout=20)
    async def slow() -> None: ...

    @saga
    async def waits() -> None:
        await slow()

    bench, task = started(slow, saga=waits)
    scheduled_ms = bench.now_ms
    assert (task.queue_until_ms, task.begins_until_ms) == (scheduled_ms + 5000, scheduled_ms + 5000)
    bench.turn(bench.failed(task, ValueError("no")))
    (again,) = bench.turn(DUE, after_ms=30_000).effects.dispatch
    assert again.queue_until_ms == bench.now_ms + 5000
    assert again.limit(bench.now_ms) == (20_000, "attempt")
    assert again.limit(scheduled_ms + 55_000) == (5000, "total")  # it waited for a worker all the while
    bench.reload(running=lambda _key, _attempt: True)
    assert bench.resident.in_flight() == [again]


def test_a_queue_timeout_ends_the_step_and_nothing_happened() -> None:
    bench, task = started()
    bench.turn(queue_timed_out(replace(task, queue_until_ms=1)))
    assert bench.kinds()[-1] == "RunFailed"
    (failed,) = [event for event in bench.history() if isinstance(event, StepFailed)]
    assert Failure.from_row(failed.failure) == Failure.timed_out("queue", Outcome.NONE)


def test_a_resident_keeps_to_attributes_that_python_shares() -> None:
    """From 30 on each one would carry a dict of its own: 1.3 KB for every instance in memory."""
    assert len(vars(Resident("a", Registry()))) < 30
