"""Both examples with every instance dropped and rebuilt at every point: same history, same end as with none dropped."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

import sagas
from examples.subscription.activities import (
    CardDeclined,
    CardRefused,
    Mail,
    charge,
    check_card,
    close_account,
    create_account,
    remove_account,
    send_mail,
)
from examples.subscription.plan import Plan
from examples.subscription.saga import End, Subscription, SubscriptionResult
from examples.traffic_fines import driver as fines
from examples.traffic_fines.log import in_date_order, read_log
from examples.traffic_fines.pace import Pace
from sagas.testing import Environment

Told = tuple[Any, list[list[tuple[Any, ...]]]]

RANDOM = {"run_id", "message_id", "trace"}
"""What differs from run to run by its nature."""


async def told(env: Environment, ids: list[str]) -> list[list[tuple[Any, ...]]]:
    """The histories, without what is random."""
    return [
        [
            (type(event).__name__, *(getattr(event, f.name) for f in dataclasses.fields(event) if f.name not in RANDOM))
            for event in await env.client.get(id).history()
        ]
        for id in ids
    ]


async def the_fines(env: Environment) -> Told:
    events = list(in_date_order(read_log()))
    results = await fines.drive(env.client, events, env.advance_to, Pace())
    assert fines.verify(results, events).ok
    return results, await told(env, [fines.fine_id(result.fine) for result in results])


async def two_years(env: Environment) -> Told:
    """Twenty-four months of one subscriber whose card is declined in the third, and one who is refused."""
    declined = [3]
    seen: list[tuple[Any, ...]] = []

    async def pay(service: str, user: str, month: int, cents: int) -> str:
        if month in declined:
            declined.remove(month)
            raise CardDeclined("no funds")
        seen.append(("charge", user, month))
        return f"{user}-{month}"

    async def check(service: str, user: str) -> None:
        if user == "u2":
            raise CardRefused("stolen")

    async def nothing(*args: Any) -> str:
        seen.append(args)
        return "done"

    for activity, stand_in in ((charge, pay), (check_card, check)):
        env.replace(activity, stand_in)
    for other in (create_account, remove_account, close_account, send_mail):
        env.replace(other, nothing)
    plan = Plan(service="none", cents=500, months=24)
    payer = await env.client.start(Subscription, "u1", plan, id="u1")
    refused = await env.client.start(Subscription, "u2", plan, id="u2")
    await env.advance(days=100)
    assert ("none", "u1", Mail.FIX_CARD) in seen
    await payer.signal(Subscription.card_fixed)
    results: list[SubscriptionResult] = [await payer.result(), await refused.result()]
    assert [(result.end, result.months_paid) for result in results] == [(End.PAID_UP, 24), (End.REFUSED, 0)]
    assert [entry[2] for entry in seen if entry[0] == "charge"] == list(range(1, 25))
    return results, await told(env, ["u1", "u2"])


@pytest.mark.parametrize("play", [the_fines, two_years])
def test_instances_rebuilt_at_every_point_have_the_same_history_and_end(
    play: Callable[[Environment], Awaitable[Told]],
) -> None:
    async def with_residents(residents: int) -> Told:
        start = datetime(2000, 1, 1, tzinfo=UTC)
        async with sagas.testing.environment(start=start, residents=residents) as env:
            return await play(env)

    kept, rebuilt = asyncio.run(with_residents(1000)), asyncio.run(with_residents(0))
    assert rebuilt == kept
