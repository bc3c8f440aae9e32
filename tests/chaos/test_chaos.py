"""A few seeds of `make chaos`: kill -9 and frozen hosts in the middle of subscriptions, judged by outcomes alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.chaos.scenario import KILLED, Scenario, Victim
from tests.chaos.season import season
from tests.cluster.running import RunningRay

SEEDS = (1, 3)
"""Between them: each sort of process killed at three moments of a step, one of them twice."""


@pytest.fixture(scope="module", autouse=True)
def running_ray() -> Iterator[None]:
    with RunningRay():
        yield


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_is_killed_and_every_saga_ends_as_it_must(seed: int) -> None:
    verdict = asyncio.run(season(Scenario.draw(seed, tuple(KILLED))))
    assert verdict.wrong == (), verdict.report()
    assert len(verdict.blows) == len(KILLED)


def test_a_host_that_slept_past_its_lease_is_refused() -> None:
    scenario = replace(Scenario.draw(2, (Victim.FROZEN,)), subscribers=24)
    verdict = asyncio.run(season(scenario))
    assert verdict.wrong == (), verdict.report()
    assert verdict.late > 0  # it did send what it still believed in, and all of it was refused
