"""What a failed attempt leads to: another one, or the end of the step. Pure."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, replace

from compensations import Outcome
from sagas.engine.steps import Attempt
from sagas.kernel.activity import StepOptions
from sagas.kernel.failure import CANCELLED, LOST, TIMEOUT, Failure
from sagas.payloads.sealing import concealed_words

LOST_DELAY_MS = 200
"""Before a step whose worker died is tried again."""

TOLD_AFTER = 10
"""A step that is still open after so many attempts says why, to whoever asks what its instance waits for."""
_REASON_LENGTH = 200


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Another attempt at this time."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Park:
    """No further attempt until somebody resumes the instance (``Retry.park_after``)."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The step has failed with this; its outcome takes every attempt into account."""

    failure: Failure


def after_failure(
    options: StepOptions, attempt: Attempt, failure: Failure, now_ms: int, draw: float, *, never_ran: bool
) -> RetryAt | Park | GiveUp:
    """Decide what follows a failed attempt (already remembered in ``attempt``); ``draw`` in [0, 1) is the jitter's.

    A lost worker and an activity that is not registered there use up none of the user's attempts, but
    ``max_attempts=1`` means never twice, and an attempt that may have run was one. A queue timeout ends the step:
    another attempt would only wait in the same queue.
    """
    retry = options.retry
    if failure.kind == CANCELLED or (failure.kind == TIMEOUT and failure.detail in ("total", "queue")):
        return _give_up(attempt, failure)
    if not never_ran and failure.kind == LOST:
        attempt.lost += 1
        if retry.max_attempts == 1:
            return _give_up(attempt, failure)
        delay_ms = LOST_DELAY_MS * min(2 ** (attempt.lost - 1), 100)
    elif never_ran:
        delay_ms = int(retry.delay(min(attempt.number, 10), draw) * 1000)
    else:
        attempt.failed += 1
        if failure.final:
            return _give_up(attempt, failure)
        if retry.parks(attempt.failed):
            return Park()
        if retry.exhausted(attempt.failed):
            return _give_up(attempt, failure)
        delay_ms = int(retry.delay(attempt.failed, draw) * 1000)
    if failure.retry_after_ms is not None:
        delay_ms = failure.retry_after_ms
    at_ms = now_ms + delay_ms
    if options.total_timeout_ms is not None and at_ms >= attempt.scheduled_ms + options.total_timeout_ms:
        return _give_up(attempt, Failure.timed_out("total"))
    return RetryAt(at_ms)


def standing(activity: str, attempt: Attempt | None) -> str:
    """Which step is open, for people: the activity, and why nobody makes it, or (after ten attempts) the last error."""
    if attempt is not None and attempt.unplaced:
        return f"{activity} ({attempt.unplaced})"
    if attempt is None or attempt.number <= TOLD_AFTER or not attempt.errors:
        return activity
    _, _, cause_type, message, *_ = attempt.errors[-1]
    reason = textwrap.shorten(f"{cause_type}: {concealed_words(message)}", _REASON_LENGTH, placeholder="...")
    return f"{activity} ({attempt.number - 1} attempts in vain, the last: {reason})"


def _give_up(attempt: Attempt, failure: Failure) -> GiveUp:
    # NONE is strict: a refusal after an attempt that may have had an effect is UNKNOWN.
    if failure.outcome is Outcome.NONE and attempt.maybe_done:
        failure = replace(failure, outcome=Outcome.UNKNOWN)
    elif failure.outcome is not Outcome.NONE and not attempt.maybe_done:
        failure = replace(failure, outcome=Outcome.NONE)
    return GiveUp(failure)
