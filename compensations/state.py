"""How far undoing is, of a saga or a scope: the second axis beside its status."""

from __future__ import annotations

import enum


class Compensation(enum.StrEnum):
    """``NONE``: nothing was ever to be undone. ``STUCK``: an undo gave up and waits for an operator."""

    NONE = "none"
    RUNNING = "running"
    DONE = "done"
    STUCK = "stuck"
