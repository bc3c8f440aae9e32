"""How the demo ends: one trace, the figures beside what they must be, and what to try next."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from examples.demo.play import Outcome
from examples.subscription.driver import subscription_id
from examples.subscription.ledger import Kind
from examples.subscription.saga import End
from sagas import Client
from sagas.telemetry import spans_of_history
from sagas.telemetry.tree import trace_tree

FINES = (
    ("fines", "fines", 100),
    ("penalties on the logged day", "penalties_on_day", 57),
    ("penalties on any other day", "penalties_elsewhere", 0),
    ("payments counted", "payments", 58),
    ("settled", "settled", 39),
    ("still owing", "owing", 61),
)
"""What the log says of its hundred fines: the figure's name, its place in the report, its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """``most``: it may be less than ``due``."""

    name: str
    found: int
    due: int
    most: bool = False

    @property
    def right(self) -> bool:
        return self.found <= self.due if self.most else self.found == self.due


def figures(outcome: Outcome) -> Iterator[Figure]:
    """Every figure that has to be right."""
    for name, place, due in FINES:
        yield Figure(name=name, found=getattr(outcome.fines, place), due=due)
    books, ends = outcome.books, outcome.subscriptions.ends
    charges = books.charges()
    yield Figure(name="months charged", found=charges.total(), due=outcome.months_paid)
    yield Figure(name="months charged twice", found=sum(times > 1 for times in charges.values()), due=0)
    yield Figure(name="sign-ups undone", found=ends[End.REFUSED], due=outcome.refusals)
    yield Figure(name="accounts left", found=len(books.accounts()), due=ends[End.PAID_UP])
    repeatable = books.unanswered() + sum(kill.under_way for kill in outcome.kills)
    yield Figure(name="requests repeated and recognised", found=books.count(Kind.REPEAT), due=repeatable, most=True)


def mistakes(outcome: Outcome) -> list[str]:
    """Everything that is not as it must be."""
    wrong = [
        f"{figure.name}: {figure.found}, must be {_due(figure)}" for figure in figures(outcome) if not figure.right
    ]
    return [*wrong, *outcome.fines.wrong, *outcome.subscriptions.wrong]


async def show_trace(console: Console, client: Client, user: str) -> None:
    """The run of a subscriber whose sign-up was undone."""
    history = await client.get(subscription_id(user)).history()
    console.print(f"\n[bold]One of them, {user}: refused at sign-up, so what was done is undone")
    console.print(trace_tree(spans_of_history(history)))


def show_figures(console: Console, outcome: Outcome) -> None:
    """The figures, and what was wrong."""
    table = Table("", "is", "must be", "", box=box.SIMPLE, pad_edge=False)
    for figure in figures(outcome):
        mark = Text("ok", "green") if figure.right else Text("WRONG", "bold red")
        table.add_row(figure.name, str(figure.found), _due(figure), mark)
    console.print(table)
    if outcome.first_step_s is not None:
        console.print(
            f"{outcome.kills[0].what}'s sagas took their next step {outcome.first_step_s:.1f} s after its end."
        )
    for mistake in mistakes(outcome):
        console.print(Text(f"WRONG: {mistake}", "bold red"))


def show_next(console: Console) -> None:
    """What to type now."""
    bin_ = Path(os.path.relpath(Path(sys.executable).parent))
    console.print("\n[bold]What to try next")
    for command, why in (
        (f"{bin_}/sagas dev examples.subscription.saga", "a cluster of your own, until Ctrl-C"),
        (f"{bin_}/python -m examples.subscription --cluster", "subscribers for it, in a second terminal"),
        (f"{bin_}/sagas describe subscription-user-1", "how one of them stands; `sagas trace` shows all it did"),
        ("make test", "what is proved"),
    ):
        console.print(Text.assemble("  ", (command, "cyan"), (f"  # {why}", "dim")), soft_wrap=True)


def _due(figure: Figure) -> str:
    return f"at most {figure.due}" if figure.most else str(figure.due)
