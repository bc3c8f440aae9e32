"""Sagas that use what asyncio offers, each so that an order that could differ would show in its history.

``python -m tests.kernel.primitives`` runs them all and prints their histories: the same in every process.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import AsyncGenerator, Coroutine, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import Any

from sagas import activity, saga
from sagas.kernel.events import Decision
from tests.kernel.driver import Run


@activity
async def note(what: Any) -> Any:
    return what


@activity
async def fail(what: str) -> Any:
    raise ValueError(what)


PROGRAMS: dict[str, tuple[Any, Any]] = {}
"""Name -> (saga, its result)."""


def gives(result: Any) -> Any:
    """The program's result, written beside it."""

    def declare(function: Any) -> Any:
        PROGRAMS[function.__name__] = (saga(function), result)
        return function

    return declare


async def together(work: Iterable[Coroutine[Any, Any, Any]]) -> None:
    async with asyncio.TaskGroup() as group:
        for each in work:
            group.create_task(each)


# --- what tasks wait at


@gives([0, 1, 2, 3, 4, "set again at once"])
async def event() -> list[Any]:
    gate, passed = asyncio.Event(), list[Any]()

    async def wait(number: int) -> None:
        await gate.wait()
        passed.append(await note(number))

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(wait(number))
        await note("before the gate opens")
        gate.set()
    gate.clear()
    assert not gate.is_set()
    gate.set()
    await gate.wait()
    return [*sorted(passed), "set again at once"]


@gives([0, 1, 2, 3])
async def lock() -> list[int]:
    only, held = asyncio.Lock(), list[int]()

    async def hold(number: int) -> None:
        async with only:
            held.append(await note(number))

    await together(hold(number) for number in range(4))
    assert not only.locked()
    return held


@gives(["first", "rest", "rest", "predicate"])
async def condition() -> list[str]:
    changed, heard, level = asyncio.Condition(), list[str](), [0]

    async def listen() -> None:
        async with changed:
            await changed.wait()
            heard.append("first" if level[0] == 1 else "rest")
            await note(len(heard))

    async def listen_for_three() -> None:
        async with changed:
            await changed.wait_for(lambda: level[0] == 3)
            heard.append("predicate")

    async def tell() -> None:
        for number in (1, 2, 3):
            await note(f"level {number}")
            async with changed:
                level[0] = number
                changed.notify(1) if number == 1 else changed.notify_all()

    await together([listen(), listen(), listen(), listen_for_three(), tell()])
    return heard


@gives([2, [0, 1, 2, 3, 4, 5], "BoundedSemaphore released too many times"])
async def semaphores() -> list[Any]:
    slots, inside, most, entered = asyncio.Semaphore(2), 0, 0, list[int]()

    async def enter(number: int) -> None:
        nonlocal inside, most
        async with slots:
            entered.append(number)
            inside += 1
            most = max(most, inside)
            await note(number)
            inside -= 1

    await together(enter(number) for number in range(6))
    bounded = asyncio.BoundedSemaphore(1)
    async with bounded:
        assert bounded.locked()
    try:
        bounded.release()
    except ValueError as error:
        return [most, entered, str(error)]
    return []


@gives([10, ["full", "empty"]])
async def queue() -> list[Any]:
    work: asyncio.Queue[int] = asyncio.Queue(maxsize=2)
    taken, said = list[int](), list[str]()

    async def take(name: str) -> None:
        while True:
            number = await work.get()
            taken.append(await note([name, number]))
            work.task_done()

    takers = [asyncio.create_task(take(name)) for name in "abc"]
    for number in range(10):
        await work.put(number)
    await work.join()
    for taker in takers:
        taker.cancel()
    await asyncio.wait(takers)
    work.put_nowait(1)
    work.put_nowait(2)
    try:
        work.put_nowait(3)
    except asyncio.QueueFull:
        said.append("full")
    assert (work.get_nowait(), work.get_nowait()) == (1, 2)
    try:
        work.get_nowait()
    except asyncio.QueueEmpty:
        said.append("empty")
    return [len(taken), said]


@gives([[1, "early"], [2, "late"], [3, "later"], "last", "first"])
async def other_queues() -> list[Any]:
    ranked: asyncio.PriorityQueue[list[Any]] = asyncio.PriorityQueue()
    for item in ([3, "later"], [1, "early"], [2, "late"]):
        await ranked.put(item)
    stack: asyncio.LifoQueue[str] = asyncio.LifoQueue()
    await stack.put("first")
    await stack.put("last")
    return [await note(await each.get()) for each in (ranked, ranked, ranked, stack, stack)]


@gives([[0, 1, 2], "broken", "broken"])
async def barrier() -> list[Any]:
    meeting, seats, broken = asyncio.Barrier(3), list[int](), list[str]()

    async def meet(number: int) -> None:
        await note(number)
        async with meeting as seat:
            seats.append(await note(seat))

    async def wait_in_vain() -> None:
        try:
            await meeting.wait()
        except asyncio.BrokenBarrierError:
            broken.append("broken")

    await together(meet(number) for number in range(3))

    async def break_it() -> None:
        await note("break")
        await meeting.abort()

    await together([wait_in_vain(), wait_in_vain(), break_it()])
    return [sorted(seats), *broken]


# --- several at once


@gives(["ValueError", [f"stopped {number}" for number in range(30)]])
async def task_group() -> list[Any]:
    stopped: list[str] = []

    async def run_on(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(f"stopped {number}")
            with suppress(asyncio.CancelledError):
                await note(number)

    async def break_off() -> None:
        await note("begin")
        raise ValueError("this one")

    try:
        await together([*(run_on(number) for number in range(30)), break_off()])
    except* ValueError as group:
        kind = type(group.exceptions[0]).__name__
    return [kind, stopped]


@gives(["outer", "in time", "rescheduled", "at", "timeout: slow", "fast", "slow is gone"])
async def timeouts() -> list[Any]:
    said: list[Any] = []
    now = asyncio.get_running_loop().time
    try:
        async with asyncio.timeout(5), asyncio.timeout(50):
            await asyncio.sleep(500)
    except TimeoutError:
        said.append("outer")
    async with asyncio.timeout(100):
        said.append(await note("in time"))
    try:
        async with asyncio.timeout(None) as limit:
            limit.reschedule(now() + 7)
            await asyncio.sleep(1000)
    except TimeoutError:
        said.append("rescheduled" if limit.expired() else "?")
    try:
        async with asyncio.timeout_at(now() + 3):
            await asyncio.Event().wait()
    except TimeoutError:
        said.append("at")
    slow = asyncio.create_task(asyncio.sleep(1000))
    try:
        await asyncio.wait_for(slow, 2)
    except TimeoutError:
        said.append("timeout: slow")
    said.append(await asyncio.wait_for(note("fast"), 2))
    said.append("slow is gone" if slow.cancelled() else "slow goes on")
    return said


@gives(["cancelled outside", "kept on"])
async def shield() -> list[str]:
    async def work() -> str:
        await asyncio.sleep(10)
        return str(await note("kept on"))

    async def give_up(inner: asyncio.Task[str]) -> str:
        try:
            await asyncio.shield(inner)
        except asyncio.CancelledError:
            return "cancelled outside"
        return ""

    inner = asyncio.create_task(work())
    outer = asyncio.create_task(give_up(inner))
    await asyncio.sleep(0)
    outer.cancel()
    return [await outer, await inner]


@gives([["a", "ActivityFailed", "b"], "ActivityFailed", [True, True, True]])
async def gather() -> list[Any]:
    every = await asyncio.gather(note("a"), fail("x"), note("b"), return_exceptions=True)
    said: list[Any] = [[each if isinstance(each, str) else type(each).__name__ for each in every]]
    try:
        await asyncio.gather(note("c"), fail("y"))
    except Exception as error:
        said.append(type(error).__name__)
    sleepers = [asyncio.create_task(asyncio.sleep(1000)) for _ in range(3)]
    gathered = asyncio.gather(*sleepers)
    await asyncio.sleep(0)
    gathered.cancel()
    with suppress(asyncio.CancelledError):
        await gathered
    return [*said, [each.cancelled() for each in sleepers]]


@gives([40, 1, 3, 39])
async def wait() -> list[int]:
    async def work(number: int) -> int:
        await asyncio.sleep(number % 3)
        return number

    async def break_off() -> None:
        await fail("z")

    tasks = {asyncio.create_task(work(number)) for number in range(40)}
    done, pending = await asyncio.wait(tasks)
    assert not pending
    said = [len(done)]
    for task in done:  # a set of tasks, in its own order
        await note(["done", task.result()])
    done, pending = await asyncio.wait(
        [asyncio.create_task(work(number)) for number in (1, 2, 3)], return_when=asyncio.FIRST_COMPLETED
    )
    said.append(len(done))
    for task in pending:
        await note(["pending", task.get_name()])
    broken = [asyncio.create_task(break_off()), *(asyncio.create_task(asyncio.sleep(1000)) for _ in range(3))]
    done, pending = await asyncio.wait(broken, return_when=asyncio.FIRST_EXCEPTION)
    assert isinstance(done.pop().exception(), Exception)
    said.append(len(pending))
    for task in pending:
        task.cancel()
    done, pending = await asyncio.wait(
        {asyncio.create_task(asyncio.sleep(each)) for each in range(40)}, timeout=0.5, return_when=asyncio.ALL_COMPLETED
    )
    return [*said, len(pending)]


@gives(30)
async def sets_of_futures() -> int:
    """What no task stands behind: the loop's own futures, those of gather, of shield and of wait_for."""
    loop = asyncio.get_running_loop()
    made: set[asyncio.Future[Any]] = set()
    for number in range(10):
        made.add(loop.create_future())
        made.add(asyncio.gather(note(number), asyncio.sleep(0)))
        made.add(asyncio.shield(asyncio.create_task(asyncio.sleep(0))))
    kinds = [type(each).__name__ for each in made]
    await note(kinds)
    for each in made:
        each.cancel() if type(each).__name__ == kinds[0] else None
    done, pending = await asyncio.wait(made, timeout=1)
    await note([type(each).__name__ for each in done])
    await note([type(each).__name__ for each in pending])
    return len(done) + len(pending)


@gives([sorted([*range(20), "timeout"], key=str)])
async def as_completed() -> list[Any]:
    async def work(number: int) -> int:
        await asyncio.sleep((number * 7) % 5)
        return number

    heard: list[Any] = []
    for each in asyncio.as_completed([work(number) for number in range(20)]):
        heard.append(await each)
        await note(heard[-1])
    try:
        for each in asyncio.as_completed([asyncio.sleep(1000)], timeout=2):
            await each
    except TimeoutError:
        heard.append("timeout")
    return [sorted(heard, key=str)]


@gives(["run", 21])
async def all_tasks() -> list[Any]:
    gate = asyncio.Event()
    tasks = [asyncio.create_task(gate.wait()) for _ in range(20)]
    await asyncio.sleep(0)
    current = asyncio.current_task()
    assert current is not None
    found = asyncio.all_tasks()
    for task in found:
        await note(task.get_name())
    gate.set()
    await asyncio.gather(*tasks)
    return [current.get_name(), len(found)]


# --- what belongs to a task


@gives(["ended", "closed half-way", "thrown", "a dropped one is left alone"])
async def async_generators() -> list[str]:
    said: list[str] = []

    async def ticks(last_words: str) -> AsyncGenerator[int]:
        try:
            for number in range(3):
                yield await note(number)
        except ValueError:
            await note("caught in the generator")
        finally:
            said.append(last_words)
            await note(last_words)

    async for _ in ticks("ended"):
        pass
    async with aclosing(ticks("closed half-way")) as generator:
        await anext(generator)
    generator = ticks("thrown")
    await anext(generator)
    with suppress(StopAsyncIteration):
        await generator.athrow(ValueError("into it"))
    dropped = ticks("collected at a time that no history knows")
    await anext(dropped)
    del dropped
    await note("after the drop")
    return [*said, "a dropped one is left alone"]


@gives(["in 1", "in 2", "in 3", "caught 3", "out 2", "out 1", "after", "stack 2", "stack 1"])
async def context_managers() -> list[str]:
    said: list[str] = []

    @asynccontextmanager
    async def entered(number: int, *, catches: bool = False) -> AsyncGenerator[None]:
        said.append(await note(f"in {number}"))
        try:
            yield
        except asyncio.CancelledError:
            if not catches:
                raise
            said.append(await note(f"caught {number}"))
        finally:
            if not catches:
                said.append(await note(f"out {number}"))

    async def hold() -> None:
        async with entered(1), entered(2), entered(3, catches=True):
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await asyncio.sleep(5)
    task.cancel()
    await task
    said.append(await note("after"))
    async with AsyncExitStack() as stack:
        for number in (1, 2):
            stack.push_async_callback(_say, said, f"stack {number}")
    return said


async def _say(said: list[str], what: str) -> None:
    said.append(await note(what))


@gives([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], "at once", 1.5])
async def sleep() -> list[Any]:
    woken: dict[str, list[int]] = {"same": [], "reversed": []}

    async def doze(number: int, seconds: float, where: str) -> None:
        await asyncio.sleep(seconds)
        woken[where].append(number)
        await note([where, number])

    await together(doze(number, 7, "same") for number in range(5))
    await together(doze(number, 50 - number, "reversed") for number in range(5))
    started = asyncio.get_running_loop().time()
    await asyncio.sleep(-1)
    await asyncio.sleep(0)
    at_once = await asyncio.sleep(0, "at once")
    await asyncio.sleep(1.5)
    return [woken["same"], woken["reversed"], at_once, asyncio.get_running_loop().time() - started]


who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


@gives(["outer", "inner 0", "inner 1", "given", "outer", "timer of outer"])
async def context_variables() -> list[str]:
    who.set("outer")

    async def look() -> str:
        await note("look")
        return who.get()

    async def change(number: int) -> str:
        who.set(f"inner {number}")
        await note(number)
        return who.get()

    given = contextvars.copy_context()
    given.run(who.set, "given")
    said = [
        await look(),
        *await asyncio.gather(change(0), change(1)),
        await asyncio.create_task(look(), context=given),
        who.get(),
    ]
    heard = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(5, lambda: heard.set_result(f"timer of {who.get()}"))
    return [*said, await heard]


# --- running them


def driven(program: Any) -> Run:
    """The program's run to its end: its steps answered newest first, its timers fired when they are due."""
    run = Run(program)
    run.start()
    while run.end is None and not run.park:
        steps, due_ms = run.instance.state.steps, run.instance.state.next_timer_ms
        if steps:
            step = steps[max(steps)]
            argument = note.signature.decode(step.args)[0][0]
            failed = step.activity == "fail"
            fact = run.failed("fail", ValueError(argument)) if failed else run.done("note", argument, nth=-1)
            run.give(fact)
        else:
            assert due_ms is not None, "it waits for nothing"
            run.give(run.fired(), after_ms=max(1, due_ms - run.now_ms))
    return run


def told(run: Run) -> list[str]:
    """Everything that could differ between two processes."""
    args = {event.step: event.args for event in run.history if hasattr(event, "args") and hasattr(event, "step")}
    decided = [event for event in run.history if isinstance(event, Decision)]
    return [f"{event.identity()} {args.get(getattr(event, 'step', 0), b'').hex()}" for event in decided]


if __name__ == "__main__":
    # Of every size, so that whatever is allocated next has another address in every process.
    ballast = [bytes(size) for size in range(16, 1024, 8) for _ in range(hash(f"{size} bytes") % 97)]
    for name, (program, _) in PROGRAMS.items():
        sys.stdout.writelines(f"{line}\n" for line in (name, *told(driven(program))))
