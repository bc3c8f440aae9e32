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
    traceparent: str = ""  # W3C header of this attempt's span, for calls that nothing instruments; "" without tracing


running_step: contextvars.ContextVar[Step | None] = contextvars.ContextVar("sagas_step", default=None)


def enter(found: Step) -> None:
    """From here on the current context is that of the step, and what is traced in it hangs below its attempt."""
    running_step.set(found)
    if found.traceparent:
        _enter_span(found.traceparent)


def _enter_span(traceparent: str) -> None:
    # Loaded where somebody traces; to ``import sagas`` it would add half its time.
    from opentelemetry import context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context.attach(TraceContextTextMapPropagator().extract({"traceparent": traceparent}))


def step() -> Step:
    """The step this activity runs as.

    Raises: NotInSaga when the function was called directly and is no step.
    """
    found = running_step.get()
    if found is None:
        raise NotInSaga("sagas.step() works only in an activity that a saga runs as a step")
    return found
