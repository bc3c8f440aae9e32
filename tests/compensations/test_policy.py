"""The retry policy: bounds of every delay, when it ends, and what it refuses."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compensations import ALERT_AFTER, UNDO, Retry

EVEN = 0.5  # the draw that leaves a delay as it is


def test_the_defaults_are_the_contract() -> None:
    assert Retry() == Retry(
        initial=1.0, backoff=2.0, max_interval=100.0, max_attempts=None, jitter=0.1, fatal=(), park_after=None
    )


def test_delays_double_up_to_the_longest_interval() -> None:
    delays = [Retry().delay(attempt, EVEN) for attempt in range(1, 10)]
    assert delays == [1, 2, 4, 8, 16, 32, 64, 100, 100]


@pytest.mark.parametrize(("draw", "delay"), [(0.0, 3.0), (0.25, 3.5), (0.5, 4.0), (0.75, 4.5)])
def test_jitter_stretches_and_shrinks_by_its_share(draw: float, delay: float) -> None:
    assert Retry(jitter=0.25).delay(3, draw) == delay


@pytest.mark.parametrize("attempt", [1_000, 10**6])
def test_a_high_attempt_does_not_overflow(attempt: int) -> None:
    assert Retry().delay(attempt, EVEN) == 100.0
    assert Retry(initial=0).delay(attempt, EVEN) == 0.0
    assert Retry(backoff=1).delay(attempt, EVEN) == 1.0
    assert Retry(initial=1e300, backoff=1e10, max_interval=1e305).delay(attempt, EVEN) == 1e305


@given(
    initial=st.floats(0, 1e6),
    stretch=st.floats(0, 1e6),
    backoff=st.floats(1, 1e3),
    jitter=st.floats(0, 1),
    failed=st.tuples(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True)),
)
def test_every_delay_is_within_its_bounds(
    initial: float, stretch: float, backoff: float, jitter: float, failed: tuple[int, float]
) -> None:
    attempt, draw = failed
    retry = Retry(initial=initial, max_interval=initial + stretch, backoff=backoff, jitter=jitter)
    assert initial * (1 - jitter) <= retry.delay(attempt, draw) <= retry.max_interval * (1 + jitter)
    assert initial <= retry.delay(attempt, EVEN) <= retry.delay(attempt + 1, EVEN) <= retry.max_interval


def test_timedeltas_are_seconds() -> None:
    retry = Retry(initial=timedelta(milliseconds=250), max_interval=timedelta(minutes=2))
    assert (retry.initial, retry.max_interval) == (0.25, 120.0)


@pytest.mark.parametrize(
    ("limit", "attempt", "over"), [(None, 10**6, False), (3, 2, False), (3, 3, True), (3, 4, True), (1, 1, True)]
)
def test_attempts_end_or_never_do(limit: int | None, attempt: int, over: bool) -> None:
    assert Retry(max_attempts=limit).exhausted(attempt) is over
    assert Retry(park_after=limit).parks(attempt) is over


def test_an_undo_is_tried_for_ever() -> None:
    assert UNDO.max_attempts is None
    assert UNDO.park_after is None
    assert not UNDO.exhausted(10**9)
    assert ALERT_AFTER == 10


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"initial": -1}, "initial"),
        ({"initial": float("nan")}, "initial"),
        ({"initial": "1"}, "initial"),
        ({"initial": True}, "initial"),
        ({"initial": timedelta(seconds=-1)}, "initial"),
        ({"initial": 200}, "max_interval"),
        ({"backoff": 0.5}, "backoff"),
        ({"backoff": float("inf")}, "backoff"),
        ({"max_interval": float("inf")}, "max_interval"),
        ({"max_interval": 0.5}, "max_interval"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 2.0}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"jitter": -0.1}, "jitter"),
        ({"jitter": 1.1}, "jitter"),
        ({"fatal": ("ValueError",)}, "fatal"),
        ({"fatal": (int,)}, "fatal"),
        ({"fatal": ValueError}, "fatal"),
        ({"fatal": [ValueError]}, "fatal"),
        ({"park_after": 0}, "park_after"),
        ({"park_after": 5, "max_attempts": 4}, "park_after"),
    ],
)
def test_a_senseless_policy_is_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named}"):
        Retry(**options)


@pytest.mark.parametrize(("attempt", "draw"), [(0, 0.5), (-1, 0.5), (1, 1.0), (1, -0.1)])
def test_a_delay_needs_an_attempt_and_a_draw(attempt: int, draw: float) -> None:
    with pytest.raises(ValueError, match="attempt"):
        Retry().delay(attempt, draw)


def test_it_is_a_value() -> None:
    retry = Retry(max_attempts=3, fatal=(KeyError,))
    assert hash(retry) == hash(Retry(max_attempts=3, fatal=(KeyError,)))
    assert pickle.loads(pickle.dumps(retry)) == retry
    assert replace(retry, max_attempts=5).fatal == (KeyError,)
    with pytest.raises(FrozenInstanceError):
        retry.initial = 2.0  # type: ignore[misc]
    with pytest.raises(ValueError, match="jitter"):
        replace(retry, jitter=7)
