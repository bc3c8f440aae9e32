"""The log of traffic fines as it is read, and the figures that plain arithmetic over it gives."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from examples.traffic_fines.log import ROME, LogEvent, What, by_fine, in_date_order, read_log
from examples.traffic_fines.pace import Pace, Scale
from examples.traffic_fines.reference import reference

HEADER = (
    "amount,article,case:concept:name,concept:name,dismissal,expense,lastSent,lifecycle:transition,"
    "notificationType,org:resource,paymentAmount,points,time:timestamp,totalPaymentAmount,vehicleClass\n"
)


@pytest.fixture(scope="module")
def events() -> list[LogEvent]:
    return read_log()


def first(rows: list[LogEvent], what: What) -> LogEvent:
    return next(row for row in rows if row.what is what)


def penalised(events: list[LogEvent]) -> dict[str, tuple[datetime, datetime]]:
    """Fine -> (notified, penalty added)."""
    return {
        fine: (first(rows, What.NOTIFIED).at, first(rows, What.PENALTY).at)
        for fine, rows in by_fine(events).items()
        if any(row.what is What.PENALTY for row in rows)
    }


def test_every_row_is_read(events: list[LogEvent]) -> None:
    assert len(events) == 390
    assert Counter(event.what for event in events) == {
        What.CREATED: 100,
        What.SENT: 78,
        What.PAID: 58,
        What.NOTIFIED: 57,
        What.PENALTY: 57,
        What.CREDIT_COLLECTION: 36,
        What.APPEALED: 1,
        What.APPEAL_SENT: 1,
        What.APPEAL_RESULT: 1,
        What.APPEAL_TOLD: 1,
    }


def test_money_is_exact_cents(events: list[LogEvent]) -> None:
    rows = by_fine(events)["N36957"]
    assert [(row.amount_cents, row.payment_cents, row.expense_cents) for row in rows] == [
        (3280, None, None),
        (None, 3280, None),
        (None, None, 671),
    ]


def test_fractions_of_a_cent_are_refused(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text(HEADER + "35.001,157.0,N1,Create Fine,NIL,,,complete,,537,,0.0,2005-03-23 00:00:00+01:00,0.0,A\n")
    with pytest.raises(ValueError, match="whole number of cents"):
        read_log(log)


def test_every_event_is_at_a_local_midnight_and_each_fine_is_in_order(events: list[LogEvent]) -> None:
    assert {event.at.time().isoformat() for event in events} == {"00:00:00"}
    for rows in by_fine(events).values():
        assert rows == list(in_date_order(rows))


def test_a_payment_counts_up_to_the_recorded_total(events: list[LogEvent]) -> None:
    for rows in by_fine(events).values():
        paid = 0
        for row in rows:
            paid += row.payment_cents or 0
            if row.what is What.PAID:
                assert row.total_cents == paid


def test_the_penalty_is_60_calendar_days_after_the_notification(events: list[LogEvent]) -> None:
    dates = penalised(events)
    assert len(dates) == 57
    assert all(notified + timedelta(days=60) == penalty for notified, penalty in dates.values())


def test_60_times_24_hours_would_miss_it_when_the_clocks_change(events: list[LogEvent]) -> None:
    missed = [
        ((datetime.fromtimestamp(notified.timestamp() + 60 * 86_400, ROME)), penalty)
        for notified, penalty in penalised(events).values()
    ]
    assert sum(absolute != penalty for absolute, penalty in missed) == 19
    assert sum(absolute.date() != penalty.date() for absolute, penalty in missed) == 17


def test_the_reference_settles_39_of_100_fines(events: list[LogEvent]) -> None:
    fines = reference(events)
    assert len(fines) == 100
    assert sum(fine.payments for fine in fines.values()) == 58
    assert sum(fine.penalty_on is not None for fine in fines.values()) == 57
    assert sum(fine.settled for fine in fines.values()) == 39
    assert sum(not fine.settled for fine in fines.values()) == 61


def test_a_fine_paid_in_full_can_come_to_owe_again(events: list[LogEvent]) -> None:
    rows = by_fine(events)["N36957"]
    assert reference(rows[:2])["N36957"].settled
    assert not reference(rows)["N36957"].settled


def test_nothing_follows_credit_collection(events: list[LogEvent]) -> None:
    for rows in by_fine(events).values():
        assert What.CREDIT_COLLECTION not in [row.what for row in rows[:-1]]


def test_penalty_and_payment_of_one_instant_keep_the_order_of_the_log(events: list[LogEvent]) -> None:
    last_two = by_fine(in_date_order(reversed(events)))["A43678"][-2:]
    assert [row.what for row in last_two] == [What.PENALTY, What.PAID]
    assert last_two[0].at == last_two[1].at == datetime(2009, 11, 30, tzinfo=ROME)


def test_a_squeezed_day_is_as_long_when_the_clocks_change() -> None:
    wall = datetime(2024, 1, 1, tzinfo=ROME)
    pace = Pace(scale=Scale(origin_log=datetime(2009, 10, 1, tzinfo=ROME), origin_wall=wall, ms_per_day=10))
    assert pace.instant(datetime(2009, 11, 30, tzinfo=ROME)) == wall + timedelta(milliseconds=600)


def test_without_a_scale_the_clock_shows_the_log() -> None:
    at = datetime(2009, 11, 30, tzinfo=ROME)
    assert Pace().instant(at) == at
