"""Heartbeats of many steps of one instance cost one write an interval, and each step keeps its latest details."""

from __future__ import annotations

import asyncio

from sagas.engine.clock import VirtualClock
from sagas.engine.hearing import Hearing
from sagas.engine.steps import Heartbeat, StepKey


def beat(id: str, step: int, details: bytes) -> Heartbeat:
    return Heartbeat(id, "run", step, 1, details)


def test_the_first_is_kept_at_once_and_the_latest_of_each_step_when_the_interval_is_over() -> None:
    kept: list[tuple[int, list[tuple[str, int, bytes]]]] = []
    clock = VirtualClock(0)

    async def scenario() -> None:
        hearing = Hearing(
            clock, lambda beats: kept.append((clock.now_ms(), [(each.id, each.step, each.details) for each in beats]))
        )
        hearing.hear(beat("a", 1, b"1"))
        for number in range(2, 100):
            hearing.hear(beat("a", number % 3, b"%d" % number))
        hearing.hear(beat("b", 1, b"x"))
        assert kept == [(0, [("a", 1, b"1")]), (0, [("b", 1, b"x")])]
        clock.set(1000)
        await asyncio.sleep(0)
        assert kept[2:] == [(1000, [("a", 2, b"98"), ("a", 0, b"99"), ("a", 1, b"97")])]
        hearing.hear(beat("a", 1, b"last"))
        hearing.ending(StepKey("a", "run", 1))
        hearing.ending(StepKey("a", "run", 1))
        assert kept[3:] == [(1000, [("a", 1, b"last")])]
        clock.set(2000)
        await asyncio.sleep(0)
        assert clock.next_alarm_ms() is None  # who is silent costs nothing
        hearing.hear(beat("a", 1, b"end"))
        assert kept[-1] == (2000, [("a", 1, b"end")])

    asyncio.run(scenario())
