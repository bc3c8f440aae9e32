"""Why an instance waits, in words, with what to do next."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from compensations import Compensation
from sagas.cli.waiting import reasons
from sagas.description import Description, Wait
from sagas.kernel.state import Status

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
RUNNING = Description(
    id="t1",
    run_id="r1",
    type="book_trip",
    status=Status.RUNNING,
    compensation=Compensation.NONE,
    parked=None,
    paused=False,
    waiting_for=(),
    started=NOW - timedelta(hours=1),
    closed=None,
    attributes={},
    history_length=3,
)


def waiting(kind: str, what: str = "", at: datetime = NOW) -> Description:
    return replace(RUNNING, waiting_for=(Wait(kind=kind, what=what, at=at),))


def test_one_that_has_ended_waits_for_nothing() -> None:
    assert reasons(replace(waiting("timer"), closed=NOW), "no host is up", NOW) == []


def test_a_timer_ahead_goes_off_by_itself() -> None:
    (found,) = reasons(waiting("timer", at=NOW + timedelta(days=2, minutes=30)), "", NOW)
    assert "sleeps until" in found.why
    assert "in 2d" in found.why
    assert found.next == ""


def test_a_timer_behind_waits_for_a_host() -> None:
    no_host, late = reasons(waiting("timer", at=NOW - timedelta(minutes=5)), "no host is up", NOW)
    assert no_host.why == "no host is up"
    assert "5m ago" in late.why
    assert "a host fires it" in late.why


def test_a_step_is_named() -> None:
    (found,) = reasons(waiting("step", "charge", NOW - timedelta(minutes=2)), "", NOW)
    assert "'charge'" in found.why
    assert "2m ago" in found.why


def test_a_message_is_something_to_send() -> None:
    (found,) = reasons(waiting("message"), "", NOW)
    assert found.next == "`sagas signal t1 NAME [ARG...]`"


def test_code_that_no_host_has_is_something_to_start() -> None:
    (found,) = reasons(waiting("code", "no host here knows saga type 'book_trip'"), "", NOW)
    assert "book_trip" in found.why
    assert "sagas dev MODULE" in found.next


def test_a_standstill_comes_first_and_can_be_lifted() -> None:
    parked, paused, step = reasons(replace(waiting("step", "charge"), parked="KeyError: 'x'", paused=True), "", NOW)
    assert "KeyError: 'x'" in parked.why
    assert all(f"sagas {word} t1" in parked.next for word in ("resume", "cancel", "terminate"))
    assert paused.next == "`sagas resume t1`"
    assert "charge" in step.why


def test_a_stuck_undo_is_told() -> None:
    (found,) = reasons(replace(RUNNING, compensation=Compensation.STUCK), "", NOW)
    assert "undo" in found.why
    assert "sagas history t1" in found.next
