"""A failure as data: what comes back in the saga, and that nothing a user's exception does can lose the report."""

from __future__ import annotations

import math
from typing import Any

import msgpack
import pytest

from compensations import Outcome
from sagas.errors import ActivityFailed, ActivityTimeout, Permanent, Rejected
from sagas.kernel.events import StepFailed, decode_chunk, encode_chunk
from sagas.kernel.failure import CANCELLED, DECLARED, ERROR, LOST, TIMEOUT, Failure, told


class CardDeclined(Rejected):
    def __init__(self, card: str, cents: int = 0) -> None:
        super().__init__(card, cents)
        self.card = card
        self.cents = cents


class WordedOnly(Permanent):
    """Hands a sentence to its root, so that its args are not its constructor's."""

    def __init__(self, code: int, *, where: str) -> None:
        super().__init__(f"code {code} at {where}")


def through_a_history(failure: Failure) -> Failure:
    (event,) = decode_chunk(encode_chunk([StepFailed(1, 3, failure.row())], 1))
    assert isinstance(event, StepFailed)
    return Failure.from_row(event.failure)


def raised(error: BaseException, attempts: int = 3) -> Exception:
    return through_a_history(Failure.of(error)).exception("charge", attempts)


def test_a_declared_error_comes_back_as_its_own_class_with_its_args() -> None:
    error = raised(CardDeclined("visa", 500))
    assert isinstance(error, CardDeclined)
    assert (error.card, error.cents, error.args) == ("visa", 500, ("visa", 500))
    assert error.outcome is Outcome.NONE


def test_a_class_with_another_constructor_keeps_class_and_words() -> None:
    error = raised(WordedOnly(7, where="till 3"))
    assert isinstance(error, WordedOnly)
    assert str(error) == "code 7 at till 3"
    assert error.outcome is Outcome.UNKNOWN


def test_rejected_and_permanent_themselves_travel_too() -> None:
    assert type(raised(Rejected("no"))) is Rejected
    assert type(raised(Permanent("never"))) is Permanent


def test_an_unknown_declared_class_comes_back_by_name_and_is_never_imported() -> None:
    row = (DECLARED, "Gone", "sold out", "none", "os:system", b"")
    error = Failure.from_row(row).exception("reserve", 2)
    assert isinstance(error, ActivityFailed)
    assert (error.cause_type, error.message, error.outcome) == ("Gone", "sold out", Outcome.NONE)


def test_an_ordinary_error_comes_back_as_activity_failed() -> None:
    error = raised(ValueError("bad luck"))
    assert isinstance(error, ActivityFailed)
    assert (error.activity, error.attempts, error.cause_type, error.message) == ("charge", 3, "ValueError", "bad luck")
    assert error.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("which", ["attempt", "total", "queue", "heartbeat"])
def test_a_timeout_says_which(which: str) -> None:
    error = through_a_history(Failure.timed_out(which)).exception("charge", 1)
    assert isinstance(error, ActivityTimeout)
    assert isinstance(error, TimeoutError)
    assert error.kind == which


def test_lost_and_cancelled_are_activity_failed() -> None:
    assert isinstance(Failure.lost("gone").exception("charge", 1), ActivityFailed)
    error = Failure.cancelled(Outcome.NONE).exception("charge", 1)
    assert isinstance(error, ActivityFailed)
    assert error.outcome is Outcome.NONE


def test_what_an_earlier_attempt_may_have_done_overrules_a_refusal() -> None:
    row = list(Failure.of(CardDeclined("visa")).row())
    row[3] = Outcome.UNKNOWN.value
    error = Failure.from_row(tuple(row)).exception("charge", 2)
    assert isinstance(error, CardDeclined)
    assert error.outcome is Outcome.UNKNOWN


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("even my words fail")


class Asking(Exception):
    def __init__(self, retry_after: Any) -> None:
        self.retry_after = retry_after


@pytest.mark.parametrize(
    "error", [Mute(), ValueError("\udcff"), OSError(2, "no", "\udc80"), Rejected("\udcff"), Rejected(Mute())]
)
def test_no_words_are_too_odd_for_a_history(error: Exception) -> None:
    failure = Failure.of(error)
    back = through_a_history(failure)
    assert (back.kind, back.cause_type, back.message) == (failure.kind, failure.cause_type, failure.message)
    back.exception("charge", 1)


@pytest.mark.parametrize("error", [Rejected(object()), Permanent(lambda: None)])
def test_args_that_cannot_travel_are_told_as_text(error: Exception) -> None:
    assert type(raised(error)) is type(error)


@pytest.mark.parametrize(
    ("asked", "ms"),
    [(2, 2000), (0.25, 250), (-5, 0), (0, 0), (None, None), ("3", None), (True, None), (math.nan, None)],
)
def test_retry_after_is_read_where_it_is_a_time(asked: Any, ms: int | None) -> None:
    assert Failure.of(Asking(asked)).retry_after_ms == ms


@pytest.mark.parametrize("asked", [math.inf, 1e300, 10**40])
def test_an_endless_retry_after_stays_a_number_that_can_be_stored(asked: Any) -> None:
    ms = Failure.of(Asking(asked)).retry_after_ms
    assert ms is not None
    msgpack.packb(ms + 253_402_300_799_999)
    assert ms > 365 * 24 * 3_600_000


def test_fatal_classes_are_final_and_others_are_not() -> None:
    assert Failure.of(KeyError("x"), (LookupError,)).final
    assert not Failure.of(ValueError("x"), (LookupError,)).final
    assert not Failure.of(ValueError("x")).final
    assert Failure.of(Rejected()).final


def test_kinds_are_frozen() -> None:
    assert (ERROR, DECLARED, TIMEOUT, LOST, CANCELLED) == ("error", "declared", "timeout", "lost", "cancelled")


def test_told_is_what_str_says_when_str_behaves() -> None:
    assert told(ValueError("ünïcode ✓")) == "ünïcode ✓"
    assert told(KeyError("k")) == "'k'"
