"""Events of messages from outside, and of those that could not be delivered to a handler."""

from __future__ import annotations

from typing import ClassVar

from sagas.kernel.events.base import Decision, Fact, tagged
from sagas.value import value


@tagged(40)
@value(frozen=True, slots=True)
class SignalReceived(Fact):
    """A signal reached the instance. ``args`` is an argument payload, ``trace`` the sender's traceparent."""

    message_id: str
    name: str
    args: bytes
    trace: str = ""


@tagged(41)
@value(frozen=True, slots=True)
class SignalDeadLettered(Decision):
    """No handler could take the signal; it is kept in the history until it is redelivered. ``ran``: one has tried."""

    IDENTITY: ClassVar[tuple[str, ...]] = ("message_id",)

    message_id: str
    name: str
    reason: str
    ran: bool = False


@tagged(45)
@value(frozen=True, slots=True)
class DeadLetterRedelivered(Fact):
    """Somebody asked for the dead letter of message ``letter`` to be applied again."""

    letter: str
    by: str = ""
    message_id: str = ""
