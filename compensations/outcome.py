"""What a step may have done to the world: the one fact that decides whether it must be undone."""

from __future__ import annotations

import enum


class Outcome(enum.StrEnum):
    """``NONE``: nothing happened. ``DONE``: it happened. ``UNKNOWN``: nobody can tell, so treat it as done."""

    NONE = "none"
    DONE = "done"
    UNKNOWN = "unknown"
