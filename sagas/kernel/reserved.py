"""Timers that belong to the run and not to its code: no event sets them, ``RunStarted`` says when they are due.

Law: they have numbers that code never draws. Nothing but their firing is recorded, and only when they fire.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sagas.kernel.events import RunStarted, TimerSet

DEADLINE: Final = 0
"""Fires when the saga's timeout has passed: the run is undone as for a cancel, and ends TIMED_OUT."""

START: Final = -1
"""Fires when ``run`` may begin. Until then only ``__init__`` has run, and the handlers of what arrives."""

PASSED: Final = "its timeout has passed"
"""Why, in the words of the event and of ``SagaTimedOut``."""


def reserved_timers(started: RunStarted) -> Iterator[TimerSet]:
    """Those that the start of a run sets."""
    if started.deadline_ms:
        yield TimerSet(DEADLINE, started.deadline_ms, at_ms=started.at_ms)
    if started.not_before_ms:
        yield TimerSet(START, started.not_before_ms, at_ms=started.at_ms)
