"""What ``describe()`` and ``list()`` show of an instance: read from its head alone, no host needed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from compensations import Compensation
from sagas.engine.heads import public_status
from sagas.kernel.duration import from_ms
from sagas.kernel.state import Status
from sagas.store.port import Head


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """One thing it waits for: ``kind`` is "step", "timer", "message" or "code"; ``at`` since when, or when due."""

    kind: str
    what: str
    at: datetime

    def __str__(self) -> str:
        match self.kind:
            case "timer":
                return f"a timer, due {self.at:%Y-%m-%d %H:%M:%S %Z}"
            case "step":
                return f"step {self.what!r}, since {self.at:%Y-%m-%d %H:%M:%S %Z}"
            case "code":
                return self.what
            case _:
                return f"a message, since {self.at:%Y-%m-%d %H:%M:%S %Z}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """An instance as the store has it. ``parked`` is the reason or None; ``closed`` None while it runs."""

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


def describe(id: str, head: Head) -> Description:
    """The public view of a head."""
    return Description(
        id=id,
        run_id=head.run_id,
        type=head.type,
        status=public_status(head.status),
        compensation=Compensation(head.compensation),
        parked=head.parked or None,
        paused=head.paused,
        waiting_for=tuple(Wait(kind=kind, what=what, at=from_ms(at)) for kind, what, at in head.waiting),
        started=from_ms(head.started_ms),
        closed=from_ms(head.closed_ms) if head.closed_ms else None,
        attributes=dict(head.attributes),
        history_length=head.events,
    )
