"""What follows a failed attempt: another try, or the end with an outcome that takes every attempt into account."""

from __future__ import annotations

from datetime import timedelta

import pytest

from compensations import Outcome, Retry
from sagas import Permanent, Rejected
from sagas.engine.retrying import LOST_DELAY_MS, GiveUp, RetryAt, after_failure
from sagas.engine.steps import Attempt
from sagas.kernel.activity import StepOptions
from sagas.kernel.failure import TIMEOUT, Failure

NOW = 1_000_000
STEADY = Retry(initial=1, backoff=2, max_interval=10, jitter=0, max_attempts=4)


def follow(
    failure: Failure, *, options: StepOptions | None = None, attempt: Attempt | None = None, never_ran: bool = False
) -> RetryAt | GiveUp:
    state = attempt or Attempt(scheduled_ms=NOW)
    state.remember(failure, NOW)
    return after_failure(options or StepOptions(retry=STEADY), state, failure, NOW, 0.5, never_ran=never_ran)


def error(message: str = "no") -> Failure:
    return Failure.of(ValueError(message))


def test_an_ordinary_error_is_tried_again_later_and_later_and_then_fails() -> None:
    attempt = Attempt(scheduled_ms=NOW)
    waits = []
    while isinstance(following := follow(error(), attempt=attempt), RetryAt):
        waits.append(following.at_ms - NOW)
        attempt.number += 1
    assert waits == [1000, 2000, 4000]
    assert attempt.number == 4
    assert following.failure.outcome is Outcome.UNKNOWN


def test_for_ever_is_for_ever() -> None:
    attempt = Attempt(scheduled_ms=NOW)
    for _ in range(2000):
        following = follow(error(), attempt=attempt, options=StepOptions(retry=Retry(jitter=0)))
        assert isinstance(following, RetryAt)
        assert following.at_ms - NOW <= 100_000
        attempt.number += 1
    assert len(attempt.errors) == 10


@pytest.mark.parametrize("final", [Rejected("no"), Permanent("never")])
def test_a_declared_error_ends_the_step_at_once(final: Exception) -> None:
    following = follow(Failure.of(final))
    assert isinstance(following, GiveUp)
    assert following.failure.outcome is (Outcome.NONE if isinstance(final, Rejected) else Outcome.UNKNOWN)


def test_a_fatal_class_ends_the_step_at_once() -> None:
    assert isinstance(follow(Failure.of(KeyError("x"), (LookupError,))), GiveUp)


def test_a_refusal_after_an_attempt_that_may_have_had_an_effect_is_unknown() -> None:
    attempt = Attempt(number=2, failed=1, maybe_done=True, scheduled_ms=NOW)
    following = follow(Failure.of(Rejected("no")), attempt=attempt)
    assert isinstance(following, GiveUp)
    assert following.failure.outcome is Outcome.UNKNOWN


def test_what_an_error_asks_to_wait_is_waited() -> None:
    class Busy(Exception):
        retry_after = 90

    assert follow(Failure.of(Busy())) == RetryAt(NOW + 90_000)


def test_a_lost_worker_uses_up_no_attempt() -> None:
    attempt = Attempt(scheduled_ms=NOW)
    waits = []
    for _ in range(12):
        following = follow(Failure.lost("gone"), attempt=attempt)
        assert isinstance(following, RetryAt)
        waits.append(following.at_ms - NOW)
        attempt.number += 1
    assert (attempt.failed, attempt.lost) == (0, 12)
    assert waits[:3] == [LOST_DELAY_MS, 2 * LOST_DELAY_MS, 4 * LOST_DELAY_MS]
    assert max(waits) == 100 * LOST_DELAY_MS


def test_one_attempt_is_never_two() -> None:
    once = StepOptions(retry=Retry(max_attempts=1))
    lost = follow(Failure.lost("gone"), options=once)
    assert isinstance(lost, GiveUp)
    assert lost.failure.outcome is Outcome.UNKNOWN
    assert isinstance(follow(error(), options=once), GiveUp)


def test_what_never_ran_is_tried_again_even_where_one_attempt_is_all() -> None:
    once = StepOptions(retry=Retry(max_attempts=1, jitter=0))
    missing = Failure(kind="error", cause_type="UnknownActivity", message="x", outcome=Outcome.NONE)
    attempt = Attempt(scheduled_ms=NOW)
    assert isinstance(follow(missing, options=once, attempt=attempt, never_ran=True), RetryAt)
    assert (attempt.failed, attempt.lost, attempt.maybe_done) == (0, 0, False)


def test_a_cancelled_step_is_not_tried_again() -> None:
    never = follow(Failure.cancelled(Outcome.NONE), never_ran=True)
    assert isinstance(never, GiveUp)
    assert never.failure.outcome is Outcome.NONE
    maybe = follow(Failure.cancelled(Outcome.NONE), attempt=Attempt(number=2, maybe_done=True), never_ran=True)
    assert isinstance(maybe, GiveUp)
    assert maybe.failure.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(("total", "ends"), [(timedelta(seconds=1), True), (timedelta(milliseconds=1001), False)])
def test_no_attempt_begins_after_the_total_timeout(total: timedelta, ends: bool) -> None:
    options = StepOptions(retry=STEADY, total_timeout_ms=total // timedelta(milliseconds=1))
    following = follow(error(), options=options)
    if ends:
        assert isinstance(following, GiveUp)
        assert (following.failure.kind, following.failure.detail) == (TIMEOUT, "total")
    else:
        assert following == RetryAt(NOW + 1000)


def test_a_total_timeout_over_attempts_that_never_ran_left_no_effect() -> None:
    missing = Failure(kind="error", cause_type="UnknownActivity", message="x", outcome=Outcome.NONE)
    following = follow(missing, options=StepOptions(retry=STEADY, total_timeout_ms=1), never_ran=True)
    assert isinstance(following, GiveUp)
    assert following.failure.outcome is Outcome.NONE
