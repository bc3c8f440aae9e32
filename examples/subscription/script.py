"""What happens to each subscriber of a run: a fate, the month it strikes in, the faults it takes, and how it must end.

Law: a script is drawn from a seed and nothing else, so that a run can be repeated.
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass, replace

from examples.subscription.faults import Fault, FaultKind
from examples.subscription.ledger import Op
from examples.subscription.plan import Plan
from examples.subscription.saga import End
from examples.subscription.wire import TIMEOUT_S


class Fate(enum.StrEnum):
    PAYS = "pays every month"
    REFUSED = "has a card that is refused at sign-up"
    FIXES = "has a card declined once, and fixes it"
    NEVER_FIXES = "has a card declined, and never fixes it"
    CANCELS = "cancels in mid-cycle"
    TIMES_OUT = "is charged, but the answer comes too late"
    ERRS = "is charged between two failures of the payment service"
    CRASHES = "is charged, and the services crash before they answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """``month`` is the one in which the fate strikes, counted from 1; cancelling follows that month's charge."""

    user: str
    fate: Fate
    month: int

    def faults(self) -> list[Fault]:
        """What the services must be told before this user signs up."""
        match self.fate:
            case Fate.REFUSED:
                return [Fault(kind=FaultKind.DECLINE, op=Op.CHECK_CARD, user=self.user)]
            case Fate.FIXES | Fate.NEVER_FIXES:
                return [self._at_charge(FaultKind.DECLINE)]
            case Fate.TIMES_OUT:
                return [self._at_charge(FaultKind.DELAY_AFTER, delay_s=TIMEOUT_S + 0.5)]
            case Fate.ERRS:
                return [self._at_charge(FaultKind.ERROR_BEFORE), self._at_charge(FaultKind.ERROR_AFTER)]
            case Fate.CRASHES:
                return [self._at_charge(FaultKind.CRASH_AFTER)]
            case Fate.PAYS | Fate.CANCELS:
                return []

    def end(self) -> End:
        """How the subscription must end."""
        match self.fate:
            case Fate.REFUSED:
                return End.REFUSED
            case Fate.NEVER_FIXES:
                return End.UNPAID
            case Fate.CANCELS:
                return End.CANCELLED
            case _:
                return End.PAID_UP

    def plan(self, common: Plan) -> Plan:
        """What this user agrees to: the common plan, changed where a reaction that comes late would matter.

        Who will cancel has a plan without an end, and who will fix a card has all the time it takes; so the end is the
        same however busy the cluster is.
        """
        match self.fate:
            case Fate.CANCELS:
                return replace(common, months=None)
            case Fate.FIXES:
                return replace(common, grace=100 * common.grace)
            case _:
                return common

    def may_have_paid(self, months: int, of_plan: int) -> bool:
        """Whether this many months may be paid at the end."""
        match self.fate:
            case Fate.REFUSED:
                return months == 0
            case Fate.NEVER_FIXES:
                return months == self.month - 1
            case Fate.CANCELS:
                return months >= self.month
            case _:
                return months == of_plan

    def _at_charge(self, kind: FaultKind, delay_s: float = 0.0) -> Fault:
        return Fault(kind=kind, op=Op.CHARGE, user=self.user, month=self.month, delay_s=delay_s)


def scripts(users: int, *, seed: int, months: int, fates: tuple[Fate, ...] = tuple(Fate)) -> list[Script]:
    """A script for each of ``users`` subscribers, all fates about equally often; fates strike in the first half."""
    dice = random.Random(seed)
    drawn = [fates[number % len(fates)] for number in range(users)]
    dice.shuffle(drawn)
    return [
        Script(user=f"user-{number}", fate=fate, month=dice.randint(1, max(1, months // 2)))
        for number, fate in enumerate(drawn)
    ]
