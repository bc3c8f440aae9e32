"""Events of undoing: a scope that unwinds, and each undo with its action."""

from __future__ import annotations

from typing import Any, ClassVar

from sagas.kernel.events.base import Decision, Fact, tagged
from sagas.kernel.events.run import FailureRow
from sagas.value import value


@tagged(50)
@value(frozen=True, slots=True)
class CompensationStarted(Decision):
    """A scope began to undo; ``reason`` is the error that made it."""

    IDENTITY: ClassVar[tuple[str, ...]] = ("scope",)

    scope: int
    reason: str


@tagged(51)
@value(frozen=True, slots=True)
class CompensationScheduled(Decision):
    """The undo of step ``undo_of`` was asked for; it is a step of its own, with its own number and key."""

    IDENTITY: ClassVar[tuple[str, ...]] = ("step", "activity", "undo_of")

    step: int
    activity: str
    args: bytes
    undo_of: int
    scope: int
    options: dict[str, Any] | None = None


@tagged(52)
@value(frozen=True, slots=True)
class CompensationCompleted(Fact):
    """The undo was done; ``errors`` and ``started_ms`` as in ``StepCompleted``."""

    step: int
    attempt: int
    errors: tuple[Any, ...] = ()
    started_ms: int = 0


@tagged(53)
@value(frozen=True, slots=True)
class CompensationFailed(Fact):
    """The undo's own policy gave up: it is stuck until an operator acts."""

    step: int
    attempt: int
    failure: FailureRow
    errors: tuple[Any, ...] = ()
    started_ms: int = 0


@tagged(54)
@value(frozen=True, slots=True)
class CompensationEnded(Decision):
    """The scope has undone all it had to."""

    IDENTITY: ClassVar[tuple[str, ...]] = ("scope",)

    scope: int
