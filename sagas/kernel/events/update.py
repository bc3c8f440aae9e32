"""Events of updates: messages whose senders wait for an answer.

An update that its validator rejects leaves no event. One that came while no code ran (parked, paused, no host knows the
type) is recorded unvalidated, because receiving is not running; its validator is asked when the code runs again.
"""

from __future__ import annotations

from typing import ClassVar

from sagas.kernel.events.base import Decision, Fact, tagged
from sagas.kernel.events.run import FailureRow
from sagas.value import value


@tagged(42)
@value(frozen=True, slots=True)
class UpdateAccepted(Fact):
    """The validator accepted an update: its handler runs, and its outcome will be recorded.

    ``args`` is an argument payload, ``reply_to`` the sender's channel, ``trace`` its traceparent.
    """

    message_id: str
    name: str
    args: bytes
    reply_to: str = ""
    trace: str = ""


@tagged(43)
@value(frozen=True, slots=True)
class UpdateCompleted(Decision):
    """The handler returned; ``result`` is an encoded value."""

    IDENTITY: ClassVar[tuple[str, ...]] = ("message_id",)

    message_id: str
    result: bytes


@tagged(44)
@value(frozen=True, slots=True)
class UpdateFailed(Decision):
    """The handler raised: an error for the sender alone."""

    IDENTITY: ClassVar[tuple[str, ...]] = ("message_id",)

    message_id: str
    failure: FailureRow


@tagged(46)
@value(frozen=True, slots=True)
class UpdateReceived(Fact):
    """An update came while no code ran; whether it is accepted is found out when it does. Fields: UpdateAccepted's."""

    message_id: str
    name: str
    args: bytes
    reply_to: str = ""
    trace: str = ""


@tagged(47)
@value(frozen=True, slots=True)
class UpdateRefused(Decision):
    """The validator rejected an update that had been recorded while no code ran."""

    IDENTITY: ClassVar[tuple[str, ...]] = ("message_id",)

    message_id: str
    reason: str
