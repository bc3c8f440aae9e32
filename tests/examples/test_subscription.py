"""Subscriptions against the real services: every fate in virtual time, some on a real clock, and each rule alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import sagas
from examples.subscription import wire
from examples.subscription.driver import drive, scripts, verify
from examples.subscription.faults import Fault, FaultKind
from examples.subscription.ledger import Entry, Kind, Ledger, Op
from examples.subscription.plan import Plan, months_later
from examples.subscription.process import ServiceProcess
from examples.subscription.saga import End, Subscription, SubscriptionResult
from examples.subscription.script import Fate, Script
from sagas.testing import Environment

MONTHS = 4


@pytest.fixture
def services(tmp_path: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path / "ledger.jsonl") as process:
        yield process


@pytest.fixture
def plan(services: ServiceProcess) -> Plan:
    return Plan(service=services.url, cents=990, months=MONTHS)


def in_virtual_time(story: Callable[[Environment], Awaitable[None]], start: datetime | None = None) -> None:
    """Lives through a story of one test."""

    async def run() -> None:
        async with sagas.testing.environment(start=start or datetime(2024, 1, 31, tzinfo=UTC)) as env:
            await story(env)

    asyncio.run(run())


def driven(plan: Plan, cast: list[Script], *, crash_every: int = 0) -> list[SubscriptionResult]:
    """How a cast's subscriptions end in virtual time; the host dies every so many days."""
    results: list[SubscriptionResult] = []

    async def story(env: Environment) -> None:
        days = 0

        async def a_day() -> None:
            nonlocal days
            days += 1
            if crash_every and days % crash_every == 0:
                await env.restart()
            await env.advance(days=1)

        results.extend(await drive(env.client, plan, cast, a_day))

    in_virtual_time(story)
    return results


def test_every_fate_comes_out_right(services: ServiceProcess, plan: Plan) -> None:
    cast = scripts(2 * len(Fate), seed=7, months=MONTHS)
    results = driven(plan, cast)
    report = verify(Ledger.read(services.ledger), results, cast, plan)
    assert report.wrong == ()
    assert report.ends == {End.REFUSED: 2, End.PAID_UP: 10, End.CANCELLED: 2, End.UNPAID: 2}
    assert report.accounts == 10
    assert services.starts > 1  # the crashes did happen


def test_hosts_that_die_charge_nobody_twice(services: ServiceProcess, plan: Plan) -> None:
    fates = (Fate.PAYS, Fate.FIXES, Fate.CANCELS, Fate.REFUSED, Fate.ERRS)
    cast = scripts(len(fates), seed=3, months=MONTHS, fates=fates)
    results = driven(plan, cast, crash_every=5)
    assert verify(Ledger.read(services.ledger), results, cast, plan).wrong == ()


def test_months_of_a_fraction_of_a_second_on_a_real_clock(services: ServiceProcess) -> None:
    cast = scripts(2 * len(Fate), seed=5, months=MONTHS)
    month = timedelta(seconds=0.3)
    plan = Plan(service=services.url, cents=990, months=MONTHS, month=month, grace=10 * month)

    async def run() -> list[SubscriptionResult]:
        async with sagas.embedded(modules=["examples.subscription.saga"]) as client:
            return await drive(client, plan, cast, lambda: asyncio.sleep(0.02))

    results = asyncio.run(run())
    assert verify(Ledger.read(services.ledger), results, cast, plan).wrong == ()


def test_a_refused_card_leaves_no_account(services: ServiceProcess, plan: Plan) -> None:
    wire.order(plan.service, Fault(kind=FaultKind.DECLINE, op=Op.CHECK_CARD, user="ann"))

    async def story(env: Environment) -> None:
        result = await env.client.execute(Subscription, "ann", plan)
        assert (result.end, result.receipts) == (End.REFUSED, [])

    in_virtual_time(story)
    ledger = Ledger.read(services.ledger)
    [created], [removed] = ledger.effects(Op.CREATE_ACCOUNT), ledger.effects(Op.REMOVE_ACCOUNT)
    assert removed.undo_of == created.key
    assert ledger.accounts() == {}
    assert ledger.effects(Op.MAIL) == []


def test_a_month_is_a_calendar_month_from_the_day_of_sign_up(services: ServiceProcess, plan: Plan) -> None:
    async def story(env: Environment) -> None:
        subscription = await env.client.start(Subscription, "ann", plan)
        seen = {}
        for day in (datetime(2024, 2, 28, tzinfo=UTC) + timedelta(days=number) for number in range(63)):
            await env.advance_to(day)
            seen[day.date().isoformat()] = Ledger.read(services.ledger).charges().total()
        assert seen["2024-02-28"] == 0
        assert seen["2024-02-29"] == 1  # February has no 31st
        assert seen["2024-03-30"] == 1
        assert seen["2024-03-31"] == 2  # and March has
        assert seen["2024-04-29"] == 2
        assert seen["2024-04-30"] == 3
        assert (await subscription.result()).months_paid == MONTHS

    in_virtual_time(story)


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        ("2024-01-31", 1, "2024-02-29"),
        ("2023-01-31", 1, "2023-02-28"),
        ("2024-01-31", 2, "2024-03-31"),
        ("2024-11-30", 1, "2024-12-30"),
        ("2024-12-15", 1, "2025-01-15"),
        ("2024-10-31", 28, "2027-02-28"),
    ],
)
def test_months_are_counted_on_the_calendar(start: str, months: int, end: str) -> None:
    assert months_later(datetime.fromisoformat(start), months) == datetime.fromisoformat(end)


def test_cancelling_in_mid_cycle_takes_effect_at_its_end(services: ServiceProcess, plan: Plan) -> None:
    async def story(env: Environment) -> None:
        subscription = await env.client.start(Subscription, "ann", plan)
        await env.advance_to(datetime(2024, 3, 10, tzinfo=UTC))  # one month is charged, up to 31 March
        assert await subscription.query(Subscription.state) == "active"
        await subscription.signal(Subscription.cancel)
        await env.advance_to(datetime(2024, 3, 30, tzinfo=UTC))
        assert await subscription.query(Subscription.state) == "leaving"
        assert Ledger.read(services.ledger).accounts().keys() == {"ann"}
        await env.advance_to(datetime(2024, 3, 31, tzinfo=UTC))
        assert Ledger.read(services.ledger).accounts() == {}
        result = await subscription.result()
        assert (result.end, result.months_paid) == (End.CANCELLED, 1)

    in_virtual_time(story)


def test_cancelling_the_trial_costs_nothing(services: ServiceProcess, plan: Plan) -> None:
    async def story(env: Environment) -> None:
        subscription = await env.client.start(Subscription, "ann", plan)
        await subscription.signal(Subscription.cancel)
        assert (await subscription.result()).end is End.CANCELLED
        assert env.now == datetime(2024, 2, 29, tzinfo=UTC)

    in_virtual_time(story)
    assert Ledger.read(services.ledger).charges() == {}


def test_a_card_fixed_in_time_resumes_billing(services: ServiceProcess, plan: Plan) -> None:
    wire.order(plan.service, Fault(kind=FaultKind.DECLINE, op=Op.CHARGE, user="ann", times=2))

    async def story(env: Environment) -> None:
        subscription = await env.client.start(Subscription, "ann", plan)
        await env.advance_to(datetime(2024, 2, 29, tzinfo=UTC))
        for _ in range(2):  # the card fails once more after it was "fixed"
            assert await subscription.query(Subscription.state) == "card declined"
            await env.advance(days=9)
            await subscription.signal(Subscription.card_fixed)
            await env.settle()
        assert await subscription.query(Subscription.state) == "active"
        assert (await subscription.result()).end is End.PAID_UP

    in_virtual_time(story)
    ledger = Ledger.read(services.ledger)
    assert ledger.charges() == {("ann", month): 1 for month in range(1, MONTHS + 1)}
    assert ledger.mails()["ann", "fix your card"] == 2


def test_a_card_never_fixed_ends_the_subscription(services: ServiceProcess, plan: Plan) -> None:
    wire.order(plan.service, Fault(kind=FaultKind.DECLINE, op=Op.CHARGE, user="ann"))

    async def story(env: Environment) -> None:
        result = await env.client.execute(Subscription, "ann", plan)
        assert (result.end, result.months_paid) == (End.UNPAID, 0)
        assert env.now == datetime(2024, 2, 29, tzinfo=UTC) + plan.grace

    in_virtual_time(story)
    assert Ledger.read(services.ledger).accounts() == {}


def test_a_charge_whose_answer_got_lost_is_made_once(services: ServiceProcess, plan: Plan) -> None:
    late = Fault(kind=FaultKind.DELAY_AFTER, op=Op.CHARGE, user="ann", month=2, delay_s=wire.TIMEOUT_S + 1)
    wire.order(plan.service, late)

    async def story(env: Environment) -> None:
        assert (await env.client.execute(Subscription, "ann", plan)).months_paid == MONTHS

    in_virtual_time(story)
    ledger = Ledger.read(services.ledger)
    assert ledger.charges()["ann", 2] == 1
    assert ledger.count(Kind.REPEAT) == 1


def test_verify_sees_what_is_wrong(services: ServiceProcess, plan: Plan) -> None:
    cast = [Script(user="ann", fate=Fate.PAYS, month=1), Script(user="bob", fate=Fate.CANCELS, month=1)]
    results = driven(plan, cast)
    ledger = Ledger.read(services.ledger)
    entries = ledger.entries
    charge, removal = ledger.effects(Op.CHARGE)[0], ledger.effects(Op.REMOVE_ACCOUNT)[0]
    repeats = tuple(Entry(seq=0, kind=Kind.REPEAT) for _ in range(1 + ledger.unanswered()))
    answered = tuple(Entry(seq=0, kind=Kind.ANSWERED) for _ in repeats)
    ledgers = {
        "charged twice": Ledger((*entries, charge)),
        "not charged": Ledger(tuple(entry for entry in entries if entry != charge)),
        "account left": Ledger(tuple(entry for entry in entries if entry != removal)),
        "repeated": Ledger((*entries, *repeats, *answered)),
    }
    assert verify(ledger, results, cast, plan).ok
    assert {name for name, other in ledgers.items() if not verify(other, results, cast, plan).ok} == ledgers.keys()
    assert not verify(ledger, results[1:], cast, plan).ok
    assert not verify(ledger, [replace(results[0], end=End.UNPAID), results[1]], cast, plan).ok
