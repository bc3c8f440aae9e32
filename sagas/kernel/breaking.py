"""Breaking off saga code that does not come to rest: by itself (``Spinning``), or from another thread (``Blocked``).

Law: what a broken activation decided is void, like all that a bug decided. ``Blocked`` is raised wherever the code
stands, so it must never be raised when the code has just ended: ``break_off`` holds the GIL from its look at
``RUNNING`` until the exception is set, because nothing between them gives it up, and an activation leaves ``RUNNING``
before it does anything else, and then lets what was set before ``surface``. A call in C that never returns cannot be
broken off by anybody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagas.kernel.instance import Instance

RUNNING: dict[int, Instance | None] = {}
"""Whose code runs on which thread: an activation, a replay of one, or a query."""


class BrokenOff(BaseException):
    """Saga code did not come to rest. No Exception: code that catches all of those must not go on."""


class Blocked(BrokenOff):
    """Saga code kept its thread for too long: it computes, or waits for something that is not asyncio's."""


def surface() -> None:
    """An exception that was set before this call arrives in it at the latest: Python looks when a function begins.

    Python 3.13 looks for exceptions before it lets another thread go on, so one set meanwhile arrives at its next look.
    """


def break_off(thread: int, instance: Instance, activation: int, why: Blocked, strike: Callable[[], object]) -> None:
    """Call ``strike`` (in C: it sets the exception) if ``instance`` still is in that activation on that thread."""
    try:
        if RUNNING[thread] is instance and instance.activations == activation:
            instance._stop = why
            strike()
    except KeyError:  # nothing ever ran on it
        return
