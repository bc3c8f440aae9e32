"""A step whose recorded arguments the worker's code cannot take: nothing runs, it is tried again, and says why."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

import sagas
from sagas import Retry, SagaCancelled, activity, compensating, saga
from sagas.engine.retrying import standing
from sagas.engine.steps import Attempt
from sagas.kernel.events import StepCompleted
from sagas.kernel.failure import Failure
from sagas.testing import environment
from tests.conformance.world import run

newer = threading.Event()
"""Set: workers run newer code, which wants more of an order than was recorded."""
done: list[str] = []


@dataclass
class Order:
    item: str
    size: int = 0

    def __post_init__(self) -> None:
        if newer.is_set() and not self.size:
            raise ValueError("an order has a size")


@activity(retry=Retry(max_attempts=1))
async def pack(order: Order) -> str:
    done.append("packed")
    return order.item


@pack.compensation
async def unpack(_packed: str | None, order: Order) -> None:
    done.append("unpacked")


@saga
async def flow() -> str:
    async with compensating():
        order = Order("hat")
        newer.set()
        return await pack(order)


@pytest.fixture(autouse=True)
def older() -> Iterator[None]:
    newer.clear()
    done.clear()
    yield
    newer.clear()


async def waits(handle: sagas.Handle[str]) -> str:
    (wait,) = (await handle.describe()).waiting_for
    return wait.what


def test_it_is_tried_again_until_a_worker_can() -> None:
    async def scenario() -> None:
        async with environment() as env:
            handle = await env.client.start(flow, id="f")
            await env.settle()
            assert (await waits(handle)).endswith("pack")
            await env.advance(hours=1)
            told = await waits(handle)
            assert "attempts in vain, the last: UndecodableArguments: " in told
            assert "was not called, since its arguments cannot be decoded here" in told
            assert "an order has a size" in told
            assert done == []
            newer.clear()
            await env.advance(minutes=10)
            assert await handle.result() == "hat"
            assert done == ["packed"]
            (completed,) = [event for event in await handle.history() if isinstance(event, StepCompleted)]
            assert completed.attempt > 10
            assert {row[2] for row in completed.errors} == {"UndecodableArguments"}

    run(scenario())


def test_it_is_cancelled_without_an_undo_since_nothing_ran() -> None:
    async def scenario() -> None:
        async with environment() as env:
            handle = await env.client.start(flow, id="f")
            await env.advance(hours=1)
            await handle.cancel("no more hats")
            with pytest.raises(SagaCancelled):
                await handle.result()
            assert done == []

    run(scenario())


def test_a_step_is_named_and_after_ten_attempts_says_why() -> None:
    assert standing("pack", None) == "pack"
    attempt = Attempt()
    for _ in range(9):
        attempt.remember(Failure.of(ValueError("no hat")), 0)
        attempt.number += 1
        assert standing("pack", attempt) == "pack"
    attempt.remember(Failure.of(ValueError("no\nhat")), 0)
    attempt.number += 1
    assert standing("pack", attempt) == "pack (10 attempts in vain, the last: ValueError: no hat)"
    attempt.remember(Failure.of(ValueError("no hat " * 1000)), 0)
    assert len(standing("pack", attempt)) < 300
