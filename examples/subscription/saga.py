"""A subscription as a saga: signed up or not at all, then a charge every month until it ends.

Law: the sign-up leaves nothing behind when the card is refused; a month is charged once and thanked for once; a
subscriber who leaves, or never fixes a card, has no account afterwards.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from examples.subscription.activities import (
    CardDeclined,
    CardRefused,
    Mail,
    charge,
    check_card,
    close_account,
    create_account,
    send_mail,
)
from examples.subscription.plan import Plan
from sagas import compensating, now, query, saga, signal, sleep_until, wait_until


class End(enum.StrEnum):
    """How a subscription ended."""

    REFUSED = "refused"  # the card, at sign-up: the account was undone
    PAID_UP = "paid up"  # all months of the plan are charged: the account stays
    CANCELLED = "cancelled"
    UNPAID = "unpaid"  # a declined card was not fixed in time


class Phase(enum.StrEnum):
    """What a running subscription is doing."""

    SIGNING_UP = "signing up"
    TRIAL = "trial"
    ACTIVE = "active"
    CARD_DECLINED = "card declined"
    LEAVING = "leaving"  # cancelled, and still paid for
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionResult:
    user_id: str
    end: End
    receipts: list[str]  # one a month, in order

    @property
    def months_paid(self) -> int:
        return len(self.receipts)


@saga(retention=3650)  # accounts are kept for ten years
@dataclass
class Subscription:
    """Started when somebody signs up; lives as long as the subscription."""

    user_id: str
    plan: Plan
    phase: Phase = field(default=Phase.SIGNING_UP, init=False)
    card_is_broken: bool = field(default=False, init=False)
    is_cancelled: bool = field(default=False, init=False)
    receipts: list[str] = field(default_factory=list, init=False)

    async def run(self) -> SubscriptionResult:
        try:
            await self._sign_up()
        except CardRefused:
            return self._ended(End.REFUSED)
        end = await self._months()
        if end is not End.PAID_UP:
            await close_account(self.plan.service, self.user_id)
            await self._mail(Mail.GOODBYE)
        return self._ended(end)

    @signal
    def cancel(self) -> None:
        """The subscriber wants to leave: at the end of the cycle that is paid for."""
        self.is_cancelled = True
        if self.phase in (Phase.TRIAL, Phase.ACTIVE):
            self.phase = Phase.LEAVING

    @signal
    def card_fixed(self) -> None:
        """The subscriber's card works again; billing goes on."""
        self.card_is_broken = False

    @query
    def state(self) -> str:
        """The phase the subscription is in."""
        return self.phase.value

    # --- signing up ---

    async def _sign_up(self) -> None:
        async with compensating():
            await create_account(self.plan.service, self.user_id)
            await check_card(self.plan.service, self.user_id)
            await self._mail(Mail.WELCOME)

    # --- one month after the other ---

    async def _months(self) -> End:
        """Lives through the trial and the months after it, and says how it ended."""
        signed_up = now()
        month = 0
        self._enter(Phase.TRIAL)
        while month != self.plan.months:
            month += 1
            await sleep_until(self.plan.cycle_end(signed_up, month))
            if self.is_cancelled:
                return End.CANCELLED
            if not await self._bill(month):
                return End.CANCELLED if self.is_cancelled else End.UNPAID
            self._enter(Phase.ACTIVE)
        return End.PAID_UP

    def _enter(self, phase: Phase) -> None:
        self.phase = Phase.LEAVING if self.is_cancelled else phase

    async def _bill(self, month: int) -> bool:
        """Charges the month and says thank you; False when the card stays declined, or the subscriber leaves first."""
        while True:
            self.card_is_broken = False
            try:
                receipt = await charge(self.plan.service, self.user_id, month, self.plan.cents)
            except CardDeclined:
                if not await self._get_card_fixed():
                    return False
            else:
                self.receipts.append(receipt)
                await self._mail(Mail.THANK_YOU)
                return True

    async def _get_card_fixed(self) -> bool:
        """Asks for it, and waits as long as the plan allows."""
        self.phase = Phase.CARD_DECLINED
        self.card_is_broken = True
        await self._mail(Mail.FIX_CARD)
        try:
            await wait_until(lambda: self.is_cancelled or not self.card_is_broken, timeout=self.plan.grace)
        except TimeoutError:
            return False
        return not self.is_cancelled

    async def _mail(self, subject: Mail) -> None:
        await send_mail(self.plan.service, self.user_id, subject)

    def _ended(self, end: End) -> SubscriptionResult:
        self.phase = Phase.ENDED
        return SubscriptionResult(user_id=self.user_id, end=end, receipts=self.receipts)
