"""Durations at the border: whole milliseconds, never too early, and nothing that no clock can reach."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagas.errors import InvalidArgument
from sagas.kernel.duration import END_MS, ceil_ms, from_ms, instant_ms, optional_ms, to_ms


@pytest.mark.parametrize(
    ("given_", "ms"),
    [
        (0, 0),
        (1, 1000),
        (0.5, 500),
        (0.0001, 1),
        (0.0015, 2),
        (1.1, 1100),
        (timedelta(days=31), 2_678_400_000),
        (timedelta(milliseconds=3), 3),
        (timedelta(microseconds=3001), 4),
    ],
)
def test_durations_are_rounded_up_to_milliseconds(given_: Any, ms: int) -> None:
    assert to_ms(given_) == ms


@pytest.mark.parametrize("wrong", [-1, -0.001, math.inf, -math.inf, math.nan, timedelta(seconds=-1)])
def test_a_duration_nobody_can_wait_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="timeout must be a finite duration of 0 or more"):
        to_ms(wrong, "timeout")


@pytest.mark.parametrize("wrong", ["1", None, True, Decimal(1), [1]])
def test_what_is_no_duration_is_refused_by_type(wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="seconds"):
        to_ms(wrong)


def test_a_limit_of_none_is_none_and_of_zero_is_refused() -> None:
    assert optional_ms(None, "timeout") is None
    assert optional_ms(2, "timeout") == 2000
    with pytest.raises(InvalidArgument, match="longer than 0"):
        optional_ms(0, "timeout")


@given(st.integers(0, 10**12))
def test_whole_milliseconds_survive_floats(ms: int) -> None:
    assert ceil_ms(ms / 1000) == ms
    assert to_ms(timedelta(milliseconds=ms)) == ms


@given(st.integers(0, 4_102_444_800_000), st.integers(0, 10**9))
def test_a_clock_plus_a_delay_is_exact_in_floats(now_ms: int, delay_ms: int) -> None:
    # What a loop does: time() in seconds, plus a delay in seconds, back to milliseconds.
    assert ceil_ms(now_ms / 1000 + delay_ms / 1000) == now_ms + delay_ms


@given(st.datetimes(timezones=st.just(UTC)).filter(lambda when: when.year < 9999))
def test_instants_are_rounded_up_and_come_back(aware: datetime) -> None:
    ms = instant_ms(aware)
    assert timedelta(0) <= from_ms(ms) - aware < timedelta(milliseconds=1)
    assert instant_ms(from_ms(ms)) == ms


def test_an_instant_is_the_same_in_every_zone() -> None:
    utc = datetime(2024, 7, 1, 12, tzinfo=UTC)
    assert instant_ms(utc) == instant_ms(utc.astimezone(timezone(timedelta(hours=-7)))) == instant_ms(utc.timestamp())


def test_a_naive_datetime_has_no_instant() -> None:
    with pytest.raises(InvalidArgument, match="no time zone"):
        instant_ms(datetime(2024, 7, 1, tzinfo=UTC).replace(tzinfo=None))


def test_the_end_of_time_is_still_a_datetime() -> None:
    assert from_ms(END_MS).year == 9999
    with pytest.raises(OverflowError):
        from_ms(END_MS + 1)
