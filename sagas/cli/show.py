"""The terminal: consoles, times and statuses as people read them. The only module here that begins with rich."""

from __future__ import annotations

import sys
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sagas.cli.text import one_line, plain, to_json
from sagas.kernel.state import Status
from sagas.telemetry.tree import duration

_WIDTH_OF_A_PIPE = 10_000  # rich takes 80 where there is no terminal, and would break lines that somebody greps
_STYLES = {
    Status.RUNNING: "cyan",
    Status.COMPLETED: "green",
    Status.FAILED: "red",
    Status.CANCELLED: "yellow",
    Status.TIMED_OUT: "red",
    Status.TERMINATED: "magenta",
}


def stdout() -> Console:
    """The console for answers. User text is data: markup and emoji codes in it mean nothing."""
    width = None if sys.stdout.isatty() else _WIDTH_OF_A_PIPE
    return Console(markup=False, highlight=False, emoji=False, width=width)


def tell(message: str) -> None:
    """A line of the answer, at once: whoever reads a pipe waits for it."""
    print(plain(message), flush=True)


def say(message: str) -> None:
    """A remark beside the answer, on stderr."""
    print(plain(message), file=sys.stderr, flush=True)


def print_value(value: object, *, json: bool) -> None:
    """A result: as JSON, but a str for people without quotes."""
    if isinstance(value, str) and not json:
        print(plain(value))
    else:
        print(to_json(value, indent=None if json or not isinstance(value, dict | list) else 2))


def print_json(value: object) -> None:
    """One JSON value on a line of its own."""
    print(to_json(value))


def status_text(status: Status, *, parked: bool = False, paused: bool = False) -> Text:
    """A status in its colour; what stands still says so."""
    if parked:
        return Text("parked", "bold red")
    if paused:
        return Text("paused", "bold yellow")
    return Text(status.value, _STYLES[status])


def table(*columns: str, whole: tuple[str, ...] = ()) -> Table:
    """A plain table; on a narrow terminal all columns but the ``whole`` ones are folded, and nothing is cut off."""
    made = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        made.add_column(column, no_wrap=column in whole, overflow="fold")
    return made


def print_table(shown: Table) -> None:
    """The table, without the spaces that would fill its last column."""
    console = stdout()
    with console.capture() as lines:
        console.print(shown)
    for line in lines.get().splitlines():
        print(line.rstrip())


def cell(value: object, style: str = "", limit: int = 100) -> Text:
    """A value of the user's in a table."""
    return Text(one_line(value, limit), style)


def at(when: datetime) -> str:
    """An instant in this machine's time zone: ``2024-01-31 12:00:00 CET``."""
    return f"{when.astimezone():%Y-%m-%d %H:%M:%S %Z}"


def ago(when: datetime, now: datetime) -> str:
    """How long since, or until, an instant: ``3m 10s ago``, ``in 2d 1h``."""
    ms = round((now - when).total_seconds() * 1000)
    return f"{duration(ms)} ago" if ms >= 0 else f"in {duration(-ms)}"
