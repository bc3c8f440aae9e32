"""Durations and instants at the border: users give seconds or a timedelta; inside, all is integer milliseconds."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from sagas.errors import InvalidArgument

type_name = "seconds (int or float) or a timedelta"
_DAY_S = 86_400
Duration = float | int | timedelta
"""Seconds, or a timedelta."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
END_MS = 253_402_300_799_999
"""The last millisecond a datetime can hold (9999-12-31); no timer falls due later."""
_MILLISECOND = timedelta(milliseconds=1)


def to_ms(duration: Duration, what: str = "duration") -> int:
    """Milliseconds of ``duration``, rounded up. Raises: InvalidArgument when it is negative, endless or none."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidArgument(f"{what} must be {type_name}, not {type(duration).__name__}")
    if not math.isfinite(seconds) or seconds < 0:
        raise InvalidArgument(f"{what} must be a finite duration of 0 or more, not {seconds!r}")
    return ceil_ms(seconds)


def optional_ms(duration: Duration | None, what: str) -> int | None:
    """As ``to_ms``; None stays None (no limit). A limit of 0 is refused: it could never be kept."""
    if duration is None:
        return None
    ms = to_ms(duration, what)
    if ms == 0:
        raise InvalidArgument(f"{what} must be longer than 0; leave it out for no limit")
    return ms


def retention_ms(retention: float | timedelta | None) -> int | None:
    """Milliseconds of a retention, of which a plain number counts days; None: for ever. Raises: InvalidArgument."""
    if isinstance(retention, int | float) and not isinstance(retention, bool):
        retention *= _DAY_S
    return None if retention is None else to_ms(retention, "retention")


def ceil_ms(seconds: float) -> int:
    """Whole milliseconds, rounded up; the slack absorbs what binary floats lose on epoch-sized values."""
    return math.ceil(seconds * 1000 - 1e-3)


def instant_ms(when: datetime | float) -> int:
    """Milliseconds of the epoch of an aware datetime or a POSIX timestamp.

    Raises: InvalidArgument for a naive datetime, whose instant nobody knows.
    """
    if isinstance(when, datetime):
        if when.tzinfo is None:
            raise InvalidArgument(
                f"{when!r} has no time zone: give an aware datetime, e.g. sagas.now() + timedelta(...)"
            )
        return -((EPOCH - when) // _MILLISECOND)
    return ceil_ms(when)


def from_ms(ms: int) -> datetime:
    """The aware UTC datetime of epoch milliseconds."""
    return EPOCH + ms * _MILLISECOND
