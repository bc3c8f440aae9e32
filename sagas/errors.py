"""Every error a user of ``sagas`` can meet, under one root; this module owns their words.

Law: an error says what happened, whose fault it is and what to do next; its facts are attributes; it pickles
(Ray carries errors between processes), so every ``__init__`` passes its own arguments to ``super().__init__``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from compensations import Outcome


class SagaError(Exception):
    """The root of all errors of this library."""


# --- the caller's code or arguments ---------------------------------------------------------------------


class DefinitionError(SagaError):
    """A saga, activity or handler is declared in a way that can never work: correct the declaration."""


class DeterminismWarning(UserWarning):
    """A saga does what may part its replay from its history; the warning names the line, and what to do instead."""


class InvalidArgument(SagaError, ValueError):
    """A call was given a value it cannot accept (an id, a duration, a policy); nothing was sent or changed."""


class ArgumentMismatch(SagaError, TypeError):
    """The arguments do not fit the signature of the saga, activity or handler; nothing was sent or changed."""


class PayloadError(SagaError, TypeError):
    """A value cannot be encoded, or stored bytes cannot be decoded as the annotated type."""


class CodecError(PayloadError):
    """A payload is sealed by a codec that this process lacks, or that cannot open it. Attributes: ``codec``, ``why``.

    Whose fault: a process without the module that calls ``sagas.use_codec``, or without an old key. Nothing is lost: a
    run that needs the payload waits for a host that has it.
    """

    def __init__(self, codec: str, why: str) -> None:
        super().__init__(codec, why)
        self.codec = codec
        self.why = why

    def __str__(self) -> str:
        return (
            f"a payload is sealed with codec {self.codec!r}, and cannot be opened here ({self.why}): "
            "load the module that calls sagas.use_codec() with it"
        )


class NondeterminismError(SagaError):
    """Replaying a run's history, its saga code asked for something else than what is recorded.

    Attributes: ``position`` (index of the event in the history), ``expected`` (what the history holds),
    ``found`` (what the code asked for). Whose fault: code that changed under a running instance, or that reads
    a clock, randomness or the world by itself. Next: restore the old path behind ``patched("change-id")``,
    then ``resume()``.
    """

    def __init__(self, position: int, expected: str, found: str) -> None:
        super().__init__(position, expected, found)
        self.position = position
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        return (
            f"the code and the history part at event {self.position}: the history holds {self.expected}, "
            f"the code asked for {self.found}. Put the old path back (behind sagas.patched()), then resume()."
        )


class HistoryError(SagaError):
    """A stored history cannot be read: it is damaged, or a newer version of this library wrote it."""


class NotInSaga(SagaError, RuntimeError):
    """A function that only works inside a saga (``now``, ``sleep``, ``wait_until``, ...) was called outside one."""


class ReadOnlyError(SagaError):
    """A query or validator tried to start a step, set a timer or change the run; they may only read."""


# --- asking for an instance -----------------------------------------------------------------------------


class SagaNotFound(SagaError):
    """No instance of this id was ever started here (or its retention ended). Attributes: ``id``."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.id = id

    def __str__(self) -> str:
        return f"no saga with id {self.id!r}: check the id and the namespace, or start it first"


class SagaClosed(SagaError):
    """The instance has ended and takes no more messages. Attributes: ``id``, ``status``."""

    def __init__(self, id: str, status: str = "closed") -> None:
        super().__init__(id, status)
        self.id = id
        self.status = status

    def __str__(self) -> str:
        return f"saga {self.id!r} has ended ({self.status}): start a new run with this id, or read its result()"


class SagaRunning(SagaError):
    """The instance goes on, and only one that has ended can be deleted. Attributes: ``id``, ``run_id``."""

    def __init__(self, id: str, run_id: str = "") -> None:
        super().__init__(id, run_id)
        self.id = id
        self.run_id = run_id

    def __str__(self) -> str:
        return f"saga {self.id!r} has not ended (run {self.run_id}): cancel() or terminate() it first, then delete() it"


class SagaAlreadyStarted(SagaError):
    """A run with this id exists and the policies forbid another. Attributes: ``id``, ``run_id``, ``status``."""

    def __init__(self, id: str, run_id: str = "", status: str = "running") -> None:
        super().__init__(id, run_id, status)
        self.id = id
        self.run_id = run_id
        self.status = status

    def __str__(self) -> str:
        return (
            f"saga {self.id!r} was started before (run {self.run_id}, {self.status}): "
            "use another id, or on_conflict='use_existing' / on_reuse='allow'"
        )


class CallbackDone(SagaError):
    """The callback was completed or failed before; the first answer counts. Attributes: ``id``, ``number``."""

    def __init__(self, id: str, number: int = 0) -> None:
        super().__init__(id, number)
        self.id = id
        self.number = number

    def __str__(self) -> str:
        return (
            f"callback {self.number} of saga {self.id!r} was answered before, and the first answer counts: "
            "nothing is left to do"
        )


class UpdateRejected(SagaError):
    """The validator of an update refused it; the history is unchanged. Attributes: ``name``, ``message``."""

    def __init__(self, name: str, message: str = "") -> None:
        super().__init__(name, message)
        self.name = name
        self.message = message

    def __str__(self) -> str:
        return f"update {self.name!r} was rejected by its validator: {self.message}"


class UpdateFailed(SagaError):
    """The handler of an update raised. Attributes: ``name``, ``cause_type``, ``message``."""

    def __init__(self, name: str, cause_type: str = "", message: str = "") -> None:
        super().__init__(name, cause_type, message)
        self.name = name
        self.cause_type = cause_type
        self.message = message

    def __str__(self) -> str:
        return f"update {self.name!r} failed with {self.cause_type}: {self.message}"


class QueryFailed(SagaError):
    """The query is unknown or its handler raised. Attributes: ``name``, ``cause_type``, ``message``."""

    def __init__(self, name: str, cause_type: str = "", message: str = "") -> None:
        super().__init__(name, cause_type, message)
        self.name = name
        self.cause_type = cause_type
        self.message = message

    def __str__(self) -> str:
        return f"query {self.name!r} failed with {self.cause_type}: {self.message}"


# --- how a run ended ------------------------------------------------------------------------------------


class _RunOutcome(SagaError):
    """A run did not complete; the shared shape of what ``result()`` raises."""

    _what: ClassVar[str] = "ended"

    def __init__(self, id: str, reason: str = "") -> None:
        super().__init__(id, reason)
        self.id = id
        self.reason = reason

    def __str__(self) -> str:
        return f"saga {self.id!r} {self._what}" + (f": {self.reason}" if self.reason else "")


class SagaFailed(SagaError):
    """The run raised. Attributes: ``id``, ``cause_type``, ``message``, ``undo_errors``; ``__cause__`` where rebuilt."""

    def __init__(self, id: str, cause_type: str = "", message: str = "", undo_errors: tuple[str, ...] = ()) -> None:
        super().__init__(id, cause_type, message, undo_errors)
        self.id = id
        self.cause_type = cause_type
        self.message = message
        self.undo_errors = undo_errors

    def __str__(self) -> str:
        return f"saga {self.id!r} failed with {self.cause_type}: {self.message} (see history() for the steps)"


class SagaCancelled(_RunOutcome):
    """The run was cancelled and undone. Attributes: ``id``, ``reason``."""

    _what = "was cancelled"


class SagaTimedOut(_RunOutcome):
    """The run reached its saga timeout and was undone. Attributes: ``id``, ``reason``."""

    _what = "timed out"


class SagaTerminated(_RunOutcome):
    """The run was terminated; nothing was undone. Attributes: ``id``, ``reason``."""

    _what = "was terminated"


class SagaParked(_RunOutcome):
    """The run stands still, nothing lost or undone, until somebody acts. Attributes: ``id``, ``reason``.

    May be asked again: correct the code and ``resume()``, or cancel or terminate it.
    """

    _what = "is parked"

    def __str__(self) -> str:
        return f"saga {self.id!r} is parked: {self.reason}. Correct the cause and resume() it, or cancel it."


# --- the service ----------------------------------------------------------------------------------------


class Overloaded(SagaError):
    """The shard's mailbox is full; nothing was accepted. Attributes: ``retry_after`` (seconds)."""

    def __init__(self, retry_after: float = 1.0) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"the mailbox of this shard is full: try again in {self.retry_after:g} s, or add hosts"


class StoreUnavailable(SagaError):
    """Redis cannot be reached, or refuses writes. Nothing unacknowledged counts as accepted; a retry is safe."""


class UnsafeStore(SagaError):
    """The Redis at this URL would lose or evict saga data as it is configured; the message names the setting."""


# --- steps ----------------------------------------------------------------------------------------------


class StepError(SagaError):
    """A step failed for good; the shared root of what an ``await activity(...)`` raises."""

    outcome: Outcome = Outcome.UNKNOWN


class Declared(StepError):
    """An error class that travels between processes as itself: the shared root of Rejected and Permanent.

    Subclasses are found by their own name in a table that ``__init_subclass__`` fills; nothing is ever
    imported by a name that came over the wire.
    """

    _classes: ClassVar[dict[str, type[Declared]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Declared._classes[cls.wire_name()] = cls

    @classmethod
    def wire_name(cls) -> str:
        """The name under which the class is written into histories."""
        return f"{cls.__module__}:{cls.__qualname__}"

    @classmethod
    def find(cls, wire_name: str) -> type[Declared] | None:
        """The class registered under ``wire_name`` in this process, or None."""
        return Declared._classes.get(wire_name)


class Rejected(Declared):
    """Raise (a subclass of) it in an activity: refused, and nothing happened. Never retried, never undone."""

    outcome = Outcome.NONE


class Permanent(Declared):
    """Raise (a subclass of) it in an activity: do not try again. It promises nothing about what was done."""


class ActivityFailed(StepError):
    """A step failed with an ordinary exception after all its attempts.

    Attributes: ``activity``, ``attempts``, ``cause_type`` (class name of the last error), ``message``, ``outcome``.
    """

    def __init__(
        self,
        activity: str,
        attempts: int = 1,
        cause_type: str = "",
        message: str = "",
        outcome: Outcome = Outcome.UNKNOWN,
    ) -> None:
        super().__init__(activity, attempts, cause_type, message, outcome)
        self.activity = activity
        self.attempts = attempts
        self.cause_type = cause_type
        self.message = message
        self.outcome = Outcome(outcome)

    def __str__(self) -> str:
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        return f"activity {self.activity!r} failed (tried {times}) with {self.cause_type}: {self.message}"


class ActivityTimeout(StepError, TimeoutError):
    """A step ran out of time.

    Attributes: ``activity``, ``kind`` ("attempt", "total", "queue" or "heartbeat"), ``attempts``, ``outcome``.
    """

    def __init__(
        self, activity: str, kind: str = "attempt", attempts: int = 1, outcome: Outcome = Outcome.UNKNOWN
    ) -> None:
        super().__init__(activity, kind, attempts, outcome)
        self.activity = activity
        self.kind = kind
        self.attempts = attempts
        self.outcome = Outcome(outcome)

    def __str__(self) -> str:
        return f"activity {self.activity!r} reached its {self.kind} timeout (attempt {self.attempts})"
