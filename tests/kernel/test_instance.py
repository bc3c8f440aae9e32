"""An instance: facts in, decisions out, and the same again from its history."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

import sagas
from sagas import activity, compensating, query, saga, signal, wait_until
from sagas.errors import NondeterminismError, QueryFailed, ReadOnlyError
from sagas.kernel.events import (
    Event,
    RunCancelled,
    RunCompleted,
    RunFailed,
    SignalDeadLettered,
    StepCancelRequested,
    StepScheduled,
    TimerFired,
)
from sagas.kernel.instance import Instance
from sagas.kernel.saga import saga_type_of
from tests.kernel.driver import Run, kinds

REAL_CALLS: list[str] = []


@activity
async def one(value: Any = None) -> Any:
    return value


@activity
async def two(value: Any = None) -> Any:
    return value


@activity
def real(value: str) -> None:
    REAL_CALLS.append(value)


@activity
async def pay(cents: int) -> str:
    return f"paid {cents}"


@pay.compensation
async def refund(receipt: str | None, cents: int) -> None: ...


# --- activate and replay


def test_an_activation_decides_and_a_replay_decides_the_same() -> None:
    @saga
    async def flow(start: int) -> list[Any]:
        first, second = await asyncio.gather(one(start), two(start + 1))
        await asyncio.sleep(10)
        return [first, second, str(sagas.uuid4()), sagas.random(), sagas.now().isoformat()]

    run = Run(flow, 5)
    assert kinds(run.start()) == ["StepScheduled", "StepScheduled"]
    assert kinds(run.give(run.done("two", "b"))) == []
    assert kinds(run.give(run.done("one", "a"))) == ["TimerSet"]
    assert kinds(run.give(run.fired(), after_ms=10_000)) == ["RunCompleted"]
    assert run.result[:2] == ["a", "b"]
    again = run.replayed().state.closing
    assert again == run.end


def test_two_runs_draw_other_numbers_and_one_run_always_the_same() -> None:
    @saga
    async def flow() -> str:
        return str(sagas.uuid4())

    drawn = []
    for run_id in ("run-1", "run-1", "run-2"):
        run = Run(flow, run_id=run_id)
        run.start()
        drawn.append(run.result)
    assert drawn[0] == drawn[1] != drawn[2]


def test_all_facts_are_applied_before_any_code_runs() -> None:
    @saga
    @dataclass
    class Flow:
        seen: list[int] = field(default_factory=list)

        async def run(self) -> list[int]:
            await one()
            return self.seen

        @signal
        def see(self, number: int) -> None:
            self.seen.append(number)

    run = Run(Flow)
    run.start()
    done = run.done("one")
    run.give(run.signal(Flow.see, 1), done, run.signal(Flow.see, 2))
    assert run.result == [1, 2]


def test_signals_sent_with_the_start_come_after_init_and_before_run() -> None:
    @saga
    @dataclass
    class Flow:
        name: str

        async def run(self) -> str:
            return self.name

        @signal
        def rename(self, name: str) -> None:
            self.name += name

    run = Run(Flow, "a")
    run.start(run.signal(Flow.rename, "b"), run.signal(Flow.rename, "c"))
    assert run.result == "abc"


def test_a_signal_with_a_start_that_fails_is_a_dead_letter_and_no_bug() -> None:
    @saga
    @dataclass
    class Flow:
        seen: int = 0

        def __post_init__(self) -> None:
            raise ValueError("no")

        async def run(self) -> None: ...

        @signal
        def see(self, number: int) -> None:
            self.seen = number

    run = Run(Flow)
    assert kinds(run.start(run.signal(Flow.see, 1))) == ["SignalDeadLettered", "RunFailed"]


def test_history_length_is_the_same_in_a_replay() -> None:
    @saga
    async def flow() -> list[int]:
        seen = [sagas.info().history_length]
        await one()
        seen.append(sagas.info().history_length)
        await (one() if seen[-1] > 2 else two())
        return seen

    run = Run(flow)
    run.start()
    run.give(run.done("one"))
    run.give(run.done("one"))
    # Of [RunStarted, Activated, StepScheduled, StepCompleted, Activated, ...]: what came before each Activated.
    assert run.result == [1, 4]


def test_history_length_counts_facts_that_were_recorded_while_nothing_ran() -> None:
    @saga
    @dataclass
    class Flow:
        seen: list[int] = field(default_factory=list)

        async def run(self) -> int:
            await wait_until(lambda: len(self.seen) == 2)
            return sagas.info().history_length

        @signal
        def see(self) -> None:
            self.seen.append(1)

    run = Run(Flow)
    run.start()
    run.record(run.signal(Flow.see))
    assert run.instance.has_unapplied
    run.give(run.signal(Flow.see))
    assert run.result == 4


# --- how a run ends


def test_cancel_wins_over_a_completion_of_the_same_activation() -> None:
    @saga
    async def flow() -> str:
        await one()
        return "not reached"

    for order in (list, reversed):
        run = Run(flow)
        run.start()
        run.give(*order([run.done("one"), run.cancel("late")]))
        assert run.end == RunCancelled("late", at_ms=run.now_ms)


def test_start_and_cancel_together_leave_no_step() -> None:
    @saga
    async def flow() -> None:
        await one()

    run = Run(flow)
    assert run.start(run.cancel("never mind")) == [RunCancelled("never mind", at_ms=run.now_ms)]


def test_a_cancelled_start_of_a_class_runs_none_of_its_run() -> None:
    entered = []

    @saga
    @dataclass
    class Flow:
        async def run(self) -> None:
            entered.append(1)

    run = Run(Flow)
    run.start(run.cancel())
    assert isinstance(run.end, RunCancelled)
    assert entered == []


def test_the_reason_of_the_first_cancel_counts() -> None:
    @saga
    async def flow() -> None:
        try:
            await one()
        except asyncio.CancelledError:
            await two()
            raise

    run = Run(flow)
    run.start()
    run.give(run.cancel(""))
    run.give(run.cancel("second"))
    assert run.end == RunCancelled("", at_ms=run.now_ms)


def test_a_cancel_that_the_code_swallows_lets_it_complete() -> None:
    @saga
    async def flow() -> str:
        try:
            await one()
        except asyncio.CancelledError:
            return "cleaned up"
        return "done"

    run = Run(flow)
    run.start()
    assert kinds(run.give(run.cancel())) == ["StepCancelRequested", "RunCompleted"]


def test_a_cancelled_step_is_asked_to_stop_once() -> None:
    @saga
    async def flow() -> None:
        try:
            await one()
        finally:
            await two()

    run = Run(flow)
    run.start()
    assert run.give(run.cancel())[0] == StepCancelRequested(1, at_ms=run.now_ms)
    assert kinds(run.give(run.done("two"))) == ["RunCancelled"]


def test_the_first_end_counts_and_nothing_follows_it() -> None:
    @saga
    @dataclass
    class Flow:
        async def run(self) -> str:
            task = asyncio.create_task(self.late())
            await one()
            del task
            return "first"

        async def late(self) -> None:
            await two()
            await one("after the end")

        @signal
        def see(self) -> None:
            raise ValueError("nobody is there any more")

    run = Run(Flow)
    run.start()
    first, second = run.done("one"), run.done("two")
    assert kinds(run.give(first, second, run.cancel())) in (["RunCancelled"], ["StepCancelRequested", "RunCancelled"])
    run = Run(Flow)
    run.start()
    assert run.give(first)[-1] == RunCompleted(b"\xa5first", at_ms=run.now_ms)
    assert run.give(second, run.signal(Flow.see), run.cancel()) == []
    assert isinstance(run.end, RunCompleted)


def test_an_error_of_the_code_fails_the_run() -> None:
    @saga
    async def flow() -> None:
        raise ValueError("\udcff no text for a file")

    run = Run(flow)
    assert kinds(run.start()) == ["RunFailed"]


@pytest.mark.parametrize(
    "error", [NameError, AttributeError, TypeError, KeyError, IndexError, AssertionError, ImportError]
)
def test_an_error_that_only_a_bug_makes_parks(error: type[Exception]) -> None:
    @saga
    async def flow() -> None:
        await one()
        raise error("oops")

    run = Run(flow)
    run.start()
    assert run.give(run.done("one")) == []
    assert run.park.startswith(error.__name__)


def test_a_bug_in_a_task_group_parks_too() -> None:
    @saga
    async def flow() -> None:
        async def bug() -> None:
            raise KeyError("x")

        async with asyncio.TaskGroup() as group:
            group.create_task(bug())

    run = Run(flow)
    run.start()
    assert "Group" in run.park


def test_an_ordinary_error_in_a_task_group_fails() -> None:
    @saga
    async def flow() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(one())

    run = Run(flow)
    run.start()
    run.give(run.failed("one", ValueError("no")))
    assert isinstance(run.end, RunFailed)
    assert run.end.failure[1] == "ExceptionGroup"


def test_park_on_replaces_the_list() -> None:
    @saga(park_on=(ValueError,))
    async def flow(error: str) -> None:
        raise {"v": ValueError("x"), "k": KeyError("x")}[error]

    parked, failed = Run(flow, "v"), Run(flow, "k")
    parked.start()
    failed.start()
    assert parked.park == "ValueError: x"
    assert isinstance(failed.end, RunFailed)


class NoSuchRoom(sagas.Rejected, LookupError): ...


class NoSuchCard(sagas.Permanent, KeyError, TypeError): ...


@pytest.mark.parametrize("error", [NoSuchRoom("the attic"), NoSuchCard("visa")])
@pytest.mark.parametrize("grouped", [False, True])
def test_what_is_said_on_purpose_is_no_bug_whatever_else_it_derives_from(error: sagas.StepError, grouped: bool) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await pay(5)
            if grouped:
                async with asyncio.TaskGroup() as group:
                    group.create_task(one())
            else:
                await one()

    run = Run(flow)
    run.start()
    run.give(run.done("pay", "receipt"))
    assert kinds(run.give(run.failed("one", error))) == ["CompensationStarted", "CompensationScheduled"]
    run.give(run.done("refund"))
    assert run.park == ""
    assert isinstance(run.end, RunFailed)
    assert run.end.failure[1] == ("ExceptionGroup" if grouped else type(error).__name__)


@pytest.mark.parametrize(
    ("park_on", "parks"),
    [(LookupError, False), (Exception, True), (sagas.SagaError, True), (sagas.Rejected, True), (NoSuchRoom, True)],
)
def test_park_on_parks_a_refusal_where_it_names_it_as_one(park_on: type[Exception], parks: bool) -> None:
    @saga(park_on=(park_on,))
    async def flow() -> None:
        raise NoSuchRoom("the attic")

    run = Run(flow)
    run.start()
    assert bool(run.park) is parks
    assert isinstance(run.end, RunFailed) is not parks


@pytest.mark.parametrize("where", ["main", "child", "handler", "predicate"])
def test_system_exit_never_leaves_the_instance(where: str) -> None:
    @saga
    @dataclass
    class Flow:
        where: str

        async def run(self) -> None:
            if self.where == "main":
                raise SystemExit(3)
            if self.where == "child":
                await asyncio.create_task(self.child())
            if self.where == "predicate":
                await wait_until(self.predicate)
            await asyncio.sleep(1)

        async def child(self) -> None:
            raise SystemExit(3)

        def predicate(self) -> bool:
            raise SystemExit(3)

        @signal
        def exit(self) -> None:
            raise SystemExit(3)

    run = Run(Flow, where)
    run.start(*([run.signal(Flow.exit)] if where == "handler" else []))
    assert run.park.startswith("SystemExit") or isinstance(run.end, RunFailed)


def test_handlers_still_running_are_finished_before_the_run_completes() -> None:
    @saga
    @dataclass
    class Flow:
        async def run(self) -> str:
            await one()
            return "result"

        @signal
        async def work(self) -> None:
            await two()

    run = Run(Flow)
    run.start()
    run.give(run.signal(Flow.work))
    assert run.give(run.done("one")) == []
    run.give(run.done("two"))
    assert run.result == "result"


# --- conditions


def test_a_predicate_that_raises_raises_in_its_waiter() -> None:
    @saga
    @dataclass
    class Flow:
        broken: bool = False

        async def run(self) -> str:
            try:
                await wait_until(self.look)
            except ZeroDivisionError:
                return "heard"
            return "unheard"

        def look(self) -> bool:
            return bool(1 // (0 if self.broken else -1) and False)

        @signal
        def break_it(self) -> None:
            self.broken = True

    run = Run(Flow)
    run.start()
    run.give(run.signal(Flow.break_it))
    assert run.result == "heard"


@pytest.mark.parametrize("error", [StopIteration, asyncio.CancelledError, GeneratorExit, KeyError])
def test_no_error_of_a_predicate_leaves_the_instance(error: type[BaseException]) -> None:
    @saga
    @dataclass
    class Flow:
        broken: bool = False

        async def run(self) -> str:
            try:
                await wait_until(self.look)
            except BaseException as raised:
                return type(raised).__name__
            return ""

        def look(self) -> bool:
            if self.broken:
                raise error
            return False

        @signal
        def break_it(self) -> None:
            self.broken = True

    run = Run(Flow)
    run.start()
    run.give(run.signal(Flow.break_it))
    assert run.park or run.result in {error.__name__, "RuntimeError"}


def test_a_predicate_may_only_read() -> None:
    @saga
    async def flow() -> str:
        try:
            await wait_until(lambda: asyncio.ensure_future(one()) is None)
        except ReadOnlyError as error:
            return str(error)
        return ""

    run = Run(flow)
    run.start()
    assert "may only read" in run.result


def test_one_condition_may_wake_another_in_the_same_activation() -> None:
    @saga
    @dataclass
    class Flow:
        level: int = 0

        async def run(self) -> int:
            await asyncio.gather(self.rise(0), self.rise(1), self.rise(2))
            return self.level

        async def rise(self, at: int) -> None:
            await wait_until(lambda: self.level == at + 1)
            self.level += 1

        @signal
        def begin(self) -> None:
            self.level = 1

    run = Run(Flow)
    run.start()
    run.give(run.signal(Flow.begin))
    assert run.result == 4


def test_a_condition_that_comes_true_with_its_timeout_wins() -> None:
    @saga
    @dataclass
    class Flow:
        ready: bool = False

        async def run(self) -> str:
            try:
                await wait_until(lambda: self.ready, timeout=10)
            except TimeoutError:
                return "timeout"
            return "ready"

        @signal
        def go(self) -> None:
            self.ready = True

    for order in (list, reversed):
        run = Run(Flow)
        run.start()
        run.give(*order([run.fired(), run.signal(Flow.go)]), after_ms=10_000)
        assert run.result == "ready"
    run = Run(Flow)
    run.start()
    run.give(run.fired(), after_ms=10_000)
    assert run.result == "timeout"


# --- queries


@saga
@dataclass
class Asked:
    level: int = 0
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        await self.woken.wait()
        await one()

    @query
    def look(self, plus: int = 0) -> int:
        return self.level + plus

    @query
    def start_a_task(self) -> None:
        asyncio.ensure_future(one())  # noqa: RUF006

    @query
    def set_a_timer(self) -> None:
        asyncio.get_running_loop().call_later(1, print)

    @query
    def enter_a_scope(self) -> None:
        compensating().__aenter__().send(None)  # type: ignore[attr-defined]

    @query
    def make_a_future(self) -> None:
        asyncio.get_running_loop().create_future()

    @query
    def draw(self) -> float:
        return sagas.random()

    @query
    def draw_an_id(self) -> str:
        return str(sagas.uuid4())

    @query
    def wake(self) -> None:
        self.woken.set()

    @query
    def divide(self) -> int:
        return 1 // 0

    @signal
    def rise(self) -> None:
        self.level += 1

    @signal
    def go_on(self) -> None:
        self.woken.set()


def test_a_query_answers_from_the_present_state() -> None:
    run = Run(Asked)
    run.start()
    run.give(run.signal(Asked.rise))
    assert run.ask(Asked.look) == 1
    assert run.ask(Asked.look, 41) == 42


@pytest.mark.parametrize("refused", [Asked.start_a_task, Asked.set_a_timer, Asked.draw, Asked.draw_an_id])
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_a_query_that_does_more_than_read_is_refused(refused: Callable[..., Any]) -> None:
    run = Run(Asked)
    run.start()
    before = (run.instance.state, run.instance.random.getstate(), run.instance.loop.ready)
    with pytest.raises(QueryFailed, match="may only read"):
        run.ask(refused)
    assert (run.instance.state, run.instance.random.getstate(), run.instance.loop.ready) == before
    assert not run.instance.spoiled
    assert run.give(TimerFired(99)) == []


def test_a_query_that_wakes_a_task_spoils_the_object_and_not_the_run() -> None:
    run = Run(Asked)
    run.start()
    run.ask(Asked.look)
    assert not run.instance.spoiled
    run.ask(Asked.wake)
    assert run.instance.spoiled


@pytest.mark.parametrize("refused", [Asked.set_a_timer, Asked.enter_a_scope])
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_a_query_that_is_refused_takes_no_number_of_the_run(refused: Callable[..., Any]) -> None:
    run = Run(Asked)
    run.start()
    with pytest.raises(QueryFailed, match="may only read"):
        run.ask(refused)
    (step,) = run.give(run.signal(Asked.go_on))
    assert isinstance(step, StepScheduled)
    assert step.step == 1


def test_a_query_that_makes_a_future_spoils_the_object_and_not_the_run() -> None:
    run = Run(Asked)
    run.start()
    run.ask(Asked.make_a_future)
    assert run.instance.spoiled


def test_an_unknown_query_names_the_known_ones() -> None:
    run = Run(Asked)
    run.start()
    with pytest.raises(QueryFailed, match="look") as failed:
        run.instance.ask("unknown", b"\x90")
    assert failed.value.cause_type == "UnknownQuery"


def test_a_query_that_raises_says_so_and_changes_nothing() -> None:
    run = Run(Asked)
    run.start()
    with pytest.raises(QueryFailed) as failed:
        run.ask(Asked.divide)
    assert failed.value.cause_type == "ZeroDivisionError"
    assert kinds(run.give(run.signal(Asked.rise))) == []


def test_a_query_can_be_asked_of_a_run_that_ended() -> None:
    @saga
    @dataclass
    class Flow:
        level: int = 0

        async def run(self) -> None:
            self.level = 7

        @query
        def look(self) -> int:
            return self.level

    run = Run(Flow)
    run.start()
    run.instance = run.replayed()
    assert run.ask(Flow.look) == 7


# --- dead letters


def test_an_override_takes_its_bases_messages_marked_again_or_not() -> None:
    @saga
    @dataclass
    class Base:
        level: int = 0

        async def run(self) -> int:
            await wait_until(lambda: self.level)
            return self.level

        @signal
        def rise(self) -> None:
            self.level = 1

    @saga
    class Bare(Base):
        def rise(self) -> None:
            self.level = 2

    @saga
    class Marked(Base):
        @signal
        def rise(self) -> None:
            self.level = 3

    for kind, level in ((Base, 1), (Bare, 2), (Marked, 3)):
        run = Run(kind)
        run.start(run.signal("rise"))
        assert run.result == level


def test_signals_that_no_handler_can_take_are_dead_letters() -> None:
    @saga
    @dataclass
    class Flow:
        async def run(self) -> None:
            await one()

        @signal
        def take(self, number: int) -> None:
            raise ValueError("not this one")

        @signal
        async def later(self) -> None:
            await two()
            raise ValueError("nor that one")

    run = Run(Flow)
    run.start()
    letters = run.give(
        sagas.kernel.events.SignalReceived("m1", "unknown", b"\x90"),
        sagas.kernel.events.SignalReceived("m2", "take", b"\x91\xa1x"),
        sagas.kernel.events.SignalReceived("m3", "take", b"\xc1"),
        run.signal(Flow.take, 1, message_id="m4"),
        run.signal(Flow.later, message_id="m5"),
    )
    dead = [letter for letter in letters if isinstance(letter, SignalDeadLettered)]
    assert [letter.message_id for letter in dead] == ["m1", "m2", "m3", "m4"]
    (late,) = run.give(run.done("two"))
    assert late == SignalDeadLettered("m5", "later", "ValueError: nor that one", ran=True, at_ms=run.now_ms)
    assert [letter.message_id for letter in run.instance.state.dead_letters] == ["m1", "m2", "m3", "m4", "m5"]


# --- eviction


def test_an_evicted_instance_has_no_effects() -> None:
    REAL_CALLS.clear()

    async def child(name: str) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            real(f"{name}, not awaited")
            await one(f"{name}, awaited")

    @saga
    async def dropped() -> None:
        tasks = [asyncio.create_task(child(name)) for name in ("first", "second")]
        try:
            await child("main")
        finally:
            await asyncio.gather(*tasks)
            await two("never")

    @saga
    async def other() -> None:
        gc.collect()  # what the collector finds must not run inside this instance
        await two("other")

    gc.collect()
    gc.disable()
    try:
        run = Run(dropped)
        run.start()
        before = list(run.history)
        run.instance.evict()
        assert run.history == before
        del run
        neighbour = Run(other)
        decisions = neighbour.start()
    finally:
        gc.enable()
    gc.collect()
    assert [event.activity for event in decisions if isinstance(event, StepScheduled)] == ["two"]
    assert REAL_CALLS == []


def test_an_orphan_that_nothing_can_wake_is_not_collected_into_another_run() -> None:
    REAL_CALLS.clear()

    @saga
    async def flow() -> None:
        async def orphan() -> None:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                real("orphan")
                await one("orphan")

        asyncio.create_task(orphan())  # noqa: RUF006
        await asyncio.sleep(0)
        gc.collect()
        await two()

    run = Run(flow)
    assert kinds(run.start()) == ["StepScheduled"]
    run.instance.evict()
    assert REAL_CALLS == []


def test_a_replay_that_fails_leaves_nothing_to_collect() -> None:
    REAL_CALLS.clear()
    changed = [False]

    @saga
    async def flow() -> None:
        try:
            await (two() if changed[0] else one())
        finally:
            real("finally")

    run = Run(flow)
    run.start()
    changed[0] = True
    with pytest.raises(NondeterminismError):
        Instance.replay(run.type, run.history)
    gc.collect()
    assert REAL_CALLS == []


def test_eviction_in_an_open_scope_undoes_nothing() -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await pay(5)
            await one()

    run = Run(flow)
    run.start()
    run.give(run.done("pay", "receipt"))
    run.instance.evict()
    run.instance = run.replayed()
    run.give(run.failed("one", ValueError("no")))
    assert run.steps() == ["pay", "one", "refund"]


# --- nondeterminism, found where it is

Body = Callable[[], Any]


async def _recorded() -> None:
    await one(1)
    await two(2)
    await asyncio.sleep(5)


@saga
async def changing() -> None:
    await BODY[0]()


BODY: list[Body] = [_recorded]


@pytest.fixture
def history() -> list[Event]:
    """[0 RunStarted, 1 Activated, 2 one, 3 done, 4 Activated, 5 two, 6 done, 7 Activated, 8 timer]."""
    BODY[0] = _recorded
    run = Run(changing)
    run.start()
    run.give(run.done("one"))
    run.give(run.done("two"))
    return run.history


async def _other_activity() -> None:
    await one(1)
    await one(2)


async def _missing_step() -> None:
    await one(1)
    await asyncio.get_running_loop().create_future()


async def _swapped() -> None:
    await two(2)
    await one(1)


async def _timer_instead() -> None:
    await one(1)
    await asyncio.sleep(5)


async def _step_instead_of_timer() -> None:
    await one(1)
    await two(2)
    await one(3)


async def _extra_step() -> None:
    await asyncio.gather(one(1), two(0))


async def _extra_at_the_end() -> None:
    await one(1)
    await two(2)
    await asyncio.gather(asyncio.sleep(5), one(3))


async def _ends_early() -> None:
    await one(1)


async def _raises() -> None:
    await one(1)
    raise KeyError("a bug that was not there")


async def _swallows() -> None:
    await one(1)
    try:
        await one(2)
    except Exception:
        await asyncio.sleep(5)


@pytest.mark.parametrize(
    ("body", "position", "expected", "found"),
    [
        (_other_activity, 5, "StepScheduled(step=2, activity='two')", "StepScheduled(step=2, activity='one')"),
        (_missing_step, 5, "StepScheduled(step=2, activity='two')", "nothing"),
        (_swapped, 2, "StepScheduled(step=1, activity='one')", "StepScheduled(step=1, activity='two')"),
        (_timer_instead, 5, "StepScheduled(step=2, activity='two')", "TimerSet(timer=2)"),
        (_step_instead_of_timer, 8, "TimerSet(timer=3)", "StepScheduled(step=3, activity='one')"),
        (_extra_step, 3, "nothing more in this activation", "StepScheduled(step=2, activity='two')"),
        (_extra_at_the_end, 9, "nothing more in this activation", "StepScheduled(step=4, activity='one')"),
        (_ends_early, 5, "StepScheduled(step=2, activity='two')", "RunCompleted()"),
        (_raises, 5, "StepScheduled(step=2, activity='two')", "KeyError: 'a bug that was not there'"),
        (_swallows, 5, "StepScheduled(step=2, activity='two')", "StepScheduled(step=2, activity='one')"),
    ],
)
def test_code_that_changed_is_found_where_it_parts(
    history: list[Event], body: Body, position: int, expected: str, found: str
) -> None:
    BODY[0] = body
    with pytest.raises(NondeterminismError) as parted:
        Instance.replay(saga_type_of(changing), history)
    assert (parted.value.position, parted.value.expected, parted.value.found) == (position, expected, found)


def test_the_recorded_code_replays_and_a_changed_delay_is_no_other_program(history: list[Event]) -> None:
    async def longer() -> None:
        await one("other arguments are the recorded step all the same")
        await two(2)
        await asyncio.sleep(50)

    Instance.replay(saga_type_of(changing), history)
    BODY[0] = longer
    instance = Instance.replay(saga_type_of(changing), history)
    assert instance.state.next_timer_ms == Instance.replay(saga_type_of(changing), history).state.next_timer_ms


def test_what_cannot_be_encoded_is_met_again_in_the_replay() -> None:
    @saga
    async def flow() -> list[str]:
        heard = []
        for value in (object(), 1, lambda: None, 2):
            try:
                heard.append(str(await one(value)))
            except sagas.SagaError as error:
                heard.append(type(error).__name__)
        return heard

    run = Run(flow)
    run.start()
    run.give(run.done("one", "first"))
    run.give(run.done("one", "second"))
    assert run.result == ["PayloadError", "first", "PayloadError", "second"]


def test_an_instance_keeps_to_attributes_that_python_shares() -> None:
    """Beyond 30 each instance would carry a dict of its own: 1.3 KB for every one that sleeps in memory."""
    run = Run(Asked)
    run.start()
    assert len(vars(run.instance)) <= 30
    run.give(run.cancel())
    assert len(vars(run.instance)) <= 30
