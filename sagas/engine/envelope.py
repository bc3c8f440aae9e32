"""A message from one instance to another, as it lies in the outbox: whom it is for, and who sent it."""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

from sagas.engine.message import Cancel, Message, Signal, encode_message
from sagas.errors import HistoryError
from sagas.kernel.events import SIGNAL, MessageSent
from sagas.kernel.outgoing import message_id_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What the outbox holds: the message, whom it is for, and which decision of which run sent it."""

    sender: str
    run_id: str
    number: int
    target: str
    message_id: str
    mail: bytes

    def encode(self) -> bytes:
        """As the outbox holds it."""
        row = (self.sender, self.run_id, self.number, self.target, self.message_id, self.mail)
        packed: bytes = msgpack.packb(row)
        return packed

    @classmethod
    def decode(cls, body: bytes) -> Envelope:
        """The typed form of an outbox entry's body. Raises: HistoryError when it is damaged, or of a newer version."""
        try:
            sender, run_id, number, target, message_id, mail = msgpack.unpackb(body)
        except Exception as error:
            raise HistoryError(f"an envelope of {len(body)} bytes cannot be read: {error}") from error
        return cls(sender=sender, run_id=run_id, number=number, target=target, message_id=message_id, mail=mail)


def envelope_of(sender: str, run_id: str, sent: MessageSent, trace: str) -> Envelope:
    """The envelope of a message that a run has decided to send."""
    message_id = message_id_of(run_id, sent.number)
    message: Message
    if sent.kind == SIGNAL:
        message = Signal(message_id=message_id, trace=trace, name=sent.name, args=sent.args)
    else:
        message = Cancel(message_id=message_id, trace=trace, reason=sent.reason)
    return Envelope(
        sender=sender,
        run_id=run_id,
        number=sent.number,
        target=sent.target,
        message_id=message_id,
        mail=encode_message(message),
    )
