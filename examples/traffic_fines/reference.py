"""What the log itself says about each fine: plain arithmetic over its rows, with no saga in it.

Law: it shares no code with the saga beyond reading the file, so that the two can disagree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from examples.traffic_fines.log import LogEvent, What, by_fine


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A fine at the end of the log. It is settled when its payments cover the amount in force and the postage."""

    owed_cents: int
    paid_cents: int
    payments: int
    penalty_on: date | None

    @property
    def settled(self) -> bool:
        return self.paid_cents >= self.owed_cents


def reference(events: Iterable[LogEvent]) -> dict[str, Reference]:
    """Every fine of the log as its own rows add up."""
    return {fine: _of_one(rows) for fine, rows in by_fine(events).items()}


def _of_one(rows: list[LogEvent]) -> Reference:
    amounts = [row.amount_cents for row in rows if row.amount_cents is not None]
    payments = [row.payment_cents or 0 for row in rows if row.what is What.PAID]
    penalties = [row.at.date() for row in rows if row.what is What.PENALTY]
    return Reference(
        owed_cents=amounts[-1] + sum(row.expense_cents or 0 for row in rows),
        paid_cents=sum(payments),
        payments=len(payments),
        penalty_on=penalties[0] if penalties else None,
    )
