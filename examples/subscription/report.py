"""Whether the world looks as the subscriptions say: the figures, and every difference by name.

Law: the ledger is the judge; a result is believed only where the ledger shows the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from examples.subscription.activities import Mail
from examples.subscription.ledger import Kind, Ledger, Op
from examples.subscription.plan import Plan
from examples.subscription.saga import End, SubscriptionResult
from examples.subscription.script import Script


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The figures of one run; ``wrong`` names everything that is not as it must be."""

    subscriptions: int
    ends: dict[End, int]
    months_charged: int
    faults: int
    repeats: int
    accounts: int
    wrong: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.wrong

    def lines(self) -> list[str]:
        """The report for people, one fact a line."""
        ends = ", ".join(f"{number} {end.value}" for end, number in self.ends.items() if number)
        return [
            f"{self.subscriptions} subscriptions: {ends}",
            f"{self.months_charged} months charged, each once" if self.ok else f"{self.months_charged} charges",
            f"{self.faults} faults made, {self.repeats} requests repeated and recognised",
            f"{self.accounts} accounts left",
            *(f"WRONG: {difference}" for difference in self.wrong),
        ]


def verify(
    ledger: Ledger, results: Sequence[SubscriptionResult], cast: Sequence[Script], plan: Plan, *, kills: int = 0
) -> Report:
    """Compares ledger, results and scripts; never raises, says it all in the report.

    ``kills`` is how many requests may be repeated besides those whose answer the services kept back: one for each step
    that was running on a worker when somebody killed it.
    """
    return Report(
        subscriptions=len(results),
        ends={end: sum(result.end is end for result in results) for end in End},
        months_charged=ledger.charges().total(),
        faults=ledger.count(Kind.FAULT_USED),
        repeats=ledger.count(Kind.REPEAT),
        accounts=len(ledger.accounts()),
        wrong=(*_scripts(results, cast, plan), *_charges(ledger, results), *_world(ledger, results, kills)),
    )


def _scripts(results: Sequence[SubscriptionResult], cast: Sequence[Script], plan: Plan) -> Iterator[str]:
    """Everybody's subscription ended as their script demands."""
    by_user = {result.user_id: result for result in results}
    if len(by_user) != len(results) or by_user.keys() != {script.user for script in cast}:
        yield "the results are not one for each subscriber"
    for script in cast:
        result = by_user.get(script.user)
        if result is None:
            continue
        if result.end is not script.end():
            yield f"{script.user} {script.fate}, but ended {result.end.value}"
        if plan.months is not None and not script.may_have_paid(result.months_paid, plan.months):
            yield f"{script.user} {script.fate}, but paid {result.months_paid} months"


def _charges(ledger: Ledger, results: Sequence[SubscriptionResult]) -> Iterator[str]:
    """Every paid month was charged once and thanked for once, and nothing else was."""
    expected = {(result.user_id, month) for result in results for month in range(1, result.months_paid + 1)}
    charges, mails = ledger.charges(), ledger.mails()
    for user, month in sorted(expected | charges.keys()):
        if charges[user, month] != ((user, month) in expected):
            yield f"{user} was charged {charges[user, month]} times for month {month}"
    declined = ledger.refusals(Op.CHARGE)
    for result in results:
        for subject, due in ((Mail.THANK_YOU, result.months_paid), (Mail.FIX_CARD, declined[result.user_id])):
            if mails[result.user_id, subject] != due:
                yield f"{result.user_id} got {mails[result.user_id, subject]} mails {subject.value!r} instead of {due}"


def _world(ledger: Ledger, results: Sequence[SubscriptionResult], kills: int) -> Iterator[str]:
    """Accounts are left where they should be, and no request was repeated without a reason."""
    stay = {result.user_id for result in results if result.end is End.PAID_UP}
    for user in sorted(stay ^ ledger.accounts().keys()):
        yield f"{user} has {'no account' if user in stay else 'an account left'}"
    repeats, excused = ledger.count(Kind.REPEAT), ledger.unanswered() + kills
    if repeats > excused:
        yield f"{repeats} requests were repeated, but only {excused} had a reason to be"
