"""One line of an undo plan: a step that may have to be undone, and what became of its undo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from compensations.outcome import Outcome

UndoState = Literal["pending", "selected", "running", "undone", "stuck", "skipped", "kept", "void"]
"""``pending``: undoable, nobody asked yet. ``selected``: to be undone, not started. ``running``: its undo is in
flight. ``undone``: its undo succeeded, or an operator resolved it. ``stuck``: its undo gave up. ``skipped``: an
operator gave the undo up. ``kept``: its effect stays, by the user's word or a pivot. ``void``: it had no effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A view of one step in a plan; ``outcome`` is None while the step is open."""

    step: int
    outcome: Outcome | None
    state: UndoState = "pending"
