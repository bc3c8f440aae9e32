"""What an activity may know about the step it runs as: ``sagas.step()``."""

from __future__ import annotations

import contextvars
from dataclasses import dataclass
from datetime import datetime

from sagas.errors import NotInSaga


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The running step. ``idempotency_key`` is the same on every attempt: hand it to the service you call."""

    saga_id: str
    run_id: str
    step_id: int
    attempt: int
    idempotency_key: str
    undo_of: str | None  # in an undo: the idempotency key of the action
    deadline: datetime | None


running_step: contextvars.ContextVar[Step | None] = contextvars.ContextVar("sagas_step", default=None)


def step() -> Step:
    """The step this activity runs as.

    Raises: NotInSaga when the function was called directly and is no step.
    """
    found = running_step.get()
    if found is None:
        raise NotInSaga("sagas.step() works only in an activity that a saga runs as a step")
    return found
