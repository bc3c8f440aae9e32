"""The tree as a person sees it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sagas.kernel.events import Event, Parked, RunFailed, RunStarted, SignalReceived, TimerFired, TimerSet
from sagas.kernel.failure import Failure
from sagas.telemetry import Span, spans_of_history
from sagas.telemetry.tree import duration, trace_tree
from tests.telemetry.journeys import travel

STARTED = RunStarted("sub-1", "run-1", "Subscription", b"", at_ms=1000)


def drawn(spans: list[Span]) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=200, color_system=None).print(trace_tree(spans))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_run_that_was_undone() -> None:
    assert drawn(travel("flaky", "sticky", "nap", "full")) == [
        "▶ Journey  trip  1d  failed  Full: no room left",
        "├── ● book  +0ms  1s  2 attempts  done",
        "│   ├── attempt 1  +0ms  OSError: nobody answers",
        "│   └── ↩ release  +1d  done",
        "├── ● book  +1s  done",
        "│   └── ↩ release  +1d  1s  2 attempts  done",
        "│       └── attempt 1  +1d  OSError: try again",
        "├── ⏱ timer  +1s  1d",
        "├── ● book  +1d  failed  Full: no room left",
        "│   └── attempt 1  +1d  Full: no room left",
        "└── ↺ unwind  +1d  Full: no room left",
    ]


def test_a_run_that_goes_on() -> None:
    events: list[Event] = [
        STARTED,
        TimerSet(2, 61_000, at_ms=1000),
        SignalReceived("m-1", "poke", b"", at_ms=1500),
        TimerFired(2, at_ms=61_040),
        Parked("NameError: name 'x'\nis not defined", at_ms=61_040),
    ]
    assert drawn(spans_of_history(events)) == [
        "▶ Subscription  sub-1  running",
        "├── ⏱ timer  +0ms  1m  40ms late",
        "├── ✉ signal poke  +500ms",
        "└── ‖ parked  +1m  NameError: name 'x' is not defined",
    ]


def test_text_of_users_is_never_taken_for_markup() -> None:
    failure = Failure(kind="error", cause_type="OSError", message="[bold]no[/]such[/markup]").row()
    (line,) = drawn(spans_of_history([STARTED, RunFailed(failure, at_ms=1012)]))
    assert line == "▶ Subscription  sub-1  12ms  failed  OSError: [bold]no[/]such[/markup]"


def test_long_errors_take_one_line() -> None:
    failure = Failure(kind="error", cause_type="OSError", message="x" * 1000).row()
    (line,) = drawn(spans_of_history([STARTED, RunFailed(failure, at_ms=1012)]))
    assert line.endswith("x…")


def test_a_tree_shows_one_run() -> None:
    other = RunStarted("sub-2", "run-2", "Subscription", b"", at_ms=1000)
    of_two = [span for run in (STARTED, other) for span in spans_of_history([run, Parked("x", at_ms=1000)])]
    for spans in ([], of_two):
        with pytest.raises(ValueError, match="one run"):
            trace_tree(spans)


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (0, "0ms"),
        (999, "999ms"),
        (1000, "1s"),
        (1500, "1.5s"),
        (59_999, "60s"),
        (60_000, "1m"),
        (61_000, "1m 1s"),
        (3_600_000, "1h"),
        (3_605_000, "1h"),
        (90_000_000, "1d 1h"),
        (30 * 86_400_000, "30d"),
    ],
)
def test_durations_in_two_units(ms: int, words: str) -> None:
    assert duration(ms) == words
