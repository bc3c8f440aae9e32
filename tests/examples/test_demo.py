"""The demo's judgement and its words; that it runs is proved by running it (`make demo`)."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace

import pytest
from rich.console import Console

from examples.demo.ending import figures, mistakes, show_figures
from examples.demo.kills import Kill
from examples.demo.news import Line
from examples.demo.play import Outcome
from examples.demo.screen import Screen
from examples.subscription.ledger import Entry, Kind, Ledger, Op
from examples.subscription.report import Report as SubscriptionReport
from examples.subscription.saga import End
from examples.traffic_fines.report import Report as FineReport

CHARGED = Entry(seq=0, kind=Kind.EFFECT, op=Op.CHARGE, user="ann", month=1, key="k-1")
ANSWERED = Entry(seq=1, kind=Kind.ANSWERED, op=Op.CHARGE, user="ann", key="k-1")
REPEATED = Entry(seq=2, kind=Kind.REPEAT, op=Op.CHARGE, user="ann", month=1, key="k-1")
KILLED = Kill(what="host-0", pid=1, at_ms=0, under_way=0, shards=frozenset({1}))

RIGHT = Outcome(
    fines=FineReport(
        fines=100, penalties_on_day=57, penalties_elsewhere=0, payments=58, settled=39, owing=61, wrong=()
    ),
    subscriptions=SubscriptionReport(
        subscriptions=1,
        ends={end: int(end is End.CANCELLED) for end in End},
        months_charged=1,
        faults=0,
        repeats=0,
        accounts=0,
        wrong=(),
    ),
    books=Ledger((CHARGED, ANSWERED)),
    months_paid=1,
    kills=[KILLED],
    refused="bob",
    refusals=0,
    first_step_s=1.5,
)


def test_a_run_in_which_all_is_right() -> None:
    assert mistakes(RIGHT) == []
    assert all(figure.right for figure in figures(RIGHT))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (replace(RIGHT, fines=replace(RIGHT.fines, settled=38)), "settled: 38, must be 39"),
        (replace(RIGHT, fines=replace(RIGHT.fines, penalties_elsewhere=1)), "penalties on any other day: 1, must be 0"),
        (replace(RIGHT, months_paid=2), "months charged: 1, must be 2"),
        (replace(RIGHT, books=Ledger((CHARGED, ANSWERED, CHARGED, ANSWERED))), "months charged twice: 1, must be 0"),
        (
            replace(RIGHT, books=Ledger((CHARGED, ANSWERED, REPEATED, ANSWERED))),
            "requests repeated and recognised: 1, must be at most 0",
        ),
        (replace(RIGHT, subscriptions=replace(RIGHT.subscriptions, wrong=("ann has an account left",))), "ann has"),
    ],
)
def test_every_mistake_is_named(wrong: Outcome, said: str) -> None:
    assert any(said in mistake for mistake in mistakes(wrong))
    out = io.StringIO()
    show_figures(Console(file=out, width=120), wrong)
    assert f"WRONG: {said}" in out.getvalue()


def test_a_request_under_way_when_something_was_killed_may_be_repeated() -> None:
    repeated = replace(RIGHT, books=Ledger((CHARGED, ANSWERED, REPEATED, ANSWERED)))
    assert mistakes(replace(repeated, kills=[replace(KILLED, under_way=1)])) == []


def test_without_a_terminal_there_are_plain_lines_and_few() -> None:
    out = io.StringIO()
    with Screen(Console(file=out, width=40)) as screen:
        screen.news([Line(text="somebody is charged", rare=False), Line(text="[a card] is declined")])
        for _ in range(3):
            screen.figures({"Fine": Counter(timer=2)}, [{"slot": 0, "pid": None, "shards": []}], {})
    lines = [line.split("s  ", 1)[1] for line in out.getvalue().splitlines()]
    assert lines == ["[a card] is declined", "Fine: 2 asleep; host-0 is dead"]
