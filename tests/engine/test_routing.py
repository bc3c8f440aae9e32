"""Which executor gets a step, and what is said of one that nobody makes yet."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sagas import activity, saga
from sagas.engine.routing import RoutingExecutor
from sagas.engine.steps import StepReport, StepTask, Unplaced, decode_tasks, encode_tasks
from tests.engine.bench import DUE, Bench
from tests.engine.rig import HeldExecutor


class Told(HeldExecutor):
    """An executor in other processes."""

    def __init__(self) -> None:
        super().__init__()
        self.over: list[StepReport] = []

    def settled(self, reports: Sequence[StepReport]) -> None:
        self.over += reports


@activity(ray={"num_gpus": 1, "resources": {"tape": 0.5}})
async def render() -> str:
    return "film"


@activity
async def post() -> None: ...


@activity(local=True)
async def note() -> None: ...


@saga
async def movie() -> None:
    await asyncio.gather(render(), post(), note(), post.options(ray={"num_cpus": 2})())


def dispatched() -> list[StepTask]:
    bench = Bench(movie, render, post, note)
    return bench.turn(bench.start(movie)).effects.dispatch


def names(executor: HeldExecutor) -> list[str]:
    return [task.activity for task in executor.tasks]


def test_each_step_goes_where_its_options_say() -> None:
    local, pool, alone = HeldExecutor(), Told(), Told()
    routing = RoutingExecutor(local, pool, alone)
    tasks = decode_tasks(encode_tasks(dispatched()))  # as they come over the wire
    routing.dispatch(tasks)
    assert (names(local), names(pool), names(alone)) == (["note"], ["post"], ["render", "post"])
    assert [task.ray for task in alone.tasks] == [{"num_gpus": 1, "resources": {"tape": 0.5}}, {"num_cpus": 2}]
    assert [routing.in_process(task) for task in tasks] == [task.activity == "note" for task in tasks]
    alone.known = {tasks[0].key}
    pool.known = {tasks[1].key, tasks[3].key}
    assert asyncio.run(routing.adopt(tasks)) == {tasks[0].key, tasks[1].key}, "each is asked for its own alone"
    routing.cancel([tasks[0].key])
    assert local.cancelled == pool.cancelled == alone.cancelled == [tasks[0].key]


def test_why_a_step_waits_is_kept_until_it_does_not() -> None:
    bench = Bench(movie, render, post, note)
    tasks = {task.step: task for task in bench.turn(bench.start(movie)).effects.dispatch}
    film = next(task for task in tasks.values() if task.activity == "render")

    def waits() -> list[str]:
        return [what for kind, what, _ in bench.stored.waiting if kind == "step" and what.startswith("render")]

    told = bench.turn(Unplaced(film.key, 1, "no node has it"))
    assert told.transition is not None
    assert told.transition.chunk is None, "the history knows nothing of it"
    assert waits() == ["render (no node has it)"]
    assert bench.turn(Unplaced(film.key, 1, "no node has it")).transition is None
    bench.reload(running=lambda _key, _attempt: True)
    bench.turn(DUE)
    assert waits() == ["render (no node has it)"]
    assert bench.turn(Unplaced(film.key, 2, "of another attempt")).transition is None
    bench.turn(Unplaced(film.key, 1, ""))
    assert waits() == ["render"]
    bench.turn(Unplaced(film.key, 1, "again"), bench.failed(film, OSError("no disk")))
    assert waits() == ["render"], "the next attempt has not waited for anything yet"
