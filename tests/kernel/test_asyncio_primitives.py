"""Plain asyncio in a saga: each primitive does what asyncio says, replays, and has one order in every process.

``driven`` gives facts through ``Run.give``, which rebuilds the instance from its history after every activation.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest

from sagas import saga
from sagas.kernel.events import same
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
def said() -> list[str]:
    """What a process says of all programs, under each of three hash seeds."""
    return [
        subprocess.run(
            [sys.executable, "-m", "tests.kernel.primitives"],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "4711")
    ]


def test_every_process_has_the_same_histories(said: list[str]) -> None:
    assert said[0] == said[1] == said[2]
    assert set(PROGRAMS) <= set(said[0].splitlines())


def test_this_process_has_them_too(said: list[str]) -> None:
    lines = [line for name, (program, _) in PROGRAMS.items() for line in (name, *told(driven(program)))]
    assert lines == said[0].splitlines()


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
