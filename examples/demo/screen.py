"""How the demo looks: redrawn in place on a terminal, plain lines everywhere else."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from examples.demo.news import Line

STATUS_EVERY_S = 5.0
"""Between two lines of figures where nothing is redrawn."""

_DOING = {
    "step": "at a step",
    "timer": "asleep",
    "message": "waiting for news",
    "code": "waiting for code",
    "completed": "ended",
}


class Screen:
    """Use it as a context manager while the sagas run; ``say`` works before and after as well."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.monotonic()
        self._lines: deque[str] = deque(maxlen=1000)
        self._live: Live | None = None
        self._next_status = 0.0

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(console=self.console, transient=True, auto_refresh=False, vertical_overflow="crop")
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def say(self, text: str, style: str = "") -> None:
        """A line that stays."""
        line = Text(f"{self.elapsed_s:4.0f} s  {text}", style)
        self.console.print(line, soft_wrap=not self.console.is_terminal)

    def news(self, lines: list[Line]) -> None:
        """Lines that scroll past; without a terminal only the rare ones are printed."""
        self._lines.extend(line.text for line in lines)
        if self._live is None:
            for line in lines:
                if line.rare:
                    self.say(line.text)

    def figures(
        self, counts: Mapping[str, Counter[str]], hosts: list[dict[str, Any]], sagas_of: Mapping[int, int]
    ) -> None:
        """How many sagas do what, and where; ``sagas_of`` is how many running ones live at each host, by slot."""
        if self._live is not None:
            self._live.update(self._picture(counts, hosts, sagas_of), refresh=True)
        elif self.elapsed_s >= self._next_status:
            self._next_status = self.elapsed_s + STATUS_EVERY_S
            told = [f"{saga}: {_told(count)}" for saga, count in sorted(counts.items())]
            self.say("; ".join([*told, *(_host(host, sagas_of) for host in hosts)]), "dim")

    def _picture(
        self, counts: Mapping[str, Counter[str]], hosts: list[dict[str, Any]], sagas_of: Mapping[int, int]
    ) -> Group:
        head = [
            *(Text(f"{saga:13} {_told(count)}", "bold") for saga, count in sorted(counts.items())),
            *(Text(_host(host, sagas_of), "cyan" if host["pid"] else "red") for host in hosts),
        ]
        room = max(0, min(12, self.console.size.height - len(head) - 3))
        lines = [Text(f"  {line}", "dim") for line in list(self._lines)[-room:]] if room else []
        picture = Group(Text(f"{self.elapsed_s:4.0f} s"), *head, *lines)
        for line in (*head, *lines):
            line.no_wrap, line.overflow = True, "ellipsis"
        return picture


def _told(count: Counter[str]) -> str:
    return ", ".join(f"{count[doing]} {words}" for doing, words in _DOING.items() if count[doing])


def _host(host: dict[str, Any], sagas_of: Mapping[int, int]) -> str:
    if host["pid"] is None:
        return f"host-{host['slot']} is dead"
    return f"host-{host['slot']} (pid {host['pid']}) runs {sagas_of.get(host['slot'], 0)}"
