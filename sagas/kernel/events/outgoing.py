"""Events of messages to other instances: one sent, and what its target's door said.

A sent message is durable with the commit that records it. It cannot be withdrawn: the run may end, be cancelled or be
terminated before the answer comes, and it is delivered all the same.
"""

from __future__ import annotations

from typing import ClassVar

from sagas.kernel.events.base import Decision, Fact, tagged
from sagas.value import value

SIGNAL, CANCEL = "signal", "cancel"
"""The kinds of messages that a saga sends to another one."""

NOT_FOUND, CLOSED = "not_found", "closed"
"""Why a target's door refuses one for good."""


@tagged(60)
@value(frozen=True, slots=True)
class MessageSent(Decision):
    """The code told another instance something.

    ``kind`` SIGNAL: ``name`` is the signal's, ``args`` its argument payload. CANCEL: ``reason`` is all it says.
    ``child`` is the number of the child it is for: nobody else who has its id takes it; 0 for any instance.
    """

    IDENTITY: ClassVar[tuple[str, ...]] = ("number", "kind", "target", "name")

    number: int
    target: str
    kind: str
    name: str
    args: bytes
    reason: str = ""
    child: int = 0


@tagged(61)
@value(frozen=True, slots=True)
class MessageDelivered(Fact):
    """The message is durable in its target's mailbox; what becomes of it there, its sender is not told."""

    number: int


@tagged(62)
@value(frozen=True, slots=True)
class MessageRefused(Fact):
    """The target took no message. ``reason``: NOT_FOUND, or CLOSED with ``status``, how its run had ended."""

    number: int
    reason: str
    status: str = ""
