"""sagas.use(): what stands around sagas, activities and client calls."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import sagas
from sagas import ActivityCall, ClientCall, Middleware, Next, Retry, SagaRun, activity, compensating, saga
from sagas.store.memory import MemoryStore
from tests.conformance.world import World, event_names, run

ONCE = Retry(max_attempts=1)


@pytest.fixture
def using() -> Iterator[contextlib.ExitStack]:
    """Takes out what a test has put in use."""
    with contextlib.ExitStack() as stack:
        yield stack


class Diary(Middleware):
    """Logs what passes."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self.name = name
        self.lines = lines

    async def activity(self, call: ActivityCall, next: Next[ActivityCall]) -> Any:
        self.lines.append(f"{self.name} {call.activity}{call.args}")
        try:
            return await next(call)
        finally:
            self.lines.append(f"{self.name} ended")


# --- activities -----------------------------------------------------------------------------------------


def test_the_first_in_use_is_the_outermost(world: World, using: contextlib.ExitStack) -> None:
    lines: list[str] = []
    for name in ("outer", "inner"):
        using.enter_context(sagas.use(Diary(name, lines)))

    @activity
    async def double(n: int) -> int:
        lines.append("work")
        return 2 * n

    @saga
    async def flow() -> int:
        return await double(4)

    async def scenario() -> None:
        assert await world.client.execute(flow, id="flow") == 8

    world.run(scenario)
    assert lines == ["outer double(4,)", "inner double(4,)", "work", "inner ended", "outer ended"]


def test_a_header_for_what_activities_call_reaches_coroutines_and_threads(
    world: World, using: contextlib.ExitStack
) -> None:
    header: contextvars.ContextVar[str] = contextvars.ContextVar("authorization")

    class Authorization(Middleware):
        async def activity(self, call: ActivityCall, next: Next[ActivityCall]) -> Any:
            header.set(f"Bearer of {sagas.step().saga_id}")
            return await next(call)

    using.enter_context(sagas.use(Authorization()))

    @activity(retry=ONCE)
    async def on_the_loop() -> str:
        return header.get()

    @activity(retry=ONCE)
    def in_a_thread() -> str:
        return header.get()

    @saga
    async def flow() -> list[str]:
        return [await on_the_loop(), await in_a_thread()]

    async def scenario() -> None:
        assert await world.client.execute(flow, id="flow") == ["Bearer of flow"] * 2

    world.run(scenario)


def test_it_may_change_arguments_and_results_and_errors(everywhere: World, using: contextlib.ExitStack) -> None:
    class Upside(Middleware):
        async def activity(self, call: ActivityCall, next: Next[ActivityCall]) -> Any:
            try:
                return -await next(replace(call, args=(call.args[0] + 1,)))
            except ZeroDivisionError as error:
                raise sagas.Rejected("not by nothing") from error

    using.enter_context(sagas.use(Upside()))

    @activity(retry=ONCE)
    def divide(by: int) -> int:
        return 60 // by

    @saga
    async def flow() -> list[Any]:
        with pytest.raises(sagas.Rejected, match="not by nothing") as refused:
            await divide(-1)
        return [await divide(4), refused.value.outcome.value]

    async def scenario() -> None:
        assert await everywhere.client.execute(flow, id="flow") == [-12, sagas.Outcome.NONE.value]

    everywhere.run(scenario)


def test_an_attempt_that_it_fails_is_tried_again(world: World, using: contextlib.ExitStack) -> None:
    class Flaky(Middleware):
        async def activity(self, call: ActivityCall, next: Next[ActivityCall]) -> Any:
            if sagas.step().attempt < 3:
                raise ConnectionError("no token")
            return await next(call)

    using.enter_context(sagas.use(Flaky()))

    @activity(retry=Retry(initial=0.01))
    async def work() -> int:
        return sagas.step().attempt

    @saga
    async def flow() -> int:
        return await work()

    async def scenario() -> None:
        assert await world.client.execute(flow, id="flow") == 3

    world.run(scenario)


def test_a_thread_within_is_awaited_when_it_is_cancelled(world: World, using: contextlib.ExitStack) -> None:
    lines: list[str] = []
    using.enter_context(sagas.use(Diary("around", lines)))
    begun, undone = threading.Event(), []

    @activity
    def work() -> str:
        begun.set()
        while not sagas.step().cancelled:
            threading.Event().wait(0.001)
        return "stopped in order"

    @work.compensation
    async def undo(result: str | None) -> None:
        undone.append(result)

    @saga
    async def flow() -> None:
        async with compensating():
            await work()

    async def scenario() -> None:
        handle = await world.client.start(flow, id="flow")
        await world.until(begun.is_set)
        await handle.cancel()
        with pytest.raises(sagas.SagaCancelled):
            await handle.result(timeout=50)

    world.run(scenario)
    assert undone == ["stopped in order"]
    assert lines[:2] == ["around work()", "around ended"]


def test_a_timeout_ends_a_thread_within_too(everywhere: World, using: contextlib.ExitStack) -> None:
    using.enter_context(sagas.use(Diary("around", [])))
    opened = threading.Event()

    @activity(retry=ONCE, timeout=0.05)
    def hang() -> None:
        opened.wait(30)

    @saga
    async def flow() -> str:
        try:
            await hang()
        except sagas.ActivityTimeout as error:
            opened.set()
            return error.kind
        return "done"

    async def scenario() -> None:
        assert await everywhere.client.execute(flow, id="flow") == "attempt"

    everywhere.run(scenario)


# --- sagas ----------------------------------------------------------------------------------------------


def test_a_timing_of_sagas_is_the_same_in_every_replay(timed: World, using: contextlib.ExitStack) -> None:
    took: list[tuple[str, float]] = []

    class Timing(Middleware):
        async def saga(self, run: SagaRun, next: Next[SagaRun]) -> Any:
            began = sagas.now()
            result = await next(run)
            took.append((f"{run.type} {run.id}", (sagas.now() - began).total_seconds()))
            return result

    using.enter_context(sagas.use(Timing()))

    @saga
    class Waits:
        async def run(self) -> str:
            await sagas.sleep(3600)
            return "done"

    async def scenario() -> None:
        handle = await timed.client.start(Waits, id="one")
        await timed.until_waiting(handle, "timer")
        await timed.env.restart()
        assert await timed.again(handle).result() == "done"
        assert set(took) == {("Waits one", 3600.0)}

    timed.run(scenario)


def test_one_around_sagas_may_start_steps_and_its_errors_are_theirs(
    everywhere: World, using: contextlib.ExitStack
) -> None:
    @activity
    async def audit(line: str) -> None: ...

    class Audit(Middleware):
        async def saga(self, run: SagaRun, next: Next[SagaRun]) -> Any:
            await audit(f"{run.id} begins")
            try:
                return await next(run)
            except ValueError as error:
                raise RuntimeError(f"audited: {error}") from error

    using.enter_context(sagas.use(Audit()))

    @saga
    async def flow(n: int) -> int:
        if n < 0:
            raise ValueError("negative")
        return n

    async def scenario() -> None:
        assert await everywhere.client.execute(flow, 7, id="a") == 7
        assert "StepCompleted" in await event_names(everywhere.client.get("a"))
        with pytest.raises(sagas.SagaFailed, match="audited: negative"):
            await everywhere.client.execute(flow, -1, id="b")

    everywhere.run(scenario)


# --- client calls ---------------------------------------------------------------------------------------


@saga
class Counter:
    def __init__(self) -> None:
        self.count = 0

    async def run(self) -> int:
        await sagas.wait_until(lambda: self.count > 0)
        await sagas.sleep(10)
        return self.count

    @sagas.signal
    def add(self, n: int) -> None:
        self.count += n

    @sagas.query
    def total(self) -> int:
        return self.count


def test_client_calls_are_logged(world: World, using: contextlib.ExitStack, caplog: pytest.LogCaptureFixture) -> None:
    class Logging(Middleware):
        async def client(self, call: ClientCall, next: Next[ClientCall]) -> Any:
            logging.getLogger("calls").info("%s %s %s", call.operation, call.id, call.args[1:])
            return await next(call)

    using.enter_context(sagas.use(Logging()))

    async def scenario() -> None:
        handle = await world.client.start(Counter, id="c")
        await handle.signal(Counter.add, 2)
        assert await handle.query(Counter.total) == 2
        await handle.terminate()
        assert (await world.client.start(Counter)).id  # an id of its own, which middleware has seen

    with caplog.at_level(logging.INFO, "calls"):
        world.run(scenario)
    told = [record.message for record in caplog.records if record.name == "calls"]
    assert told[:4] == ["start c ()", "signal c (2,)", "query c ()", "terminate c ()"]
    assert len(told[4].split()[1]) == 32


def test_a_call_that_is_made_again_is_taken_once(using: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store takes each message, but says so the second time only."""

    class Again(Middleware):
        async def client(self, call: ClientCall, next: Next[ClientCall]) -> Any:
            await next(call)
            return await next(call)

    using.enter_context(sagas.use(Again()))

    async def scenario() -> None:
        async with sagas.testing.environment() as env:
            handle = await env.client.start(Counter)
            await handle.signal(Counter.add, 1)
            assert await handle.query(Counter.total) == 1
            assert await handle.result() == 1
            assert [each.id async for each in env.client.list()] == [handle.id]

    run(scenario())


def test_a_client_call_may_be_tried_again_until_the_store_is_back(
    using: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    class Patient(Middleware):
        async def client(self, call: ClientCall, next: Next[ClientCall]) -> Any:
            while True:
                try:
                    return await next(call)
                except sagas.StoreUnavailable:
                    tries.append(call.operation)

    using.enter_context(sagas.use(Patient()))
    enqueue = MemoryStore.enqueue

    async def away(store: MemoryStore, admission: Any) -> Any:
        taken = await enqueue(store, admission)
        if len(tries) < 2:
            raise sagas.StoreUnavailable("it took the message, and its answer was lost")
        return taken

    async def scenario() -> None:
        async with sagas.testing.environment() as env:
            monkeypatch.setattr(MemoryStore, "enqueue", away)
            handle = await env.client.start(Counter)
            assert tries == ["start", "start"]
            assert (await handle.describe()).status == "running"

    run(scenario())


# --- use ------------------------------------------------------------------------------------------------


def test_what_was_removed_is_not_called_and_what_does_nothing_costs_nothing(world: World) -> None:
    lines: list[str] = []
    diary = Diary("d", lines)
    with sagas.use(diary), sagas.use(diary):  # the same one twice is in use once
        pass

    @activity
    async def work() -> None: ...

    @saga
    async def flow() -> None:
        await work()

    async def scenario() -> None:
        await world.client.execute(flow, id="flow")

    world.run(scenario)
    assert lines == []


def test_what_cannot_be_used_is_refused() -> None:
    class Sync:
        def activity(self, call: ActivityCall, next: Next[ActivityCall]) -> Any: ...

    for wrong, why in (
        (Middleware(), "nothing to use"),
        (object(), "nothing to use"),
        (Sync(), "async def"),
        (Diary, "class"),
    ):
        with pytest.raises(sagas.DefinitionError, match=why):
            sagas.use(wrong)


def test_any_object_with_one_of_the_methods_will_do(world: World, using: contextlib.ExitStack) -> None:
    class Plain:
        async def activity(self, call: ActivityCall, proceed: Any) -> Any:
            return await proceed(call) + 1

    using.enter_context(sagas.use(Plain()))

    @activity
    async def one() -> int:
        return 1

    @saga
    async def flow() -> int:
        return await one()

    async def scenario() -> None:
        assert await world.client.execute(flow, id="flow") == 2

    world.run(scenario)
