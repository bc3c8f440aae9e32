"""A message from one instance to another, as it lies in the outbox: whom it is for, and who sent it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, cast

import msgpack

from sagas.engine.message import Cancel, Message, Signal, Start, encode_message
from sagas.errors import HistoryError
from sagas.kernel.events import SIGNAL, ChildScheduled, MessageSent
from sagas.kernel.outgoing import message_id_of

Kind = Literal["message", "start"]
MESSAGE: Final = "message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What the outbox holds: the message, whom it is for, and which decision of which run sent it (0: its end did).

    ``kind`` as in ``Admission``; ``run``: the run to start, or the only one that may have the message ("" any).
    """

    sender: str
    run_id: str
    number: int
    target: str
    message_id: str
    mail: bytes
    kind: Kind = MESSAGE
    run: str = ""

    def encode(self) -> bytes:
        """As the outbox holds it."""
        row = (self.sender, self.run_id, self.number, self.target, self.message_id, self.mail)
        packed: bytes = msgpack.packb((*row, self.kind, self.run) if self.run else row)
        return packed

    @classmethod
    def decode(cls, body: bytes) -> Envelope:
        """The typed form of an outbox entry's body. Raises: HistoryError when it is damaged, or of a newer version."""
        try:
            sender, run_id, number, target, message_id, mail, *added = msgpack.unpackb(body)
            kind, run = added or (MESSAGE, "")
        except Exception as error:
            raise HistoryError(f"an envelope of {len(body)} bytes cannot be read: {error}") from error
        return cls(
            sender=sender,
            run_id=run_id,
            number=number,
            target=target,
            message_id=message_id,
            mail=mail,
            kind=cast("Kind", kind),
            run=run,
        )


def envelope_of(sender: str, run_id: str, sent: MessageSent | ChildScheduled, trace: str) -> Envelope:
    """The envelope of a message that a run has decided to send, or of the start of a child."""
    kind: Kind = MESSAGE
    run = ""
    message_id = message_id_of(run_id, sent.number)
    message: Message
    if isinstance(sent, ChildScheduled):
        parent: tuple[str | int, ...] = (sender, run_id, sent.number)
        message = Start(
            message_id=message_id, trace=trace, run_id=sent.run_id, type=sent.type, args=sent.args, parent=parent
        )
        target, kind, run = sent.id, "start", sent.run_id
    else:
        parent = (sender, run_id, sent.child) if sent.child else ()
        if sent.kind == SIGNAL:
            message = Signal(message_id=message_id, trace=trace, name=sent.name, args=sent.args, parent=parent)
        else:
            message = Cancel(message_id=message_id, trace=trace, reason=sent.reason, parent=parent)
        target = sent.target
    return Envelope(
        sender=sender,
        run_id=run_id,
        number=sent.number,
        target=target,
        message_id=message_id,
        mail=encode_message(message),
        kind=kind,
        run=run,
    )
