"""What saga code can never have is refused with a word on what to use, and parks it unless it catches that."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sagas import activity, compensating, query, saga, signal, wait_until
from sagas.errors import DefinitionError, QueryFailed
from sagas.kernel.refusals import REFUSED
from tests.kernel.driver import Run, kinds


@activity
async def pay(cents: int) -> str:
    return f"paid {cents}"


@pay.compensation
async def refund(receipt: str | None, cents: int) -> None: ...


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_refused_call_of_the_loop_parks_with_its_name_and_the_way_out(name: str) -> None:
    @saga
    async def flow() -> None:
        getattr(asyncio.get_running_loop(), name)(None)

    run = Run(flow)
    assert run.start() == []
    assert run.park == f"Refused: saga code asked its event loop for {name}, that is {REFUSED[name]}"


async def _connect() -> None:
    await asyncio.open_connection("127.0.0.1", 9)


async def _serve() -> None:
    await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)


async def _start_process() -> None:
    await asyncio.create_subprocess_exec("true", stdout=subprocess.DEVNULL)


async def _leave_the_thread() -> None:
    await asyncio.to_thread(print)


async def _come_from_a_thread() -> None:
    coroutine = asyncio.sleep(0)
    try:
        asyncio.run_coroutine_threadsafe(coroutine, asyncio.get_running_loop())
    finally:
        coroutine.close()


async def _nest() -> None:
    asyncio.get_running_loop().run_until_complete(asyncio.sleep(0))


async def _run() -> None:
    asyncio.run(asyncio.sleep(0))


async def _make_a_runner() -> None:
    with asyncio.Runner() as runner:
        runner.run(asyncio.sleep(0))


async def _make_a_loop() -> None:
    asyncio.new_event_loop().close()


async def _wait_for_a_bare_future() -> None:
    await asyncio.wait([asyncio.Future(), asyncio.get_running_loop().create_future()])


async def _hear_of_a_bare_future() -> None:
    for first in asyncio.as_completed([asyncio.Future(), pay(1)]):
        await first


Code = Callable[[], Awaitable[None]]
CASES: list[tuple[Code, str]] = [
    (_connect, "do I/O in an @activity"),
    (_serve, "do I/O in an @activity"),
    (_start_process, "start it in an @activity"),
    (_leave_the_thread, "put the work into an @activity"),
    (_come_from_a_thread, "send the instance a signal"),
    (_nest, "await the coroutine"),
    (_run, "asyncio.run(), that is a nested event loop: await the coroutine"),
    (_make_a_runner, "asyncio.Runner(), that is a nested event loop"),
    (_make_a_loop, "asyncio.new_event_loop(), that is a nested event loop"),
    (_wait_for_a_bare_future, "asyncio.get_running_loop().create_future()"),
    (_hear_of_a_bare_future, "asyncio.get_running_loop().create_future()"),
]


@pytest.mark.parametrize(("code", "says"), CASES, ids=[code.__name__ for code, _ in CASES])
def test_asyncio_that_leads_out_of_the_loop_parks_and_undoes_nothing(code: Code, says: str) -> None:
    @saga
    async def flow() -> None:
        async with compensating():
            await pay(5)
            await code()

    run = Run(flow)
    run.start()
    assert run.give(run.done("pay", "receipt")) == []
    assert run.park.startswith("Refused: saga code ")
    assert says in run.park
    assert run.steps() == ["pay"]


@pytest.mark.parametrize(("code", "says"), CASES, ids=[code.__name__ for code, _ in CASES])
@pytest.mark.parametrize("kind", [DefinitionError, RuntimeError])
def test_caught_it_is_the_same_in_every_replay_and_logged_once(
    code: Code, says: str, kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    @saga
    async def flow() -> str:
        try:
            await code()
        except kind as error:
            await pay(1)
            return str(error)
        return "it was had"

    run = Run(flow)
    assert kinds(run.start()) == ["StepScheduled"]
    run.give(run.done("pay"))
    assert says in run.result
    assert [record.getMessage() for record in caplog.records if record.name == "sagas.saga"] == [run.result]


def test_a_parked_refusal_goes_on_with_corrected_code() -> None:
    asked: list[Code] = [_leave_the_thread]

    @saga
    async def flow() -> str:
        await pay(1)
        await asked[0]()
        return "done"

    async def corrected() -> None:
        await pay(2)

    run = Run(flow)
    run.start()
    run.give(run.done("pay"))
    assert run.park
    asked[0] = corrected
    run.record()
    assert kinds(run.give()) == ["StepScheduled"]
    run.give(run.done("pay"))
    assert run.result == "done"


@saga
@dataclass
class Watched:
    tried: bool = False

    async def run(self) -> None:
        await wait_until(self.look)

    def look(self) -> bool:
        if self.tried:
            asyncio.get_running_loop().run_in_executor(None, print)
        return False

    @signal
    def look_badly(self) -> None:
        self.tried = True

    @signal
    def reach_out(self) -> None:
        asyncio.run(asyncio.sleep(0))

    @signal
    async def reach_out_later(self) -> None:
        await asyncio.to_thread(print)

    @query
    def reach_out_to_ask(self) -> None:
        asyncio.run(asyncio.sleep(0))

    @query
    def use_the_loop(self) -> None:
        asyncio.get_running_loop().run_in_executor(None, print)


@pytest.mark.parametrize("message", [Watched.look_badly, Watched.reach_out, Watched.reach_out_later])
def test_in_a_predicate_or_a_handler_it_parks_too(message: Callable[..., Any]) -> None:
    run = Run(Watched)
    run.start()
    assert run.give(run.signal(message)) == []
    assert run.park.startswith("Refused")


@pytest.mark.parametrize("ask", [Watched.reach_out_to_ask, Watched.use_the_loop])
def test_a_query_that_asks_for_it_is_refused_and_the_run_goes_on(ask: Callable[..., Any]) -> None:
    run = Run(Watched)
    run.start()
    with pytest.raises(QueryFailed, match="saga code") as failed:
        run.ask(ask)
    assert failed.value.cause_type == "Refused"
    assert run.give() == []
    assert run.park == ""


def test_a_thread_that_got_hold_of_the_loop_is_refused_and_the_run_goes_on() -> None:
    loops: list[asyncio.AbstractEventLoop] = []
    heard: list[str] = []

    @saga
    async def flow() -> None:
        loops.append(asyncio.get_running_loop())
        await pay(1)

    def intrude() -> None:
        try:
            loops[0].call_soon_threadsafe(print)
        except DefinitionError as error:
            heard.append(str(error))

    run = Run(flow)
    run.start()
    thread = threading.Thread(target=intrude)
    thread.start()
    thread.join()
    assert "send the instance a signal" in heard[0]
    run.give(run.done("pay"))
    assert run.result is None


def test_outside_a_saga_nothing_is_refused() -> None:
    async def flow() -> int:
        bare = asyncio.get_running_loop().create_future()
        bare.set_result(1)
        done, _ = await asyncio.wait([bare, asyncio.ensure_future(asyncio.sleep(0))])
        gathered = asyncio.gather(asyncio.to_thread(len, "ab"), asyncio.sleep(0, 3))
        return len(done) + sum(await gathered)

    assert asyncio.run(flow()) == 7
    with asyncio.Runner() as runner:
        assert runner.run(flow()) == 7
