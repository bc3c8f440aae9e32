"""The loop of one instance: asyncio in one order everywhere, no clock, no world, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from typing import Any

import pytest

import sagas
from sagas import activity, saga
from sagas.kernel.current import in_saga
from sagas.kernel.duration import END_MS
from sagas.kernel.events import StepScheduled, TimerSet
from sagas.kernel.instance import Instance
from sagas.kernel.loop import TURNS, InstanceLoop
from tests.kernel.driver import START_MS, Run, kinds, timers


@activity
async def note(what: str) -> str:
    return what


def test_tasks_run_in_the_order_they_were_made() -> None:
    @saga
    async def flow() -> list[str]:
        heard: list[str] = []

        async def say(what: str) -> None:
            heard.append(what)
            await asyncio.sleep(0)
            heard.append(what.upper())

        await asyncio.gather(*(say(each) for each in "abc"))
        return heard

    run = Run(flow)
    run.start()
    assert run.result == ["a", "b", "c", "A", "B", "C"]


def test_timers_of_one_instant_fire_in_the_order_they_were_set() -> None:
    @saga
    async def flow() -> list[int]:
        heard: list[int] = []

        async def nap(number: int) -> None:
            await asyncio.sleep(5)
            heard.append(number)

        await asyncio.gather(*(nap(each) for each in range(4)))
        return heard

    run = Run(flow)
    assert timers(run.start()) == [5001] * 4
    run.give(run.fired(), run.instance.state.timers and _fired(run, 1), _fired(run, 2), _fired(run, 3), after_ms=5000)
    assert run.result == [0, 1, 2, 3]


def _fired(run: Run, nth: int) -> sagas.kernel.events.TimerFired:
    return sagas.kernel.events.TimerFired(sorted(run.instance.state.timers)[nth])


def test_the_loop_has_no_clock_of_its_own() -> None:
    @saga
    async def flow() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        before = loop.time()
        await note("x")
        return before, loop.time()

    run = Run(flow)
    run.start()
    run.give(run.done("note"), after_ms=86_400_000)
    assert run.result == ((START_MS + 1) / 1000, (START_MS + 86_400_001) / 1000)


def test_the_clock_of_a_run_never_steps_back() -> None:
    @saga
    async def flow() -> list[int]:
        seen = []
        for _ in range(3):
            seen.append(int(asyncio.get_running_loop().time() * 1000) - START_MS)
            await note("x")
        return seen

    run = Run(flow)
    run.start()
    run.give(run.done("note"), after_ms=50)
    run.instance.activate([run.done("note")], START_MS)  # another host, with a clock that is behind
    run.instance.activate([run.done("note")], START_MS + 2)
    assert run.instance.loop.now_ms == START_MS + 51


@pytest.mark.parametrize("seconds", [1e12, 1e18, float("inf")])
def test_for_ever_is_a_time_that_a_history_can_hold(seconds: float) -> None:
    @saga
    async def flow() -> None:
        await asyncio.sleep(seconds)

    run = Run(flow)
    (timer,) = run.start()
    assert isinstance(timer, TimerSet)
    assert timer.due_ms == END_MS


HASHES = """
import asyncio
from sagas import activity, saga
from sagas.kernel.events import RunStarted
from sagas.kernel.instance import Instance
from sagas.kernel.saga import saga_type_of

@activity
async def note(number: int) -> int:
    return number

@saga
async def flow() -> None:
    async def work(number: int) -> None:
        await asyncio.sleep(0)
        await note(number)
    ballast = [object() for _ in range(hash("any text") % 997)]
    tasks = {asyncio.create_task(work(number)) for number in range(50)}
    for task in tasks:
        task.add_done_callback(ballast.append)
    done, _ = await asyncio.wait({*tasks, asyncio.get_running_loop().create_future()}, timeout=1)

instance = Instance(saga_type_of(flow))
args = instance.saga_type.arguments.encode((), {})
activation = instance.activate([RunStarted("i", "r", "flow", args)], 1)
async def order() -> None: ...
tasks = set(instance.loop.open_tasks())
print([note.signature.decode(each.args)[0] for each in activation.decisions if hasattr(each, "args")])
print([task.get_name() for task in tasks])
"""


def test_sets_of_tasks_have_one_order_in_every_process() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", HASHES],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(said) == 1
    assert "task-" in said.pop()


def test_futures_and_tasks_are_numbered_by_creation() -> None:
    @saga
    async def flow() -> bool:
        loop = asyncio.get_running_loop()
        task = loop.create_task(asyncio.sleep(0))
        made: list[Any] = [task, loop.create_future(), asyncio.ensure_future(note("x")), loop.create_future()]
        await task
        numbers = [hash(each) for each in made]
        return numbers == sorted(set(numbers))

    run = Run(flow)
    run.start()
    assert run.result is True


PUBLIC = sorted(name for name in dir(asyncio.AbstractEventLoop) if not name.startswith("_"))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_call_of_the_loop_works_or_says_what_to_use(name: str) -> None:
    assert getattr(InstanceLoop, name) is not getattr(asyncio.AbstractEventLoop, name), f"{name} says nothing"


def test_spinning_is_broken_off_and_names_its_cause() -> None:
    turns = []

    @saga
    async def flow() -> None:
        await note("before")
        while True:
            turns.append(None)
            await asyncio.sleep(0)

    run = Run(flow)
    run.start()
    assert run.give(run.done("note")) == []
    assert run.park.startswith("Spinning")
    assert "never sleeps" in run.park
    assert TURNS // 2 < len(turns) <= TURNS + 1


def test_many_steps_in_one_activation_are_no_spinning() -> None:
    @saga
    async def flow() -> None:
        await asyncio.gather(*(note(str(each)) for each in range(5000)))

    run = Run(flow)
    assert len(run.start()) == 5000


def test_the_host_loop_is_back_afterwards_and_its_hooks_too() -> None:
    @saga
    async def flow() -> bool:
        return in_saga()

    async def host() -> tuple[bool, bool, bool]:
        loop, hooks = asyncio.get_running_loop(), sys.get_asyncgen_hooks()
        # As a plain callback: no task of the host is current while saga code runs.
        done = loop.create_future()
        loop.call_soon(lambda: done.set_result(Run(flow).start()))
        await done
        return asyncio.get_running_loop() is loop, sys.get_asyncgen_hooks() == hooks, in_saga()

    assert asyncio.run(host()) == (True, True, False)


def test_async_generators_are_not_finalised_by_the_host_loop() -> None:
    finals: list[str] = []

    async def ticks(name: str) -> AsyncGenerator[int]:
        try:
            yield 1
            yield 2
        finally:
            finals.append(name)
            await note(f"from the finally of {name}")

    @saga
    async def flow() -> None:
        dropped = ticks("dropped")
        await anext(dropped)
        del dropped
        gc.collect()
        async for _ in ticks("half-way"):
            await asyncio.sleep(1000)

    async def host() -> None:
        run = Run(flow)
        assert kinds(run.start()) == ["TimerSet"]
        run.instance.evict()
        del run
        gc.collect()
        for _ in range(5):
            await asyncio.sleep(0)

    asyncio.run(host())
    assert finals == []


def test_an_async_generator_that_is_closed_runs_its_finally_in_the_saga() -> None:
    async def ticks() -> AsyncGenerator[int]:
        try:
            yield 1
        finally:
            await note("closed")

    @saga
    async def flow() -> None:
        generator = ticks()
        await anext(generator)
        await generator.aclose()

    run = Run(flow)
    (step,) = run.start()
    assert isinstance(step, StepScheduled)


def test_an_error_nobody_awaits_is_logged_once_and_not_at_every_replay(caplog: pytest.LogCaptureFixture) -> None:
    @saga
    async def flow() -> None:
        async def fail() -> None:
            raise ValueError("unheard")

        task = asyncio.create_task(fail())
        await asyncio.sleep(0)
        del task
        await note("x")

    run = Run(flow)
    run.start()
    for _ in range(3):
        Instance.replay(run.type, run.history).evict()
    run.instance.evict()
    del run
    gc.collect()
    assert caplog.text.count("unheard") <= 1
