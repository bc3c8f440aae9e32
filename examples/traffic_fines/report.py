"""Whether the fines came out as the log says: the figures, and every difference by name.

Law: only dates recorded in results are compared with dates of the log; no wall clock is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from examples.traffic_fines.log import LogEvent
from examples.traffic_fines.reference import Reference, reference
from examples.traffic_fines.saga import FineResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The figures of one replay; ``wrong`` names every fine that came out other than the log says, and how."""

    fines: int
    penalties_on_day: int
    penalties_elsewhere: int
    payments: int
    settled: int
    owing: int
    wrong: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.wrong

    def lines(self) -> list[str]:
        """The report for people, one fact a line."""
        return [
            f"{self.fines} fines",
            f"{self.penalties_on_day} penalties on the logged day, {self.penalties_elsewhere} elsewhere",
            f"{self.payments} payments counted",
            f"{self.settled} settled, {self.owing} still owing",
            *(f"WRONG: {difference}" for difference in self.wrong),
        ]


def verify(results: Iterable[FineResult], events: Iterable[LogEvent]) -> Report:
    """Compares every result with plain arithmetic over the log; never raises, says it all in the report."""
    expected = reference(events)
    found = list(results)
    on_day = sum(_penalty_on_day(result, expected) for result in found)
    settled = sum(result.settled for result in found)
    return Report(
        fines=len(found),
        penalties_on_day=on_day,
        penalties_elsewhere=sum(result.penalty_on is not None for result in found) - on_day,
        payments=sum(result.payments for result in found),
        settled=settled,
        owing=len(found) - settled,
        wrong=tuple(_differences(found, expected)),
    )


def _penalty_on_day(result: FineResult, expected: dict[str, Reference]) -> bool:
    logged = expected.get(result.fine)
    return logged is not None and logged.penalty_on is not None and result.penalty_on == logged.penalty_on


def _differences(found: list[FineResult], expected: dict[str, Reference]) -> Iterator[str]:
    names = [result.fine for result in found]
    if len(names) != len(set(names)):
        yield "a fine has more than one result"
    for fine in sorted(expected.keys() ^ set(names)):
        yield f"{fine}: {'no result' if fine in expected else 'not in the log'}"
    for result in found:
        if result.fine in expected:
            yield from _differences_of_one(result, expected[result.fine])


def _differences_of_one(result: FineResult, logged: Reference) -> Iterator[str]:
    for what in ("owed_cents", "paid_cents", "payments", "penalty_on"):
        ours, theirs = getattr(result, what), getattr(logged, what)
        if ours != theirs:
            yield f"{result.fine}: {what} is {ours}, the log says {theirs}"
