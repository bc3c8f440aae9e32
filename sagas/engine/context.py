"""What an activity may know about the step it runs as, and tell of it: ``sagas.step()`` and ``sagas.heartbeat()``."""

from __future__ import annotations

import contextvars
from dataclasses import field
from datetime import datetime
from typing import Any, Protocol

from sagas.errors import NotInSaga
from sagas.payloads import encode
from sagas.value import value


class Beating(Protocol):
    """The way from an activity's code to the attempt that runs it; ``engine.pulse.Pulse`` is one."""

    cancelled: bool

    def beat(self, details: bytes | None) -> None:
        """The code is alive, and (unless None) has come this far.

        Raises: CancelledError when it shall stop; PayloadError when the details are too large.
        """


@value(frozen=True, slots=True, kw_only=True)
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
    heartbeat_details: Any = field(default=None, hash=False)  # the last that an attempt before this one has told
    pulse: Beating | None = field(default=None, repr=False, compare=False)  # the way to the attempt that runs it

    @property
    def cancelled(self) -> bool:
        """Whether the work is in vain: the saga has given the step up, or the attempt is over (timed out).

        A thread may look here where it cannot let ``heartbeat()`` raise.
        """
        return self.pulse is not None and self.pulse.cancelled


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


def heartbeat(details: Any = None) -> None:
    """Say that the step is alive and, with ``details``, how far it has come; in any thread, as often as you like.

    The next attempt finds the last details as ``sagas.step().heartbeat_details``, whatever died in between: they leave
    at most once a second, a little after they were told, so that those of the last second may be missing when a whole
    worker dies at once. A heartbeat without details keeps the last ones. Details are any value a step could return;
    as nobody says their type, a dataclass comes back as a dict.

    Raises: CancelledError when the step was cancelled or its attempt has timed out (the only way a thread hears of it):
    stop then. NotInSaga when the function was called directly and is no step; PayloadError for details that cannot be
    encoded, or are larger than 64 KB.
    """
    found = running_step.get()
    if found is None:
        raise NotInSaga("sagas.heartbeat() works only in an activity that a saga runs as a step")
    if found.pulse is not None:
        found.pulse.beat(None if details is None else encode(details))
