"""What ``describe()`` and ``list()`` show of an instance: read from its head alone, no host needed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from compensations import Compensation
from sagas.engine.heads import public_status
from sagas.errors import HistoryError
from sagas.kernel.duration import EPOCH, from_ms
from sagas.kernel.state import Status
from sagas.payloads.sealing import opened_words
from sagas.store.head import decode_head
from sagas.store.port import Head


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """One thing it waits for: ``kind`` is "step", "timer", "child", "delivery", "message" or "code".

    ``at``: since when, or when due. ``what`` names the activity, the child's id, the target of a message.
    """

    kind: str
    what: str
    at: datetime

    def __str__(self) -> str:
        match self.kind:
            case "timer":
                return f"a timer, due {self.at:%Y-%m-%d %H:%M:%S %Z}"
            case "step":
                return f"step {self.what!r}, since {self.at:%Y-%m-%d %H:%M:%S %Z}"
            case "child":
                return f"child {self.what!r}, since {self.at:%Y-%m-%d %H:%M:%S %Z}"
            case "delivery":
                return f"a message to {self.what!r} to be delivered, since {self.at:%Y-%m-%d %H:%M:%S %Z}"
            case "callback":
                return f"callback {self.what}, since {self.at:%Y-%m-%d %H:%M:%S %Z}"
            case "code":
                return self.what
            case _:
                return f"a message, since {self.at:%Y-%m-%d %H:%M:%S %Z}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """An instance as the store has it. ``parked`` is the reason or None; ``closed`` None while it runs.

    ``continued_as``: the run that followed it in its chain. ``attempt``: which try of its arguments the run is, from 1.
    ``dead_letters``: signals that no handler could take, and that nobody has had applied again.
    """

    id: str
    run_id: str
    type: str
    status: Status
    compensation: Compensation
    parked: str | None
    paused: bool
    waiting_for: tuple[Wait, ...]
    started: datetime
    closed: datetime | None
    attributes: dict[str, Any]
    history_length: int
    continued_as: str | None = None
    attempt: int = 1
    dead_letters: int = 0


def describe(id: str, head: Head) -> Description:
    """The public view of a head."""
    return Description(
        id=id,
        run_id=head.run_id,
        type=head.type,
        status=public_status(head.status),
        compensation=Compensation(head.compensation),
        parked=opened_words(head.parked) or None,
        paused=head.paused,
        waiting_for=tuple(Wait(kind=kind, what=opened_words(what), at=from_ms(at)) for kind, what, at in head.waiting),
        started=from_ms(head.started_ms),
        closed=from_ms(head.closed_ms) if head.closed_ms else None,
        attributes=dict(head.attributes),
        history_length=head.events,
        attempt=head.attempt,
        dead_letters=head.letters,
    )


def describe_stored(id: str, stored: bytes, index: str) -> Description:
    """``describe`` of a stored head that was found through ``index``; never raises, so that a page is always whole.

    No host can run an instance whose head it cannot read, so an operator must see it among those that need help: it is
    described as parked, with the reason, as far as the index says (the epoch for its start, "" for what is unknown).
    """
    try:
        return describe(id, decode_head(stored))
    except HistoryError as error:
        kind, _, value = index.partition(":")
        return Description(
            id=id,
            run_id="",
            type=value if kind == "type" else "",
            status=Status(value) if kind == "status" else Status.RUNNING,
            compensation=Compensation.NONE,
            parked=str(error),
            paused=False,
            waiting_for=(),
            started=EPOCH,
            closed=None,
            attributes={},
            history_length=0,
        )
