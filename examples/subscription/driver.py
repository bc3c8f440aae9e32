"""The subscribers: they sign up, and react to what reaches them (a mail, a charge), as their scripts say.

Law: a subscriber acts on what the ledger shows, never on the time; so a slow cluster is slower, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from examples.delivery import delivered
from examples.subscription import wire
from examples.subscription.activities import Mail
from examples.subscription.ledger import Entry, Kind, Op
from examples.subscription.plan import Plan
from examples.subscription.report import Report, verify
from examples.subscription.saga import Subscription, SubscriptionResult
from examples.subscription.script import Fate, Script, scripts
from sagas import Client, Handle

__all__ = ["Advance", "Report", "drive", "scripts", "subscription_id", "verify"]

Advance = Callable[[], Awaitable[None]]
"""Lets a little time pass between two looks at the ledger: a virtual day, or some milliseconds of a real cluster."""

PATIENCE = 20_000
"""Looks at the ledger before the driver gives up on a reaction that never comes."""


def subscription_id(user: str) -> str:
    """The saga id of a user's subscription."""
    return f"subscription-{user}"


async def drive(client: Client, plan: Plan, cast: Sequence[Script], advance: Advance) -> list[SubscriptionResult]:
    """Signs everybody up, lets the scripts happen, and returns how each subscription ended, in the cast's order.

    ``plan`` is what all agree to, but for what a script needs otherwise.
    Raises: TimeoutError when what a script waits for never happens.
    """
    for fault in [fault for script in cast for fault in script.faults()]:
        await asyncio.to_thread(wire.order, plan.service, fault)
    handles = {script.user: await _sign_up(client, plan, script) for script in cast}
    await _react(plan.service, handles, [script for script in cast if _waits_for_something(script)], advance)
    return [await delivered(handles[script.user].result) for script in cast]


async def _sign_up(client: Client, plan: Plan, script: Script) -> Handle[SubscriptionResult]:
    return await delivered(
        lambda: client.start(
            Subscription, script.user, script.plan(plan), id=subscription_id(script.user), on_conflict="use_existing"
        )
    )


def _waits_for_something(script: Script) -> bool:
    return script.fate in (Fate.FIXES, Fate.CANCELS)


async def _react(
    service: str, handles: dict[str, Handle[SubscriptionResult]], waiting: list[Script], advance: Advance
) -> None:
    """Watches the ledger until every waiting subscriber has seen what they wait for, and acted."""
    seen = 0
    for _ in range(PATIENCE):
        news = await _news(service, seen)
        seen += len(news)
        for script in [script for script in waiting if any(_concerns(script, entry) for entry in news)]:
            await _act(handles[script.user], script)
            waiting.remove(script)
        if not waiting:
            return
        await advance()
    raise TimeoutError(f"still waiting: {', '.join(f'{script.user} ({script.fate})' for script in waiting)}")


async def _news(service: str, seen: int) -> list[Entry]:
    """Entries not seen yet; none while the services are down."""
    with suppress(*wire.NO_ANSWER):
        return await asyncio.to_thread(wire.entries, service, seen)
    return []


def _concerns(script: Script, entry: Entry) -> bool:
    """Whether this is what the subscriber waits for."""
    if entry.kind is not Kind.EFFECT or entry.user != script.user:
        return False
    if script.fate is Fate.FIXES:
        return entry.op is Op.MAIL and entry.detail == Mail.FIX_CARD
    return entry.op is Op.CHARGE and entry.month == script.month


async def _act(subscription: Handle[SubscriptionResult], script: Script) -> None:
    if script.fate is Fate.FIXES:
        await delivered(lambda: subscription.signal(Subscription.card_fixed, message_id=f"{script.user}-fixed"))
    else:
        await delivered(lambda: subscription.signal(Subscription.cancel, message_id=f"{script.user}-cancels"))
