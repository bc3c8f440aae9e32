"""When a step or an undo that failed is tried again; every delay between two attempts is decided here.

Law: pure. Whoever asks brings the number of the attempt and the random draw, so a replay gets the same answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

ALERT_AFTER = 10
"""A step or undo still failing after so many attempts shows in the attention inbox, however long it may go on."""


@dataclass(frozen=True, slots=True, init=False)
class Retry:
    """A retry policy: exponential back-off up to ``max_interval``, spread by ``jitter``.

    ``initial``, ``max_interval``: seconds (a timedelta is converted). ``backoff``: factor from one delay to the
    next, at least 1. ``max_attempts``: attempts in all, None for ever. ``jitter``: share by which a delay is
    stretched or shrunk at random, 0 to 1; with it a delay may pass ``max_interval``. ``fatal``: exception classes that
    are never retried. ``park_after``: park the instance after so many attempts instead of failing the step.

    Raises: ValueError for a policy that makes no sense, naming the field.
    """

    initial: float
    backoff: float
    max_interval: float
    max_attempts: int | None
    jitter: float
    fatal: tuple[type[BaseException], ...]
    park_after: int | None

    # Written out, because the constructor also accepts a timedelta where the fields hold seconds only.
    def __init__(
        self,
        *,
        initial: float | timedelta = 1.0,
        backoff: float = 2.0,
        max_interval: float | timedelta = 100.0,
        max_attempts: int | None = None,
        jitter: float = 0.1,
        fatal: tuple[type[BaseException], ...] = (),
        park_after: int | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "initial", _number("initial", _seconds(initial), low=0.0))
        put(self, "backoff", _number("backoff", backoff, low=1.0))
        put(self, "max_interval", _number("max_interval", _seconds(max_interval), low=0.0))
        put(self, "max_attempts", _count("max_attempts", max_attempts))
        put(self, "jitter", _number("jitter", jitter, low=0.0, high=1.0))
        put(self, "fatal", _exceptions(fatal))
        put(self, "park_after", _count("park_after", park_after))
        self.__post_init__()

    def __post_init__(self) -> None:
        if self.max_interval < self.initial:
            raise ValueError(
                f"max_interval ({self.max_interval:g} s) must be at least initial ({self.initial:g} s): give both"
            )
        if self.max_attempts is not None and self.park_after is not None and self.park_after > self.max_attempts:
            raise ValueError(
                f"park_after ({self.park_after}) is never reached with max_attempts={self.max_attempts}: give only one"
            )

    def delay(self, attempt: int, draw: float) -> float:
        """Seconds to wait before attempt ``attempt + 1``, after ``attempt`` (from 1) failed; ``draw`` in [0, 1)."""
        if attempt < 1 or not 0.0 <= draw < 1.0:
            raise ValueError(f"attempt must be at least 1 and draw in [0, 1), not {attempt} and {draw}")
        return self._interval(attempt) * (1.0 + self.jitter * (2.0 * draw - 1.0))

    def _interval(self, attempt: int) -> float:
        if self.initial == 0.0:  # before the power: 0 times an overflow is still 0
            return 0.0
        try:
            return min(self.initial * self.backoff ** (attempt - 1), self.max_interval)
        except OverflowError:
            return self.max_interval

    def exhausted(self, attempt: int) -> bool:
        """Whether ``attempt`` was the last one: the step fails, an undo is stuck."""
        return self.max_attempts is not None and attempt >= self.max_attempts

    def parks(self, attempt: int) -> bool:
        """Whether the instance parks after ``attempt`` failed; asked before ``exhausted``."""
        return self.park_after is not None and attempt >= self.park_after


def _seconds(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _number(name: str, value: float, *, low: float, high: float = math.inf) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and math.isfinite(value) and low <= value <= high):
        bounds = f"of at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
        raise ValueError(f"{name} must be a finite number {bounds}, not {value!r}")
    return float(value)


def _count(name: str, value: int | None) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"{name} must be None or a whole number of at least 1, not {value!r}")
    return value


def _exceptions(value: tuple[type[BaseException], ...]) -> tuple[type[BaseException], ...]:
    if isinstance(value, tuple) and all(isinstance(cls, type) and issubclass(cls, BaseException) for cls in value):
        return value
    raise ValueError(f"fatal must be a tuple of exception classes, not {value!r}")


UNDO = Retry()
"""How an undo is retried unless it says otherwise: for ever, because giving up leaves an effect in the world."""
