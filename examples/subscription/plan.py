"""What a subscriber agreed to, and when each of the months ends.

Law: months are counted from the day of sign-up, never from the month before, so that 31 January is followed by
28 February *and then by 31 March*.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``month=None`` is a calendar month; a ``timedelta`` squeezes it (a second, on a cluster under test).

    ``service`` is the URL of the services, part of the plan so that workers need no settings of their own.
    ``months=None`` goes on until the subscriber leaves; ``grace`` is how long a declined card may stay unfixed.
    """

    service: str
    cents: int
    months: int | None = None
    month: timedelta | None = None
    grace: timedelta = timedelta(days=10)

    def cycle_end(self, signed_up: datetime, cycle: int) -> datetime:
        """The end of the given cycle; cycle 1 is the trial."""
        if self.month is not None:
            return signed_up + cycle * self.month
        return months_later(signed_up, cycle)


def months_later(start: datetime, months: int) -> datetime:
    """The same day and time ``months`` calendar months later, or that month's last day when it is shorter."""
    years, month = divmod(start.month - 1 + months, 12)
    year = start.year + years
    return start.replace(year=year, month=month + 1, day=min(start.day, calendar.monthrange(year, month + 1)[1]))
