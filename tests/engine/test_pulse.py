"""Heartbeats of one attempt: however often it beats, its details leave seldom, and the last ones always."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sagas.engine.clock import VirtualClock
from sagas.engine.pulse import Pulse


class Beating:
    """A pulse in virtual time, and what has left it: (when, details)."""

    def __init__(self, timeout_ms: int | None = None) -> None:
        self.clock = VirtualClock(0)
        self.left: list[tuple[int, bytes]] = []
        self.pulse = Pulse(self.clock, timeout_ms, lambda details: self.left.append((self.clock.now_ms(), details)))
        self.pulse.begin()

    async def at(self, now_ms: int) -> None:
        self.clock.set(now_ms)
        for _ in range(3):
            await asyncio.sleep(0)


def play(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


@pytest.mark.parametrize(("timeout_ms", "interval_ms"), [(None, 1000), (9000, 1000), (1500, 500)])
def test_a_hot_loop_is_heard_once_an_interval_with_its_latest_details(timeout_ms: int | None, interval_ms: int) -> None:
    async def scenario() -> None:
        beating = Beating(timeout_ms)
        for now in range(0, 2 * interval_ms + 1, interval_ms // 10):
            for each in range(100):
                beating.pulse.beat(b"%d/%d" % (now, each))
            await beating.at(now)
        first, second, third = beating.left
        assert first == (0, b"0/99")
        # The alarm rings at the interval's end, with what was told just before.
        assert [second[0], third[0]] == [interval_ms, 2 * interval_ms]
        assert third[1] == b"%d/99" % (2 * interval_ms)

    play(scenario)


def test_the_last_details_leave_although_nothing_follows() -> None:
    async def scenario() -> None:
        beating = Beating()
        beating.pulse.beat(b"1")
        await beating.at(1)
        beating.pulse.beat(b"2")
        await beating.at(2)
        assert beating.left == [(1, b"1")]
        await beating.at(5000)
        assert beating.left == [(1, b"1"), (5000, b"2")]

    play(scenario)


def test_beats_that_say_nothing_new_leave_nothing() -> None:
    async def scenario() -> None:
        beating = Beating()
        beating.pulse.beat(b"1")
        await beating.at(1)
        for now in range(1000, 9000, 1000):
            beating.pulse.beat(None)
            beating.pulse.beat(b"1")
            await beating.at(now)
        assert beating.left == [(1, b"1")]

    play(scenario)


def test_after_the_end_nothing_leaves_and_code_that_goes_on_is_told() -> None:
    async def scenario() -> None:
        beating = Beating()
        beating.pulse.beat(b"1")
        beating.pulse.end()
        await beating.at(5000)
        assert beating.left == []
        with pytest.raises(asyncio.CancelledError):
            beating.pulse.beat(b"2")
        assert beating.clock.next_alarm_ms() is None

    play(scenario)


def test_a_thread_that_beats_after_its_loop_has_closed_goes_on() -> None:
    pulses: list[Pulse] = []

    async def scenario() -> None:
        pulses.append(Beating().pulse)

    play(scenario)
    pulses[0].beat(b"1")
    assert pulses[0].details == b"1"
