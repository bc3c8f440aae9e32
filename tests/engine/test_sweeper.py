"""The sweeper: which heads nobody would wake, and that it wakes what a lost timer entry left behind."""

from __future__ import annotations

import asyncio
import dataclasses
import logging

import pytest

import sagas
from sagas.engine.clock import VirtualClock
from sagas.engine.sweeper import LATE_MS, Sweeper, bereft, violation
from sagas.store.keys import shard_of
from sagas.store.port import Batch, Head, Status, Transition

NOW = 10_000_000
OPEN = Head(
    status=Status.RUNNING,
    run_id="r",
    type="t",
    version=1,
    events=3,
    started_ms=1,
    closed_ms=0,
    waiting=(("timer", "", NOW),),
)


@pytest.mark.parametrize(
    ("changes", "timer_ms", "busy"),
    [
        ({}, NOW + 5, False),
        ({"waiting": (("step", "charge", 5),)}, None, True),
        ({"waiting": (("step", "charge", 5),)}, NOW + 5, False),  # it waits for its next attempt
        ({"waiting": (("message", "", 5),)}, None, False),
        ({"waiting": (("code", "no such type", 5),)}, None, True),
        ({"parked": "TypeError"}, None, False),
        ({"paused": True}, None, False),
        ({"closed_ms": 7}, None, False),
    ],
)
def test_what_something_will_wake_is_left_alone(changes: dict[str, object], timer_ms: int | None, busy: bool) -> None:
    assert violation(dataclasses.replace(OPEN, **changes), timer_ms, busy, NOW) == ""  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "timer_ms", "says"),
    [
        ({}, None, "no timer set"),
        ({"waiting": (("step", "charge", 5),)}, None, "no step in flight"),
        ({"waiting": (("code", "no such type", 5),)}, None, "waits for code"),
        ({"waiting": ()}, None, "waits for nothing"),
        ({}, NOW - LATE_MS - 1, "overdue"),
    ],
)
def test_what_nothing_will_wake_is_named(changes: dict[str, object], timer_ms: int | None, says: str) -> None:
    assert says in violation(dataclasses.replace(OPEN, **changes), timer_ms, False, NOW)  # type: ignore[arg-type]


def test_an_instance_whose_timer_entry_is_gone_is_woken_at_the_second_look(caplog: pytest.LogCaptureFixture) -> None:
    @sagas.saga
    async def sleeper() -> None:
        await sagas.sleep(100)

    async def scenario() -> None:
        woken: list[str] = []
        async with sagas.testing.environment() as env:
            handle = await env.client.start(sleeper, id="s")
            await env.settle()
            head = await env.store.head("s")
            assert head is not None
            await env.stop()
            claim = await env.store.claim(shard_of("s"), "host", 10)
            assert claim is not None
            without_timer = Transition(
                id="s",
                run_id=handle.run_id or "",
                version=1,
                chunk=None,
                head=head,
                timer_ms=None,
                busy=False,
                steps=None,
            )
            await env.store.commit(
                [Batch(shard=claim.shard, token=claim.token, sequence=claim.sequence + 1, transitions=(without_timer,))]
            )
            clock = VirtualClock(NOW)
            sweeper = Sweeper(env.store, clock, lambda _: True, woken.append, 1.0)
            await sweeper.sweep()
            assert (woken, sweeper.violations) == ([], 0)  # its commit may be on the way
            await sweeper.sweep()
            assert (woken, sweeper.violations) == (["s"], 1)

    with caplog.at_level(logging.CRITICAL, "sagas.engine"):
        asyncio.run(scenario())


LONG_AGO = NOW - LATE_MS - 1


@pytest.mark.parametrize(
    ("since_ms", "child", "says"),
    [
        (LONG_AGO, OPEN, ""),
        (LONG_AGO, dataclasses.replace(OPEN, closed_ms=NOW - 5), ""),  # the answer is on its way
        (NOW - 5, None, ""),  # the start is
        (LONG_AGO, None, "which there is not"),
        (LONG_AGO, dataclasses.replace(OPEN, closed_ms=LONG_AGO), "was not told"),
    ],
)
def test_a_child_that_is_waited_for_goes_on(since_ms: int, child: Head | None, says: str) -> None:
    why = bereft("c", since_ms, child, NOW)
    assert says in why
    assert bool(why) == bool(says)


def test_a_parent_whose_child_is_gone_is_named(caplog: pytest.LogCaptureFixture) -> None:
    @sagas.saga
    async def sleeper() -> None:
        await sagas.sleep(10_000)

    @sagas.saga
    async def parent() -> None:
        await asyncio.gather(sagas.child(sleeper, id="here"), sagas.child(sleeper, id="gone"))

    async def scenario() -> None:
        woken: list[str] = []
        async with sagas.testing.environment() as env:
            await env.client.start(parent, id="p")
            await env.advance(100)
            clock = VirtualClock(int(env.now.timestamp() * 1000))
            sweeper = Sweeper(env.store, clock, lambda _: True, woken.append, 1.0)
            await sweeper.sweep()
            await sweeper.sweep()
            assert woken == []
            del env.store._shards[shard_of("gone")].heads["gone"]
            await sweeper.sweep()
            await sweeper.sweep()
            assert (woken, sweeper.violations) == (["p"], 1)

    with caplog.at_level(logging.ERROR, "sagas.engine"):
        asyncio.run(scenario())
    assert "waits for child 'gone', which there is not" in caplog.text
