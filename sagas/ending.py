"""From the event that closed a run to what its caller gets: a value, or the error that says how it ended."""

from __future__ import annotations

from sagas.errors import SagaCancelled, SagaFailed, SagaTerminated, SagaTimedOut
from sagas.kernel.events import Event, RunCancelled, RunCompleted, RunFailed, RunTerminated, RunTimedOut
from sagas.kernel.failure import Failure
from sagas.kernel.state import RunState

# ``RunContinued`` is none of them: the end of its run is that of the chain.
CLOSINGS = (RunCompleted, RunFailed, RunCancelled, RunTimedOut, RunTerminated)


def status_of(closing: Event) -> str:
    """How the run stands that ended with this event."""
    state = RunState()
    state.evolve(closing)
    return state.status.value


def value_of(id: str, closing: Event) -> bytes:
    """The encoded result. Raises: SagaFailed, SagaCancelled, SagaTimedOut, SagaTerminated."""
    match closing:
        case RunCompleted(result=result):
            return result
        case RunFailed(failure=row):
            failure = Failure.from_row(row)
            raise SagaFailed(id, failure.cause_type, failure.words) from failure.declared()
        case RunCancelled(reason=reason):
            raise SagaCancelled(id, reason)
        case RunTimedOut(reason=reason):
            raise SagaTimedOut(id, reason)
        case RunTerminated(reason=reason):
            raise SagaTerminated(id, reason)
    raise AssertionError(f"{closing!r} ends no run")
