"""What a plan refuses. Both are mistakes of the saga's code; the kernel turns them into what the user sees."""

from __future__ import annotations


class PivotPassed(ValueError):
    """The call needs an undo that a pivot has ruled out: do it before the pivot, or without a compensation."""


class ScopeClosed(ValueError):
    """The scope has ended, well or not, and takes no more steps: use the scope around it, or a new one."""
