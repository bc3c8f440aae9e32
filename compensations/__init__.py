"""Compensation as a pure leaf: what is to be undone, in which order, given outcomes. It never awaits.

Law: nothing here imports the rest of the project, reads a clock or does I/O; the kernel asks "what next?" and
tells what happened. Source: Garcia-Molina & Salem, *Sagas* (SIGMOD 1987).
"""

from compensations.entry import Entry, UndoState
from compensations.errors import PivotPassed, ScopeClosed
from compensations.outcome import Outcome
from compensations.plan import Plan, Savepoint
from compensations.policy import ALERT_AFTER, UNDO, Retry
from compensations.state import Compensation

__all__ = [
    "ALERT_AFTER",
    "UNDO",
    "Compensation",
    "Entry",
    "Outcome",
    "PivotPassed",
    "Plan",
    "Retry",
    "Savepoint",
    "ScopeClosed",
    "UndoState",
]
