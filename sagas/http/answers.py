"""What is answered when nothing went wrong, and how it becomes JSON.

Law: these types are the schema in ``/openapi.json``. Values of a saga's code come as they are stored, without anybody's
classes: bytes in base64, dates and times in ISO 8601, durations in seconds, Decimal and UUID as text, sets as lists.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema
from starlette.responses import Response

from compensations import Compensation
from sagas.cli.text import jsonable
from sagas.kernel.state import Status

MEDIA_TYPE = "application/json"

Value = Annotated[Any, Field(description="Any JSON value.")]
EventRow = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "description": "One event; what else it has depends on its kind.",
            "required": ["position", "event", "at"],
            "properties": {
                "position": {"type": "integer", "minimum": 0},
                "event": {"type": "string", "examples": ["StepCompleted"]},
                "at": {"type": "string", "format": "date-time"},
            },
            "additionalProperties": True,
        }
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The message is durable; ``run_id`` is the run it went to."""

    id: str
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The start is durable; ``started`` is false where a run that went on was used instead."""

    id: str
    run_id: str
    started: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a query or an update handler returned."""

    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """The update is durable and has no outcome yet: send it again with the same Idempotency-Key to wait on."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a run failed: the error its code raised, and those of undos that failed too."""

    cause_type: str
    message: str
    undo_errors: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended, or that it has not.

    ``result`` is what it returned (``completed``), ``error`` why it failed (``failed``), ``reason`` why it was
    cancelled, terminated or timed out. ``parked`` is why a run that is ``running`` stands still until somebody acts.
    """

    id: str
    run_id: str
    status: Status
    result: Value = None
    error: Fault | None = None
    reason: str | None = None
    parked: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One thing a run waits for; ``at`` is since when, or when it is due, and null for a run no host has taken yet."""

    kind: Annotated[str, Field(examples=["step", "timer", "message", "code", "host"])]
    what: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Saga:
    """How a run stands. ``type`` and ``started`` are null until a host has taken it; ``closed`` is while it runs."""

    id: str
    run_id: str
    type: str | None
    status: Status
    compensation: Compensation
    parked: str | None
    paused: bool
    waiting_for: list[Waiting]
    started: datetime | None
    closed: datetime | None
    attributes: dict[str, Any]
    history_length: int
    dead_letters: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sagas:
    """Sagas that match, in no particular order; ``more`` says that the limit has left some out."""

    sagas: list[Saga]
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Events of a run, oldest first; ``next`` is the offset of those that follow, null at the end."""

    id: str
    run_id: str
    events: list[EventRow] = field(default_factory=list)
    next: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A probe's answer."""

    status: Literal["up", "ready"]


def answer(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """``content`` (one of the types above) as sent. Raises: RecursionError for a value nested hundreds deep."""
    body = json.dumps(jsonable(content), ensure_ascii=False).encode()
    return Response(body, status, headers={"cache-control": "no-store", **(headers or {})}, media_type=MEDIA_TYPE)
