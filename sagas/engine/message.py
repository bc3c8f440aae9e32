"""What travels through a mailbox: a request to an instance, or a report, as msgpack, with explicit integer tags.

Law: a body is written by a client or a worker and read by any later host; fields are added only at the end, and have
a default.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import msgpack

from sagas.errors import HistoryError


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """The envelope every kind shares. ``trace`` is the sender's W3C traceparent, or ""."""

    TAG: ClassVar[int] = 0
    message_id: str
    trace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(Message):
    """Begin a run: ``delay_ms`` after its start is recorded; ``parent`` and ``seed`` as in ``RunStarted``.

    ``prefix``: chunks of another run's history, to go on from there; type, args and attributes are those in it then.
    """

    TAG: ClassVar[int] = 1
    run_id: str
    type: str
    args: bytes
    attributes: dict[str, Any] = field(default_factory=dict)
    delay_ms: int = 0
    parent: tuple[Any, ...] = ()
    seed: str = ""
    prefix: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal(Message):
    """Call a signal handler. ``parent``, here and below: only of the child of that decision (``RunStarted.parent``)."""

    TAG: ClassVar[int] = 2
    name: str
    args: bytes
    parent: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Query(Message):
    """Ask a query handler; the answer goes to the channel ``reply_to``."""

    TAG: ClassVar[int] = 3
    name: str
    args: bytes
    reply_to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel(Message):
    """Ask the run to cancel."""

    TAG: ClassVar[int] = 4
    reason: str
    parent: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminate(Message):
    """End the run at once; no code runs. ``successor``: the run that goes on in its place."""

    TAG: ClassVar[int] = 5
    reason: str
    parent: tuple[Any, ...] = ()
    successor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume(Message):
    """Let a parked or paused run go on."""

    TAG: ClassVar[int] = 6
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Message):
    """Record mail from now on, but run no code."""

    TAG: ClassVar[int] = 7
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported(Message):
    """What became of an attempt whose host was gone; ``report`` as in ``steps.encode_report``."""

    TAG: ClassVar[int] = 8
    report: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildAnswer(Message):
    """How a child ended, to the run that began it by its decision ``number``.

    ``status`` as in ``state.Status``; ``result`` of a completed one, ``failure`` of a failed one, else ``reason``.
    """

    TAG: ClassVar[int] = 13
    run_id: str
    number: int
    child: str
    status: str
    result: bytes = b""
    failure: tuple[Any, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update(Message):
    """Call an update handler; its outcome goes to the channel ``reply_to``."""

    TAG: ClassVar[int] = 9
    name: str
    args: bytes
    reply_to: str

    @property
    def update_id(self) -> str:
        """Under which its outcome is recorded."""
        return self.message_id


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAsked(Message):
    """What became of the update ``update_id``, which was sent to ``run_id``? One that nobody knows is taken now."""

    TAG: ClassVar[int] = 10
    update_id: str
    run_id: str
    name: str
    args: bytes
    reply_to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete(Message):
    """Remove the instance, if ``run_id`` is its run still and has ended: its earlier runs go with it."""

    TAG: ClassVar[int] = 14
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackAnswered(Message):
    """Somebody answered callback ``number`` of a run: with ``failure`` (a row), or else with ``result``."""

    TAG: ClassVar[int] = 11
    run_id: str
    number: int
    secret: bytes
    result: bytes = b""
    failure: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeliver(Message):
    """Apply the dead letter of message ``letter`` again."""

    TAG: ClassVar[int] = 12
    letter: str
    by: str = ""


_KINDS: dict[int, type[Message]] = {
    kind.TAG: kind
    for kind in (
        *(Start, Signal, Query, Cancel, Terminate, Resume, Pause, Reported),
        *(Update, UpdateAsked, CallbackAnswered, Redeliver, ChildAnswer, Delete),
    )
}


def encode_message(message: Message) -> bytes:
    """As put into a mailbox."""
    values = [getattr(message, each.name) for each in fields(message)]
    packed: bytes = msgpack.packb((message.TAG, *values))
    return packed


def decode_message(body: bytes) -> Message:
    """The typed form of a mailbox entry.

    Raises: HistoryError when the bytes are damaged or of a newer version; the entry stays in the mailbox then.
    """
    try:
        tag, *values = msgpack.unpackb(body, strict_map_key=False)
        kind = _KINDS[tag]
        names = [each.name for each in fields(kind)]
        if len(values) > len(names):
            raise KeyError(tag)
        return kind(**dict(zip(names, values, strict=False)))
    except (KeyError, TypeError) as error:
        raise HistoryError("a message of a newer version is in the mailbox: upgrade this host") from error
    except Exception as error:
        raise HistoryError(f"a message of {len(body)} bytes is damaged: {error}") from error


OPEN, RECORDED, REJECTED, CLOSED = "open", "recorded", "rejected", "closed"
"""How an update stands, where the answer is no outcome: it goes on; its outcome is in the history of ``Reply.run_id``;
its validator refused it (``error`` says why); the run ended without it (``error`` says how)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to a query or an update: an encoded value, or the error's (cause_type, message).

    ``message_id`` is the query's, or the update's whoever asked. ``standing`` of an update: see OPEN.
    """

    message_id: str
    value: bytes | None = None
    error: tuple[str, str] | None = None
    standing: str = ""
    run_id: str = ""

    def encode(self) -> bytes:
        """As published on the asker's channel."""
        more = (self.standing, self.run_id) if self.standing else ()
        packed: bytes = msgpack.packb((self.message_id, self.value, self.error, *more))
        return packed

    @classmethod
    def decode(cls, payload: bytes) -> Reply:
        """The typed form of a published reply."""
        message_id, value, error, *more = msgpack.unpackb(payload, use_list=False)
        standing, run_id = more[:2] or ("", "")
        return cls(message_id=message_id, value=value, error=error, standing=standing, run_id=run_id)
