"""A saga that signals or cancels another one: what is recorded, what comes back, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

import sagas
from sagas import activity, compensating, query, saga, signal, wait_until
from sagas.errors import (
    ArgumentMismatch,
    InvalidArgument,
    NondeterminismError,
    NotInSaga,
    PayloadError,
    QueryFailed,
    ReadOnlyError,
    SagaClosed,
    SagaNotFound,
)
from sagas.kernel.events import (
    CANCEL,
    CLOSED,
    NOT_FOUND,
    SIGNAL,
    CompensationStarted,
    Event,
    MessageDelivered,
    MessageSent,
    RunCancelled,
    RunCompleted,
    RunFailed,
)
from sagas.kernel.instance import Instance
from sagas.kernel.outgoing import OtherInstance, message_id_of
from sagas.payloads import decode
from tests.kernel.driver import Run, kinds


@activity
async def pay(cents: int) -> str:
    return f"paid {cents}"


@pay.compensation
async def refund(receipt: str | None, cents: int) -> None: ...


@saga
@dataclass
class Subscription:
    seen: list[Any] = field(default_factory=list)

    async def run(self) -> list[Any]:
        await wait_until(lambda: self.seen)
        return self.seen

    @signal
    def charge(self, cents: int, note: str = "") -> None:
        self.seen.append((cents, note))

    @query
    def look(self) -> list[Any]:
        return self.seen


@saga
async def signalling(target: str = "sub-1") -> str:
    await sagas.instance(target).signal(Subscription.charge, 500, "monthly")
    return "told"


def sent(event: Event) -> MessageSent:
    assert isinstance(event, MessageSent)
    return event


def test_a_signal_is_recorded_whole_and_returns_when_it_is_durable() -> None:
    run = Run(signalling)
    (message,) = run.start()
    assert message == MessageSent(1, "sub-1", SIGNAL, "charge", sent(message).args, at_ms=run.now_ms)
    assert decode(sent(message).args) == [500, "monthly"]
    assert run.instance.state.messages == {1: message}
    assert run.give() == []
    run.give(run.delivered("sub-1"))
    assert run.result == "told"


def test_what_is_sent_is_what_the_target_takes() -> None:
    run, target = Run(signalling), Run(Subscription)
    message = sent(run.start()[0])
    target.start()
    target.give(sagas.kernel.events.SignalReceived("m", message.name, message.args))
    assert target.ask(Subscription.look) == [(500, "monthly")]


def test_a_cancel_carries_its_reason() -> None:
    @saga
    async def flow() -> None:
        other = sagas.instance("sub-1")
        await other.cancel("no longer needed")
        await other.cancel()

    run = Run(flow)
    (first,) = run.start()
    assert first == MessageSent(1, "sub-1", CANCEL, "", b"\x90", "no longer needed", at_ms=run.now_ms)
    (second,) = run.give(run.delivered("sub-1"))
    assert (sent(second).number, sent(second).reason) == (2, "")
    run.give(run.delivered("sub-1"))
    assert isinstance(run.end, RunCompleted)


def test_a_signal_by_name_takes_any_arguments() -> None:
    @saga
    async def flow() -> None:
        await sagas.instance("sub-1").signal("anything", 1, {"two": [3]})

    run = Run(flow)
    message = sent(run.start()[0])
    assert (message.name, decode(message.args)) == ("anything", [1, {"two": [3]}])


def test_many_at_once_are_answered_in_any_order() -> None:
    @saga
    async def flow() -> str:
        await asyncio.gather(*(sagas.instance(id).signal("go") for id in ("a", "b", "c")))
        return "all"

    run = Run(flow)
    assert [sent(each).target for each in run.start()] == ["a", "b", "c"]
    for target in ("c", "a", "b"):
        assert run.end is None
        run.give(run.delivered(target))
    assert run.result == "all"


@pytest.mark.parametrize(
    ("reason", "status", "error"),
    [
        (NOT_FOUND, "", SagaNotFound("sub-1")),
        (CLOSED, "completed", SagaClosed("sub-1", "completed")),
        (CLOSED, "", SagaClosed("sub-1")),
    ],
)
def test_a_refused_message_raises_and_fails_the_run(reason: str, status: str, error: sagas.SagaError) -> None:
    run = Run(signalling)
    run.start()
    run.give(run.refused("sub-1", reason, status))
    assert isinstance(run.end, RunFailed)
    assert run.end.failure[1:3] == (type(error).__name__, str(error))


def test_a_refusal_is_caught_like_any_other_error() -> None:
    @saga
    async def flow() -> list[str]:
        heard = []
        other = sagas.instance("sub-1")
        for send in (lambda: other.signal(Subscription.charge, 1), other.cancel):
            try:
                await send()
            except (SagaNotFound, SagaClosed) as error:
                heard.append(f"{type(error).__name__} {error.id}")
        return heard

    run = Run(flow)
    run.start()
    run.give(run.refused("sub-1", NOT_FOUND))
    run.give(run.refused("sub-1", CLOSED, "failed"))
    assert run.result == ["SagaNotFound sub-1", "SagaClosed sub-1"]


# --- the sender's end, and cancels


def test_cancelled_while_it_waits_it_is_not_withdrawn_and_the_later_answer_is_ignored() -> None:
    @saga
    async def flow() -> str:
        try:
            await sagas.instance("sub-1").signal("go")
        except asyncio.CancelledError:
            await pay(1)
        return "cleaned up"

    for answered in (lambda run: run.delivered("sub-1"), lambda run: run.refused("sub-1", NOT_FOUND)):
        run = Run(flow)
        run.start()
        assert kinds(run.give(run.cancel())) == ["StepScheduled"]
        assert list(run.instance.state.messages) == [1]
        assert run.give(answered(run)) == []
        assert run.instance.state.messages == {}
        run.give(run.done("pay"))
        assert run.result == "cleaned up"


def test_a_cancel_that_comes_with_the_answer_wins() -> None:
    for order in (list, reversed):
        run = Run(signalling)
        run.start()
        run.give(*order([run.delivered("sub-1"), run.cancel("late")]))
        assert run.end == RunCancelled("late", at_ms=run.now_ms)


def test_a_timeout_gives_the_wait_up_and_not_the_message() -> None:
    @saga
    async def flow() -> str:
        try:
            async with asyncio.timeout(10):
                await sagas.instance("sub-1").signal("go")
        except TimeoutError:
            return "gave up"
        return "told"

    run = Run(flow)
    assert kinds(run.start()) == ["TimerSet", "MessageSent"]
    run.give(run.fired(), after_ms=10_000)
    assert run.result == "gave up"


def test_a_run_ends_without_waiting_for_its_messages() -> None:
    @saga
    async def flow() -> str:
        task = asyncio.create_task(sagas.instance("sub-1").cancel())
        await asyncio.sleep(0)
        return task.get_name()

    run = Run(flow)
    assert kinds(run.start()) == ["MessageSent", "RunCompleted"]
    assert run.instance.state.messages == {}
    assert run.give(MessageDelivered(1)) == []


def test_an_answer_that_comes_twice_or_to_nobody_changes_nothing() -> None:
    @saga
    async def flow() -> None:
        await sagas.instance("sub-1").signal("go")
        await pay(1)

    run = Run(flow)
    run.start()
    answer = run.delivered("sub-1")
    assert kinds(run.give(answer, answer)) == ["StepScheduled"]
    assert run.give(answer, MessageDelivered(99)) == []
    run.give(run.done("pay"))
    assert isinstance(run.end, RunCompleted)


def test_a_parked_activation_sends_nothing() -> None:
    @saga
    async def flow() -> None:
        task = asyncio.create_task(sagas.instance("sub-1").cancel())
        await asyncio.sleep(0)
        raise KeyError(task.get_name())

    run = Run(flow)
    assert run.start() == []
    assert run.park.startswith("KeyError")
    assert run.instance.state.messages == {}


# --- with undos


def test_a_message_out_of_a_block_that_failed_is_sent_beside_the_undo() -> None:
    @saga
    async def flow() -> None:
        try:
            async with compensating():
                await pay(1)
                await sagas.instance("sub-1").signal(Subscription.charge, 1)
        finally:
            await sagas.instance("auditor").signal("failed")

    run = Run(flow)
    run.start()
    run.give(run.done("pay", "receipt"))
    assert kinds(run.give(run.refused("sub-1", NOT_FOUND))) == ["CompensationStarted", "CompensationScheduled"]
    assert kinds(run.give(run.done("refund"))) == ["CompensationEnded", "MessageSent"]
    run.give(run.delivered("auditor"))
    assert isinstance(run.end, RunFailed)
    assert run.end.failure[1] == "SagaNotFound"


def test_a_message_while_an_undo_runs_comes_and_goes_whatever_is_cancelled() -> None:
    @saga
    @dataclass
    class Flow:
        told: list[str] = field(default_factory=list)

        async def run(self) -> None:
            async with compensating():
                await pay(1)
                await asyncio.sleep(1000)

        @signal
        async def tell(self, target: str) -> None:
            await sagas.instance(target).signal("undoing")
            self.told.append(target)

        @query
        def look(self) -> list[str]:
            return self.told

    run = Run(Flow)
    run.start()
    run.give(run.done("pay", "receipt"))
    assert kinds(run.give(run.cancel("first"), run.signal(Flow.tell, "auditor")))[-1] == "CompensationScheduled"
    assert list(run.instance.state.messages)
    run.give(run.cancel("second"))
    run.give(run.delivered("auditor"))
    assert run.ask(Flow.look) == ["auditor"]
    run.give(run.done("refund"))
    assert run.end == RunCancelled("first", at_ms=run.now_ms)


def test_a_cancelled_block_may_still_tell_others_before_it_is_undone() -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await pay(1)
            try:
                await asyncio.sleep(1000)
            finally:
                await sagas.instance("auditor").signal("stopping")

    run = Run(flow)
    run.start()
    run.give(run.done("pay", "receipt"))
    assert kinds(run.give(run.cancel())) == ["TimerCancelled", "MessageSent"]
    started = run.give(run.delivered("auditor"))[0]
    assert isinstance(started, CompensationStarted)
    run.give(run.done("refund"))
    assert isinstance(run.end, RunCancelled)


# --- what is refused, with nothing sent


def test_outside_a_saga_there_is_no_other_instance() -> None:
    with pytest.raises(NotInSaga, match=r"sagas\.instance\(\) works only inside a saga"):
        sagas.instance("sub-1")
    for send in (OtherInstance("sub-1").signal("go"), OtherInstance("sub-1").cancel()):
        with pytest.raises(NotInSaga):
            asyncio.run(send)


@pytest.mark.parametrize(
    ("send", "error", "says"),
    [
        (lambda: sagas.instance("id-1").signal("go"), InvalidArgument, "signal itself: call the method"),
        (lambda: sagas.instance("id-1").cancel(), InvalidArgument, "cancel itself: return, or raise"),
        (lambda: sagas.instance("").cancel(), InvalidArgument, "non-empty"),
        (lambda: sagas.instance("a\nb").cancel(), InvalidArgument, "control character"),
        (lambda: sagas.instance("x").signal(Subscription.look), InvalidArgument, "no @signal"),
        (lambda: sagas.instance("x").signal(Subscription.charge, 1, "a", 2), ArgumentMismatch, "charge"),
        (lambda: sagas.instance("x").signal(Subscription.charge, object()), PayloadError, "args"),
        (lambda: sagas.instance("x").cancel(b"no text"), InvalidArgument, "is text"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_sent_is_refused_and_takes_no_number(
    send: Callable[[], Any], error: type[Exception], says: str
) -> None:
    @saga
    async def flow() -> list[str]:
        heard = []
        try:
            await send()
        except error as refused:
            heard.append(str(refused))
        await sagas.instance("y").cancel()
        return heard

    run = Run(flow)
    (message,) = run.start()
    assert (sent(message).number, sent(message).target) == (1, "y")
    run.give(run.delivered("y"))
    (words,) = run.result
    assert says in words


@saga
@dataclass
class Asked:
    other: OtherInstance | None = None
    looked: bool = False

    async def run(self) -> str:
        self.other = sagas.instance("sub-1")
        try:
            await wait_until(self.send_while_looking)
        except ReadOnlyError as error:
            return str(error)
        return "it was sent"

    def send(self) -> None:
        assert self.other is not None
        coroutine = self.other.cancel()
        try:
            coroutine.send(None)
        finally:
            coroutine.close()

    def send_while_looking(self) -> bool:
        if self.looked:
            self.send()
        return False

    @signal
    def look(self) -> None:
        self.looked = True

    @query
    def send_while_asked(self) -> None:
        self.send()


def test_a_query_or_a_predicate_that_sends_is_refused_and_nothing_shifts() -> None:
    run = Run(Asked)
    run.start()
    with pytest.raises(QueryFailed, match="may only read"):
        run.ask(Asked.send_while_asked)
    run.give(run.signal(Asked.look))
    assert "may only read" in run.result


def test_an_evicted_instance_sends_nothing() -> None:
    tried: list[str] = []

    @saga
    async def flow() -> None:
        other = sagas.instance("sub-1")
        try:
            await other.signal("go")
        finally:
            try:
                await other.cancel()
            except ReadOnlyError:
                tried.append("refused")

    run = Run(flow)
    run.start()
    before = list(run.history)
    run.instance.evict()
    assert (run.history, run.instance.state.messages.keys()) == (before, {1})
    assert tried
    run.instance = run.replayed()
    assert kinds(run.give(run.delivered("sub-1"))) == ["MessageSent"]


# --- replay

Send = Callable[[], Any]
SEND: list[Send] = []


@saga
async def changing() -> None:
    await SEND[0]()


def _as_recorded() -> Any:
    return sagas.instance("sub-1").signal(Subscription.charge, 500)


@pytest.mark.parametrize(
    ("send", "found"),
    [
        (lambda: sagas.instance("sub-2").signal("charge", 500), "target='sub-2', name='charge'"),
        (lambda: sagas.instance("sub-1").signal("other", 500), "target='sub-1', name='other'"),
        (lambda: sagas.instance("sub-1").cancel(), "kind='cancel'"),
        (lambda: pay(500), "StepScheduled"),
    ],
)
def test_code_that_sends_something_else_is_found(send: Send, found: str) -> None:
    SEND[:] = [_as_recorded]
    run = Run(changing)
    run.start()
    SEND[:] = [send]
    with pytest.raises(NondeterminismError) as parted:
        Instance.replay(run.type, run.history)
    assert parted.value.expected == "MessageSent(number=1, kind='signal', target='sub-1', name='charge')"
    assert found in parted.value.found


def test_other_arguments_are_the_recorded_message_all_the_same() -> None:
    SEND[:] = [_as_recorded]
    run = Run(changing)
    run.start()
    SEND[:] = [lambda: sagas.instance("sub-1").signal(Subscription.charge, 900)]
    again = Instance.replay(run.type, run.history)
    assert decode(again.state.messages[1].args) == [500]
    again.evict()


def test_the_message_id_follows_from_the_run_and_the_number() -> None:
    ids = {message_id_of(run_id, number) for run_id in ("r", "r2") for number in (1, 2)}
    assert len(ids) == 4
    assert message_id_of("r", 1) == "r/1"
