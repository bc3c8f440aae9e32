"""Events of child sagas: one that the code began, what the door of its instance said, and how it ended.

The start is durable with the commit that records it, and cannot be withdrawn: it leaves through the outbox, as every
message does. The child's end comes back the same way, from the commit in which the child closes.
"""

from __future__ import annotations

from typing import ClassVar, Final

from sagas.kernel.events.base import Decision, Fact, tagged
from sagas.kernel.events.run import FailureRow
from sagas.value import value

TERMINATE_CHILD: Final = "terminate"
CANCEL_CHILD: Final = "cancel"
ABANDON_CHILD: Final = "abandon"
"""What becomes of an open child when its parent ends."""


@tagged(70)
@value(frozen=True, slots=True)
class ChildScheduled(Decision):
    """The code began a child: run ``run_id`` of instance ``id``, which follows from the parent's run and ``number``."""

    IDENTITY: ClassVar[tuple[str, ...]] = ("number", "type")

    number: int
    id: str
    run_id: str
    type: str
    args: bytes
    on_parent_close: str = TERMINATE_CHILD


@tagged(71)
@value(frozen=True, slots=True)
class ChildStarted(Fact):
    """Its start is durable in its mailbox, whether or not a host is up."""

    number: int


@tagged(72)
@value(frozen=True, slots=True)
class ChildRefused(Fact):
    """There is no such child: its id is taken by the run ``run_id``, which stands at ``status``."""

    number: int
    run_id: str
    status: str


@tagged(73)
@value(frozen=True, slots=True)
class ChildCompleted(Fact):
    """The child returned; ``result`` is an encoded value."""

    number: int
    id: str
    result: bytes


@tagged(74)
@value(frozen=True, slots=True)
class ChildFailed(Fact):
    """The child ended otherwise: ``status`` says how. ``failure`` of a failed one; ``reason`` of all others."""

    number: int
    id: str
    status: str
    failure: FailureRow = ()
    reason: str = ""
