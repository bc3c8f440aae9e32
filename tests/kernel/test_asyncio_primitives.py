"""Plain asyncio in a saga: each primitive does what asyncio says, replays, and has one order in every process.

``driven`` gives facts through ``Run.give``, which rebuilds the instance from its history after every activation.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sagas import saga
from sagas.kernel.events import same
from tests.kernel import primitives
from tests.kernel.driver import Run
from tests.kernel.primitives import PROGRAMS, driven, note, told


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_does_what_asyncio_says(name: str) -> None:
    program, result = PROGRAMS[name]
    run = driven(program)
    assert run.park == ""
    assert run.result == result


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_second_run_has_the_same_history(name: str) -> None:
    first, second = (driven(PROGRAMS[name][0]).history for _ in range(2))
    assert len(first) == len(second)
    assert all(same(one, other) for one, other in zip(first, second, strict=True))


@pytest.fixture(scope="module")
def told_here() -> list[str]:
    """What this process says of all programs."""
    return [line for name, (program, _) in PROGRAMS.items() for line in (name, *told(driven(program)))]


def told_by(python: str, **environment: str) -> list[str]:
    """What another process says of them."""
    path = str(Path(__file__).parents[2]) if python != sys.executable else os.pathsep.join(sys.path)
    command = [python, "-m", "tests.kernel.primitives"]
    environment = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
@pytest.mark.parametrize("allocator", ["pymalloc", "malloc", "pymalloc_debug"])
def test_every_process_has_the_same_histories(told_here: list[str], seed: str, allocator: str) -> None:
    """Whatever strings hash to, and whatever the addresses of objects are."""
    assert told_by(sys.executable, PYTHONHASHSEED=seed, PYTHONMALLOC=allocator) == told_here


OTHERS = [path for path in Path(sys.prefix).parent.glob(".venv*/bin/python") if path.parents[1] != Path(sys.prefix)]


@pytest.mark.parametrize("python", OTHERS, ids=[path.parents[1].name for path in OTHERS])
def test_another_python_has_the_same_histories(told_here: list[str], python: Path) -> None:
    """So that an instance may move to a host of another Python; those that CI has made environments for."""
    if subprocess.run([python, "-c", "import msgpack"], check=False, capture_output=True).returncode:
        pytest.skip(f"{python} cannot import what sagas needs")
    assert told_by(str(python)) == told_here


PRIMITIVES = (
    *("sleep", "timeout", "timeout_at", "wait_for", "gather", "wait", "as_completed", "TaskGroup", "shield", "Event"),
    *("Lock", "Condition", "Semaphore", "BoundedSemaphore", "Queue", "PriorityQueue", "LifoQueue", "Barrier"),
)


def test_each_primitive_is_in_a_program() -> None:
    source = Path(primitives.__file__).read_text()
    assert [name for name in PRIMITIVES if f"asyncio.{name}(" not in source and f"asyncio.{name}[" not in source] == []


def test_what_gather_returns_is_numbered_by_creation() -> None:
    @saga
    async def flow() -> bool:
        loop = asyncio.get_running_loop()
        made: list[asyncio.Future[Any]] = []
        for number in range(5):
            made += [loop.create_future(), asyncio.gather(note(number)), asyncio.gather()]
        return [hash(each) for each in made] == sorted({hash(each) for each in made})

    run = Run(flow)
    run.start()
    assert run.result is True


def test_a_future_of_another_loop_keeps_its_own_hash() -> None:
    async def outside() -> None:
        one, other = asyncio.gather(asyncio.sleep(0)), asyncio.gather(asyncio.sleep(0))
        assert {one: 1, other: 2}[other] == 2
        assert hash(one) == object.__hash__(one)
        await asyncio.gather(one, other)

    asyncio.run(outside())
