"""The hundred fines, replayed: in virtual time, out of step, squeezed, and with a host that dies on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

import sagas
from examples.traffic_fines.driver import Report, drive, verify, wall_clock
from examples.traffic_fines.log import ROME, LogEvent, What, in_date_order, read_log
from examples.traffic_fines.pace import Pace, Scale, squeezed
from examples.traffic_fines.saga import End, Fine, FineResult
from sagas.testing import Environment

EVENTS = list(in_date_order(read_log()))
START = EVENTS[0].at


def replayed(
    advance_of: Callable[[Environment], Callable[[datetime], Awaitable[None]]] = lambda env: env.advance_to,
    pace: Pace | None = None,
    events: Sequence[LogEvent] = EVENTS,
    residents: int = 1000,
) -> list[FineResult]:
    """How the fines end in virtual time, by default in step with the log."""

    async def run() -> list[FineResult]:
        async with sagas.testing.environment(start=START, residents=residents) as env:
            return await drive(env.client, events, advance_of(env), pace or Pace())

    return asyncio.run(run())


def as_logged(report: Report) -> bool:
    return report.lines() == [
        "100 fines",
        "57 penalties on the logged day, 0 elsewhere",
        "58 payments counted",
        "39 settled, 61 still owing",
    ]


def not_at_all(env: Environment) -> Callable[[datetime], Awaitable[None]]:
    """Tells the sagas everything before the first timer can fire."""

    async def advance(until: datetime) -> None:
        await env.settle()

    return advance


def a_week_late(env: Environment) -> Callable[[datetime], Awaitable[None]]:
    """Lets every timer fire before what was to be told a week earlier."""

    async def advance(until: datetime) -> None:
        await env.advance_to(until + timedelta(days=7))

    return advance


def with_crashes(env: Environment) -> Callable[[datetime], Awaitable[None]]:
    """Kills the host before every 20th event and lets another take over."""
    told = 0

    async def advance(until: datetime) -> None:
        nonlocal told
        told += 1
        if told % 20 == 0:
            await env.restart()
        await env.advance_to(until)

    return advance


def test_the_fines_end_as_the_log_says() -> None:
    results = replayed()
    report = verify(results, EVENTS)
    assert report.ok
    assert as_logged(report)
    penalties = [entry for result in results for entry in result.ledger if entry.what is What.PENALTY]
    assert len(penalties) == 57
    assert [entry for entry in penalties if entry.clock != entry.at] == []  # the timers fired when they were due
    assert sum(result.end is End.CREDIT_COLLECTION for result in results) == 36


@pytest.mark.parametrize("advance_of", [not_at_all, a_week_late, with_crashes])
def test_they_end_so_whatever_order_messages_and_timers_arrive_in(
    advance_of: Callable[[Environment], Callable[[datetime], Awaitable[None]]],
) -> None:
    report = verify(replayed(advance_of), EVENTS)
    assert report.ok
    assert as_logged(report)


def test_they_end_so_when_no_fine_is_kept_in_memory() -> None:
    assert as_logged(verify(replayed(residents=0), EVENTS))


def test_they_end_so_at_another_pace() -> None:
    pace = Pace(scale=Scale(origin_log=START, origin_wall=START, ms_per_day=50))
    results = replayed(pace=pace)
    assert as_logged(verify(results, EVENTS))
    assert max(entry.clock for result in results for entry in result.ledger) - START < timedelta(minutes=5)


def test_they_end_so_on_a_real_clock() -> None:
    async def run() -> list[FineResult]:
        async with sagas.embedded(modules=["examples.traffic_fines.saga"]) as client:
            return await drive(client, EVENTS, wall_clock, squeezed(START, ms_per_day=0.5))

    assert as_logged(verify(asyncio.run(run()), EVENTS))


@pytest.mark.parametrize("advance_of", [lambda env: env.advance_to, not_at_all, a_week_late])
def test_the_penalty_precedes_the_payment_of_the_same_instant(
    advance_of: Callable[[Environment], Callable[[datetime], Awaitable[None]]],
) -> None:
    [result] = replayed(advance_of, events=[event for event in EVENTS if event.fine == "A43678"])
    assert [(entry.what, entry.at.date()) for entry in result.ledger[-2:]] == [
        (What.PENALTY, date(2009, 11, 30)),
        (What.PAID, date(2009, 11, 30)),
    ]
    assert (result.owed_cents, result.paid_cents, result.end) == (7750 + 1350, 5150, End.OWING)


def told(fine: str, what: What, day: date, seq: int, dismissal: str = "") -> LogEvent:
    at = datetime(day.year, day.month, day.day, tzinfo=ROME)
    return LogEvent(fine=fine, what=what, at=at, seq=seq, dismissal=dismissal)


@pytest.mark.parametrize(("dismissal", "end"), [("#", End.DISMISSED), ("G", End.DISMISSED), ("NIL", End.OWING)])
def test_a_dismissal_ends_a_fine_before_its_penalty(dismissal: str, end: End) -> None:
    notified, heard = date(2009, 10, 1), date(2009, 10, 20)

    async def run() -> FineResult:
        async with sagas.testing.environment(start=START) as env:
            fine = await env.client.start(Fine, "A43678", 3800, START, Pace())
            await fine.signal(Fine.record, told("A43678", What.NOTIFIED, notified, 1))
            await fine.signal(Fine.record, told("A43678", What.APPEAL_RESULT, heard, 2, dismissal))
            await fine.signal(Fine.log_ends, datetime(2009, 11, 1, tzinfo=ROME))
            return await fine.result()

    result = asyncio.run(run())
    assert (result.end, result.penalty_on, result.penalty_cents) == (end, None, 0)


def test_the_balance_can_be_asked_at_any_time() -> None:
    async def run() -> list[int]:
        async with sagas.testing.environment(start=START) as env:
            fine = await env.client.start(Fine, "A43678", 3800, START, Pace())
            balances = [await fine.query(Fine.balance)]
            await fine.signal(Fine.record, told("A43678", What.NOTIFIED, date(2009, 10, 1), 1))
            await env.advance_to(datetime(2009, 11, 29, 22, 59, tzinfo=UTC))  # a minute to midnight in Rome
            balances.append(await fine.query(Fine.balance))
            await env.advance(minutes=1)
            balances.append(await fine.query(Fine.balance))
            return balances

    assert asyncio.run(run()) == [3800, 3800, 7750]


def test_verify_sees_what_is_wrong() -> None:
    results = replayed(not_at_all)
    late = next(number for number, result in enumerate(results) if result.penalty_on)
    paid = next(number for number, result in enumerate(results) if result.paid_cents)
    day = results[late].penalty_on
    assert day is not None
    wrong = {
        "penalty": [*results[:late], replace(results[late], penalty_on=day + timedelta(days=1)), *results[late + 1 :]],
        "payment": [*results[:paid], replace(results[paid], paid_cents=0, payments=0), *results[paid + 1 :]],
        "missing": results[1:],
        "twice": [*results, results[0]],
    }
    assert {name for name, found in wrong.items() if not verify(found, EVENTS).ok} == wrong.keys()
    assert verify(wrong["penalty"], EVENTS).penalties_elsewhere == 1
