"""A step on its way: the task a worker gets, the report it sends back, and the retry state between attempts.

Law: (run, step, attempt) names an attempt for ever; the idempotency key names the step and never changes.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Protocol

import msgpack

from compensations import Outcome
from sagas.errors import HistoryError
from sagas.kernel.failure import LOST, Failure
from sagas.value import value

ERRORS_KEPT = 10
"""How many failed attempts of one step are remembered, the last ones."""


class StepKey(NamedTuple):
    """Which step of which run."""

    id: str
    run_id: str
    step: int


@value(frozen=True, slots=True)
class StepTask:
    """One attempt to be made by a worker. Times in ms of the epoch; None means no limit."""

    id: str
    run_id: str
    step: int
    attempt: int
    activity: str
    args: bytes
    queue: str
    timeout_ms: int | None
    undo_of: int = 0
    priority: int = 0
    saga_type: str = ""
    local: bool = False  # run it in the host's own process
    which_timeout: str = "attempt"  # hosts of older versions: "total" where ``timeout_ms`` is what is left of that
    once: bool = False  # it must never run twice (``max_attempts=1``)
    trace: str = ""  # W3C traceparent of the attempt's span, "" where nobody traces
    ray: Mapping[str, Any] | None = None  # resources of Ray: the attempt has a process of its own
    queue_until_ms: int | None = None  # its code must have begun by then, or it never begins
    heartbeat_timeout_ms: int | None = None  # how long it may be silent
    heartbeat: bytes = b""  # the encoded details of the last heartbeat of the attempts before it; b"" for none
    total_until_ms: int | None = None  # when the time of all attempts is over

    @property
    def key(self) -> StepKey:
        """Which step it is an attempt of."""
        return StepKey(self.id, self.run_id, self.step)

    def limit(self, now_ms: int) -> tuple[int | None, str]:
        """How long it may run if it begins now (None: for ever), and which timeout that is: "attempt" or "total".

        What it has waited for a worker counts for the total one.
        """
        limit_ms, which = self.timeout_ms, self.which_timeout
        if self.total_until_ms is not None:
            left_ms = max(1, self.total_until_ms - now_ms)
            if limit_ms is None or left_ms < limit_ms:
                return left_ms, "total"
        return limit_ms, which

    def silence(self, now_ms: int) -> tuple[int | None, str]:
        """How long whoever begins it now may say nothing at all (None: for ever), and which timeout that reaches."""
        limit_ms, which = self.limit(now_ms)
        if self.heartbeat_timeout_ms is not None and (limit_ms is None or self.heartbeat_timeout_ms < limit_ms):
            return self.heartbeat_timeout_ms, "heartbeat"
        return limit_ms, which

    @property
    def begins_until_ms(self) -> int | None:
        """When it is too late to begin it; None: never."""
        limits = [each for each in (self.queue_until_ms, self.total_until_ms) if each is not None]
        return min(limits, default=None)

    @property
    def idempotency_key(self) -> str:
        """The same on every attempt."""
        return f"{self.run_id}/{self.step}"

    @property
    def undo_of_key(self) -> str | None:
        """The idempotency key of the action an undo undoes; None for an action."""
        return f"{self.run_id}/{self.undo_of}" if self.undo_of else None


@value(frozen=True, slots=True)
class Heartbeat:
    """How far an attempt has come: ``details`` are encoded, and meant for the next attempt."""

    id: str
    run_id: str
    step: int
    attempt: int
    details: bytes

    @property
    def key(self) -> StepKey:
        """Whose it is."""
        return StepKey(self.id, self.run_id, self.step)


class Receipt(Protocol):
    """What whoever handed a report over hears of it, once."""

    def settled(self) -> None:
        """What it led to is durable."""

    def refused(self) -> None:
        """This host cannot say: it does not own the instance, or does not any more."""


@value(frozen=True, slots=True)
class StepReport:
    """What became of an attempt: a result or a failure. ``receipt`` stays in this process."""

    id: str
    run_id: str
    step: int
    attempt: int
    result: bytes | None
    failure: Failure | None
    started_ms: int
    ended_ms: int
    never_ran: bool = False  # the attempt was withdrawn before any user code ran
    heartbeat: bytes = b""  # of a failure: the details of the attempt's last heartbeat; b"" for none
    receipt: Receipt | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> StepKey:
        """Which step it reports on."""
        return StepKey(self.id, self.run_id, self.step)


@value(frozen=True, slots=True)
class Unplaced:
    """Nobody makes this attempt yet, because ``why``; "": somebody does now."""

    key: StepKey
    attempt: int
    why: str


@dataclass(slots=True)
class Attempt:
    """Where an open step stands. ``next_ms`` 0: it is (to be) in flight; else it waits until then for its next try."""

    number: int = 1
    next_ms: int = 0
    scheduled_ms: int = 0
    failed: int = 0  # attempts that the activity itself failed: the only ones that count against max_attempts
    lost: int = 0  # attempts that ended with their worker
    maybe_done: bool = False  # some attempt may have had an effect
    errors: tuple[Any, ...] = ()  # (attempt, at_ms, type, message, started_ms), the last ten
    started_ms: int = 0  # when the attempt that was last reported on began; 0: unknown
    unplaced: str = ""  # why nobody makes the attempt in flight yet
    heartbeat: bytes = b""  # the last details that any attempt has told
    queued_ms: int = 0  # since when the present attempt waits for a worker; 0: since the step was scheduled

    def remember(self, failure: Failure, at_ms: int) -> None:
        """Take in a failed attempt."""
        if failure.kind == LOST:  # whoever says so was not there
            self.started_ms = 0
        row = (self.number, at_ms, failure.cause_type, failure.message, self.started_ms)
        self.errors = (*self.errors, row)[-ERRORS_KEPT:]
        if failure.outcome is not Outcome.NONE:
            self.maybe_done = True


def lost(key: StepKey, attempt: int, why: str) -> StepReport:
    """The report on an attempt that went with its worker: nobody knows how far it came."""
    now_ms = time.time_ns() // 1_000_000
    return StepReport(*key, attempt, None, Failure.lost(why), now_ms, now_ms)


def timed_out(key: StepKey, attempt: int, which: str) -> StepReport:
    """The report on an attempt past the ``which`` timeout, by whoever does not run it: it may go on."""
    return StepReport(*key, attempt, None, Failure.timed_out(which), 0, time.time_ns() // 1_000_000)


def queue_timed_out(task: StepTask) -> StepReport:
    """The report on an attempt that waited too long for a worker and is certain never to begin."""
    now_ms = time.time_ns() // 1_000_000
    which = "queue" if task.begins_until_ms == task.queue_until_ms else "total"
    failure = Failure.timed_out(which, Outcome.NONE)
    return StepReport(*task.key, task.attempt, None, failure, now_ms, now_ms, never_ran=True)


_task_row = operator.attrgetter(*(field.name for field in fields(StepTask)))
_attempt_row = operator.attrgetter(*(field.name for field in fields(Attempt)))


def encode_attempts(attempts: dict[int, Attempt]) -> bytes | None:
    """Retry state as stored; None when there is nothing a reload could not derive from the history."""
    kept = {
        step: _attempt_row(attempt)
        for step, attempt in attempts.items()
        if attempt.number > 1 or attempt.next_ms or attempt.unplaced or attempt.heartbeat
    }
    if not kept:
        return None
    packed: bytes = msgpack.packb(kept)
    return packed


def decode_attempts(blob: bytes | None) -> dict[int, Attempt]:
    """The stored retry state."""
    if blob is None:
        return {}
    rows: dict[int, tuple[Any, ...]] = msgpack.unpackb(blob, strict_map_key=False, use_list=False)
    return {step: Attempt(*row) for step, row in rows.items()}


def encode_tasks(tasks: Iterable[StepTask]) -> bytes:
    """A batch on its way to a worker."""
    packed: bytes = msgpack.packb([_task_row(task) for task in tasks])
    return packed


def decode_tasks(blob: bytes) -> list[StepTask]:
    """A batch as a worker got it."""
    return [StepTask(*row) for row in msgpack.unpackb(blob)]


def encode_heartbeats(heartbeats: Iterable[Heartbeat]) -> bytes:
    """A batch of heartbeats on its way to a host."""
    packed: bytes = msgpack.packb([(*each.key, each.attempt, each.details) for each in heartbeats])
    return packed


def decode_heartbeats(blob: bytes) -> list[Heartbeat]:
    """A batch as a host got it."""
    return [Heartbeat(*row) for row in msgpack.unpackb(blob)]


def encode_reports(reports: Iterable[StepReport]) -> bytes:
    """A batch of reports on its way to a host."""
    packed: bytes = msgpack.packb([_report_row(report) for report in reports])
    return packed


def decode_reports(blob: bytes, receipts: Iterable[Receipt] | None = None) -> list[StepReport]:
    """A batch as a host got it, each with its receipt."""
    rows = msgpack.unpackb(blob, use_list=False)
    if receipts is None:
        return [_report_of(row) for row in rows]
    return [_report_of(row, receipt) for row, receipt in zip(rows, receipts, strict=True)]


def encode_report(report: StepReport) -> bytes:
    """One report on its way through a mailbox."""
    packed: bytes = msgpack.packb(_report_row(report))
    return packed


def decode_report(blob: bytes) -> StepReport:
    """A report as it came out of a mailbox. Raises: HistoryError when it is damaged, or of a newer version."""
    try:
        return _report_of(msgpack.unpackb(blob, use_list=False))
    except Exception as error:
        raise HistoryError(f"a report of {len(blob)} bytes cannot be read: {error}") from error


def _report_row(report: StepReport) -> tuple[Any, ...]:
    failure = report.failure
    failed = None if failure is None else (failure.row(), failure.final, failure.retry_after_ms)
    key = (report.id, report.run_id, report.step, report.attempt)
    return (*key, report.result, failed, report.started_ms, report.ended_ms, report.never_ran, report.heartbeat)


def _report_of(row: tuple[Any, ...], receipt: Receipt | None = None) -> StepReport:
    id, run_id, step, attempt, result, failed, started_ms, ended_ms, never_ran, *later = row
    failure = None
    if failed is not None:
        stored, final, retry_after_ms = failed
        failure = Failure.from_row(stored).asking(final, retry_after_ms)
    heartbeat = later[0] if later else b""  # older versions have none
    return StepReport(id, run_id, step, attempt, result, failure, started_ms, ended_ms, never_ran, heartbeat, receipt)
