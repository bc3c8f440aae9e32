"""A fine as a saga: from its creation until it is closed, with the penalty as a durable timer of its own.

Law: a fine handles what happened by its *date in the log*, whatever order messages and timer arrive in: an event dated
at or after the penalty's due date waits until the penalty is booked. The due date is 60 calendar days after the
notification in Europe/Rome (the same wall-clock midnight, which is not 60 x 24 hours when the clocks change between).
Paying does not close a fine: postage may still be added to a fine that was paid in full (N36957).
"""

from __future__ import annotations

import enum
import heapq
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache

from examples.traffic_fines.log import ROME, LogEvent, What, read_log
from examples.traffic_fines.pace import Pace
from sagas import Rejected, Retry, activity, now, query, saga, signal, wait_until

PENALTY_AFTER = timedelta(days=60)
"""Calendar days: added to a Rome datetime this keeps the wall-clock time, as the law does."""

DISMISSED_BY = frozenset({"#", "G"})
"""The log's marks for a fine that the prefecture (#) or a judge (G) dismissed."""


class NoPenaltyKnown(Rejected):
    """The registry has no penalty for this fine."""


@activity(retry=Retry(initial=0.1, max_interval=5.0), timeout=10)
def penalty_amount(fine: str) -> int:
    """The fine's new amount in cents once the penalty applies, as the registry has it."""
    amounts = _registry()
    if fine not in amounts:
        raise NoPenaltyKnown(fine)
    return amounts[fine]


class End(enum.StrEnum):
    """How a fine stands when its saga ends."""

    SETTLED = "settled"
    OWING = "owing"
    CREDIT_COLLECTION = "sent to credit collection"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the fine's ledger: ``cents`` is what it adds to the balance (payments are negative)."""

    at: datetime  # the date in the log; for the penalty, its due date
    what: What
    cents: int
    clock: datetime  # what the saga's clock showed when it was booked


@dataclass(frozen=True, slots=True, kw_only=True)
class FineResult:
    """How a fine ended. ``owed_cents`` is all that was asked for: the fine, its postage, its penalty."""

    fine: str
    end: End
    owed_cents: int
    paid_cents: int
    payments: int
    penalty_on: date | None
    penalty_cents: int  # what the penalty added
    ledger: list[Entry]  # by date

    @property
    def settled(self) -> bool:
        return self.paid_cents >= self.owed_cents


@saga(retention=None)  # an authority keeps its files for ever
@dataclass
class Fine:
    """Started when a fine is created; everything else that happens to it arrives as a signal."""

    fine: str
    amount_cents: int
    created: datetime
    pace: Pace
    end: End | None = field(default=None, init=False)
    due: datetime | None = field(default=None, init=False)  # of a penalty that is not booked yet
    inbox: list[tuple[datetime, int, LogEvent]] = field(default_factory=list, init=False)  # a heap, by date
    ledger: list[Entry] = field(default_factory=list, init=False)

    async def run(self) -> FineResult:
        self._book(What.CREATED, self.created, self.amount_cents)
        while self.end is None:
            try:
                await wait_until(self._can_handle, timeout=self._until_due())
            except TimeoutError:
                await self._penalise()
            else:
                self._handle(heapq.heappop(self.inbox)[-1])
        return self._result(self.end)

    @signal
    def record(self, event: LogEvent) -> None:
        """Something happened to the fine on ``event.at``."""
        heapq.heappush(self.inbox, (event.at, event.seq, event))

    @signal
    def log_ends(self, at: datetime) -> None:
        """Nothing is known after ``at``: the fine is closed as it then stands."""
        last = 1 + max((seq for _, seq, _ in self.inbox), default=0)
        self.record(LogEvent(fine=self.fine, what=What.LOG_ENDS, at=at, seq=last))

    @query
    def balance(self) -> int:
        """Cents still to be paid; negative when too much was paid."""
        return sum(entry.cents for entry in self.ledger)

    # --- the penalty ---

    def _can_handle(self) -> bool:
        """There is an event, and no penalty comes before it."""
        return bool(self.inbox) and (self.due is None or self.inbox[0][0] < self.due)

    def _until_due(self) -> timedelta | None:
        """How long the saga's clock still has to go until the penalty; None when there is none to come."""
        return None if self.due is None else max(timedelta(0), self.pace.instant(self.due) - now())

    async def _penalise(self) -> None:
        assert self.due is not None
        clock = now()
        new_amount = await penalty_amount(self.fine)
        self._book(What.PENALTY, self.due, new_amount - self.amount_cents, clock)
        self.due = None

    # --- what happened ---

    def _handle(self, event: LogEvent) -> None:
        match event.what:
            case What.SENT:
                self._book(event.what, event.at, event.expense_cents or 0)
            case What.PAID:
                self._book(event.what, event.at, -(event.payment_cents or 0))
            case What.NOTIFIED:
                self.due = event.at.astimezone(ROME) + PENALTY_AFTER
            case What.CREDIT_COLLECTION:
                self.end = End.CREDIT_COLLECTION
            case What.LOG_ENDS:
                self.end = End.SETTLED if self.balance() <= 0 else End.OWING
            case _ if event.dismissal in DISMISSED_BY:
                self.end = End.DISMISSED
            case _:
                self._book(event.what, event.at, 0)

    def _book(self, what: What, at: datetime, cents: int, clock: datetime | None = None) -> None:
        self.ledger.append(Entry(at=at.astimezone(ROME), what=what, cents=cents, clock=clock or now()))

    def _result(self, end: End) -> FineResult:
        payments = [-entry.cents for entry in self.ledger if entry.what is What.PAID]
        penalty = next((entry for entry in self.ledger if entry.what is What.PENALTY), None)
        return FineResult(
            fine=self.fine,
            end=end,
            owed_cents=self.balance() + sum(payments),
            paid_cents=sum(payments),
            payments=len(payments),
            penalty_on=penalty.at.date() if penalty else None,
            penalty_cents=penalty.cents if penalty else 0,
            ledger=sorted(self.ledger, key=lambda entry: entry.at),
        )


@lru_cache(maxsize=1)
def _registry() -> dict[str, int]:
    """What the police registry would answer: the new amount of every fine that got a penalty."""
    return {event.fine: event.amount_cents or 0 for event in read_log() if event.what is What.PENALTY}
