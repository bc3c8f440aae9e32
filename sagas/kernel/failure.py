"""A failure as data: how an exception of a worker travels through a history and is raised again in a saga.

Law: nothing is imported or instantiated by a name from a history but the subclasses of ``Declared`` that this process
has defined itself; every other error comes back as ``ActivityFailed`` with its class *name*.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import timedelta

from compensations import Outcome
from sagas.errors import (
    ActivityFailed,
    ActivityTimeout,
    CodecError,
    Declared,
    NondeterminismError,
    PayloadError,
    Permanent,
    Rejected,
    StepError,
)
from sagas.kernel.events import FailureRow
from sagas.payloads import decode, encode
from sagas.payloads.sealing import opened_words, sealed_words

ERROR, DECLARED, TIMEOUT, LOST, CANCELLED = "error", "declared", "timeout", "lost", "cancelled"
_LONGEST_MS = 2**40  # what an error may ask to wait: 34 years, which every store can hold as a time


def told(error: BaseException) -> str:
    """The words of an error for a history: they may hold a user's data, and are sealed where a codec is used."""
    if isinstance(error, NondeterminismError | CodecError):  # ours: they name events and codecs, for operators
        return _words(error)
    try:
        return sealed_words(_words(error))
    except PayloadError as broken:
        return str(broken)


def _words(error: BaseException) -> str:
    """What an error and those it groups say, whatever ``__str__`` does, as text that UTF-8 can hold."""
    if isinstance(error, BaseExceptionGroup):
        each = "; ".join(f"{type(inner).__qualname__}: {_words(inner)}" for inner in error.exceptions)
        return f"{_text(error)}: {each}"
    return _text(error)


def _text(value: object) -> str:
    try:
        text = str(value)
    except Exception as broken:
        return f"(its __str__ raised {type(broken).__qualname__})"
    return text.encode("utf-8", "backslashreplace").decode()


def is_final(error: BaseException, fatal: tuple[type[BaseException], ...]) -> bool:
    """Whether trying again is of no use; of errors that are grouped, one is enough."""
    if isinstance(error, BaseExceptionGroup):
        return any(is_final(each, fatal) for each in error.exceptions)
    return isinstance(error, (Rejected, Permanent, *fatal))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an attempt or a step failed.

    ``kind``: ERROR (any exception), DECLARED (Rejected, Permanent and their subclasses), TIMEOUT (``detail`` says
    which), LOST (the worker died), CANCELLED. ``message`` is as stored: sealed where a codec is used. ``final``: the
    activity itself asks not to be tried again.
    """

    kind: str
    cause_type: str
    message: str
    outcome: Outcome = Outcome.UNKNOWN
    detail: str = ""  # wire name of a DECLARED class, or the kind of a TIMEOUT
    args: bytes = b""  # encoded args of a DECLARED error
    final: bool = False
    retry_after_ms: int | None = None

    @classmethod
    def of(cls, error: BaseException, fatal: tuple[type[BaseException], ...] = ()) -> Failure:
        """The failure an attempt's exception stands for; ``fatal`` are the classes its Retry gives up on."""
        cause_type, message = type(error).__qualname__, told(error)
        if isinstance(error, Rejected | Permanent):
            return cls(
                kind=DECLARED,
                cause_type=cause_type,
                message=message,
                outcome=error.outcome,
                detail=type(error).wire_name(),
                args=_encoded_args(error),
                final=True,
            )
        return cls(
            kind=ERROR,
            cause_type=cause_type,
            message=message,
            final=bool(fatal) and isinstance(error, fatal),
            retry_after_ms=_retry_after_ms(error),
        )

    @classmethod
    def timed_out(cls, which: str, outcome: Outcome = Outcome.UNKNOWN) -> Failure:
        """The ``which`` timeout ("attempt", "total", "queue" or "heartbeat") was reached."""
        message = f"the {which} timeout was reached"
        return cls(kind=TIMEOUT, cause_type="ActivityTimeout", message=message, outcome=outcome, detail=which)

    @classmethod
    def lost(cls, message: str, outcome: Outcome = Outcome.UNKNOWN) -> Failure:
        """The worker or its host is gone and nobody knows how far it came."""
        return cls(kind=LOST, cause_type="WorkerLost", message=message, outcome=outcome)

    @classmethod
    def cancelled(cls, outcome: Outcome) -> Failure:
        """The saga gave the step up; ``outcome`` NONE when it was withdrawn before it ran."""
        return cls(kind=CANCELLED, cause_type="CancelledError", message="the step was cancelled", outcome=outcome)

    def row(self) -> FailureRow:
        """As stored in events."""
        return (self.kind, self.cause_type, self.message, self.outcome.value, self.detail, self.args)

    @classmethod
    def from_row(cls, row: FailureRow) -> Failure:
        """The typed form of a stored failure."""
        kind, cause_type, message, outcome, detail, args = row
        return cls(
            kind=kind, cause_type=cause_type, message=message, outcome=Outcome(outcome), detail=detail, args=args
        )

    def asking(self, final: bool, retry_after_ms: int | None) -> Failure:
        """The same failure with what its attempt asked of the retry policy (not part of a history)."""
        return replace(self, final=final, retry_after_ms=retry_after_ms)

    def exception(self, activity: str, attempts: int) -> StepError:
        """What ``await activity(...)`` raises in the saga."""
        if self.kind == DECLARED and (known := Declared.find(self.detail)) is not None:
            return self._declared(known)
        if self.kind == TIMEOUT:
            return ActivityTimeout(activity, self.detail, attempts, self.outcome)
        return ActivityFailed(activity, attempts, self.cause_type, self.words, self.outcome)

    @property
    def words(self) -> str:
        """The message as far as this process can open it."""
        return opened_words(self.message)

    def declared(self) -> StepError | None:
        """The user's own error class rebuilt, where this process knows it."""
        known = Declared.find(self.detail) if self.kind == DECLARED else None
        return None if known is None else self._declared(known)

    def _declared(self, known: type[Declared]) -> StepError:
        args = tuple(decode(self.args)) if self.args else (self.words,)
        try:
            error = known(*args)
        except TypeError:
            # Its __init__ takes other arguments than it handed to super().__init__: keep class and args all the same.
            error = known.__new__(known, *args)
            error.args = args
        # An earlier attempt may have had an effect although the last one was refused.
        error.outcome = self.outcome
        return error


def _encoded_args(error: BaseException) -> bytes:
    try:
        return encode(list(error.args))
    except PayloadError:
        return encode([_text(argument) for argument in error.args])


def _retry_after_ms(error: BaseException) -> int | None:
    """What the error itself asks to wait (its ``retry_after``, in seconds); None when that is no number."""
    asked = getattr(error, "retry_after", None)
    if isinstance(asked, timedelta):
        asked = asked.total_seconds()
    if isinstance(asked, bool) or not isinstance(asked, int | float) or math.isnan(asked):
        return None
    return int(min(max(0, asked * 1000), _LONGEST_MS))
