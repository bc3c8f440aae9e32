"""The event log of 100 real traffic fines: its rows as typed events, and nothing else.

Law: money is integer cents, converted exactly from the decimal text; a time is an aware datetime in Europe/Rome,
because the log speaks of calendar days there (every event is stamped with a local midnight).
"""

from __future__ import annotations

import csv
import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

ROME = ZoneInfo("Europe/Rome")
LOG = Path(__file__).with_name("fines_100.csv")


class What(enum.StrEnum):
    """The activities of the log, by the names it gives them."""

    CREATED = "Create Fine"
    SENT = "Send Fine"
    NOTIFIED = "Insert Fine Notification"
    PENALTY = "Add penalty"
    PAID = "Payment"
    CREDIT_COLLECTION = "Send for Credit Collection"
    APPEALED = "Insert Date Appeal to Prefecture"
    APPEAL_SENT = "Send Appeal to Prefecture"
    APPEAL_RESULT = "Receive Result Appeal from Prefecture"
    APPEAL_TOLD = "Notify Result Appeal to Offender"
    LOG_ENDS = "(the log ends)"  # not in the log: what a replay sends when there is no more of it


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """One row. Amounts are None where the row leaves them empty.

    ``amount_cents`` is the fine (on a penalty: the new fine), ``expense_cents`` the postage, ``payment_cents`` this
    payment, ``total_cents`` all payments so far. ``seq`` is the row's place in the file, which orders one instant.
    """

    fine: str
    what: What
    at: datetime
    amount_cents: int | None = None
    expense_cents: int | None = None
    payment_cents: int | None = None
    total_cents: int | None = None
    dismissal: str = ""
    seq: int


def read_log(path: Path = LOG) -> list[LogEvent]:
    """Every row of the file, in the file's order. Raises: ValueError for an unknown activity or a broken number."""
    with path.open(newline="", encoding="utf-8") as file:
        return [_event(seq, row) for seq, row in enumerate(csv.DictReader(file))]


def by_fine(events: Iterable[LogEvent]) -> dict[str, list[LogEvent]]:
    """The events of each fine, in their given order; fines in order of first appearance."""
    fines: dict[str, list[LogEvent]] = {}
    for event in events:
        fines.setdefault(event.fine, []).append(event)
    return fines


def in_date_order(events: Iterable[LogEvent]) -> Iterator[LogEvent]:
    """All fines merged into one timeline; events of one instant in the file's order."""
    return iter(sorted(events, key=lambda event: (event.at, event.seq)))


def _event(seq: int, row: dict[str, str]) -> LogEvent:
    return LogEvent(
        fine=row["case:concept:name"],
        what=What(row["concept:name"]),
        at=datetime.fromisoformat(row["time:timestamp"]).astimezone(ROME),
        amount_cents=_cents(row["amount"]),
        expense_cents=_cents(row["expense"]),
        payment_cents=_cents(row["paymentAmount"]),
        total_cents=_cents(row["totalPaymentAmount"]),
        dismissal=row["dismissal"],
        seq=seq,
    )


def _cents(text: str) -> int | None:
    """Exact cents of a decimal text. Raises: ValueError when there are fractions of a cent."""
    if not text:
        return None
    cents = Decimal(text) * 100
    if cents != int(cents):
        raise ValueError(f"{text!r} is not a whole number of cents")
    return int(cents)
