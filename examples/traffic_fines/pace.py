"""How the log's dates map to the clock a saga sleeps by; the only place where the two meet.

Law: a pace decides *when a replay happens*, never *what it means*: due dates are computed and recorded as dates of
the log, so the same fines come out at any pace.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from examples.traffic_fines.log import ROME


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The log's instant ``origin_log`` happens at ``origin_wall``, and every calendar day lasts ``ms_per_day``."""

    origin_log: datetime
    origin_wall: datetime
    ms_per_day: float

    def instant(self, at: datetime) -> datetime:
        """When the log's ``at`` happens on the wall clock."""
        calendar = _calendar(at) - _calendar(self.origin_log)
        return self.origin_wall.astimezone(UTC) + calendar / timedelta(days=1) * timedelta(milliseconds=self.ms_per_day)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """``scale=None``: the clock shows the log's own dates (virtual time). Otherwise the log runs squeezed."""

    scale: Scale | None = None

    def instant(self, at: datetime) -> datetime:
        """The instant of the saga's clock at which the log's ``at`` happens."""
        return at if self.scale is None else self.scale.instant(at)


def squeezed(origin_log: datetime, ms_per_day: float) -> Pace:
    """A pace that begins now: a day of the log takes ``ms_per_day`` milliseconds."""
    return Pace(scale=Scale(origin_log=origin_log, origin_wall=datetime.now(UTC), ms_per_day=ms_per_day))


def _calendar(at: datetime) -> datetime:
    """The date and time that Rome's calendars and clocks show; naive, so that all its days are 24 hours."""
    return at.astimezone(ROME).replace(tzinfo=None)
