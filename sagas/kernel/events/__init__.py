"""Every event a history can hold, one module a noun; ``base`` owns how they are written."""

from sagas.kernel.events.base import SCHEMA, Decision, Event, Fact, decode_chunk, encode_chunk, same
from sagas.kernel.events.compensation import (
    CompensationCompleted,
    CompensationEnded,
    CompensationFailed,
    CompensationScheduled,
    CompensationStarted,
)
from sagas.kernel.events.message import SignalDeadLettered, SignalReceived
from sagas.kernel.events.run import (
    Activated,
    CancelRequested,
    FailureRow,
    Parked,
    Paused,
    Resumed,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
    RunTerminated,
    RunTimedOut,
)
from sagas.kernel.events.step import StepCancelRequested, StepCompleted, StepFailed, StepScheduled
from sagas.kernel.events.timer import TimerCancelled, TimerFired, TimerSet

__all__ = [
    "SCHEMA",
    "Activated",
    "CancelRequested",
    "CompensationCompleted",
    "CompensationEnded",
    "CompensationFailed",
    "CompensationScheduled",
    "CompensationStarted",
    "Decision",
    "Event",
    "Fact",
    "FailureRow",
    "Parked",
    "Paused",
    "Resumed",
    "RunCancelled",
    "RunCompleted",
    "RunFailed",
    "RunStarted",
    "RunTerminated",
    "RunTimedOut",
    "SignalDeadLettered",
    "SignalReceived",
    "StepCancelRequested",
    "StepCompleted",
    "StepFailed",
    "StepScheduled",
    "TimerCancelled",
    "TimerFired",
    "TimerSet",
    "decode_chunk",
    "encode_chunk",
    "same",
]
