"""Events of durable timers: every sleep, timeout and deadline of saga code is one."""

from __future__ import annotations

from typing import ClassVar

from sagas.kernel.events.base import Decision, Fact, tagged
from sagas.value import value


@tagged(30)
@value(frozen=True, slots=True)
class TimerSet(Decision):
    """The code sleeps until ``due_ms``. The time is not compared on replay: a changed delay is no other program."""

    IDENTITY: ClassVar[tuple[str, ...]] = ("timer",)

    timer: int
    due_ms: int


@tagged(31)
@value(frozen=True, slots=True)
class TimerFired(Fact):
    """The timer fell due; ``at_ms`` less its due time is the lag."""

    timer: int


@tagged(32)
@value(frozen=True, slots=True)
class TimerCancelled(Decision):
    """The code no longer waits for the timer."""

    IDENTITY: ClassVar[tuple[str, ...]] = ("timer",)

    timer: int
