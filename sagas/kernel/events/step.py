"""Events of steps: an activity asked for, and what became of it."""

from __future__ import annotations

from typing import Any, ClassVar

from sagas.kernel.events.base import Decision, Fact, tagged
from sagas.kernel.events.run import FailureRow
from sagas.value import value


@tagged(20)
@value(frozen=True, slots=True)
class StepScheduled(Decision):
    """The saga called an activity. ``options`` holds what this call overrides; ``scope`` is 0 outside any."""

    IDENTITY: ClassVar[tuple[str, ...]] = ("step", "activity")

    step: int
    activity: str
    args: bytes
    options: dict[str, Any] | None = None
    scope: int = 0


@tagged(21)
@value(frozen=True, slots=True)
class StepCompleted(Fact):
    """The activity returned; ``result`` is an encoded value, ``attempt`` the one that succeeded.

    ``errors`` are the failed attempts, the last ten: (attempt, at_ms, type, message, started_ms), of older versions
    without the last. ``started_ms``: when ``attempt`` began, 0 where that is not known.
    """

    step: int
    attempt: int
    result: bytes
    errors: tuple[Any, ...] = ()
    started_ms: int = 0


@tagged(22)
@value(frozen=True, slots=True)
class StepFailed(Fact):
    """The step failed for good after ``attempt`` attempts; the last of them is among ``errors`` too."""

    step: int
    attempt: int
    failure: FailureRow
    errors: tuple[Any, ...] = ()
    started_ms: int = 0


@tagged(23)
@value(frozen=True, slots=True)
class StepCancelRequested(Decision):
    """The saga no longer waits for the step; its outcome still arrives."""

    IDENTITY: ClassVar[tuple[str, ...]] = ("step",)

    step: int
