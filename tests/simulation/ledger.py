"""The world that the sagas of a simulation act on: effects by idempotency key, as a service would keep them.

Law: an action takes effect once a key. An undo that comes before its action is remembered, and the action is refused
from then on (a ``Participant``).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Ledger:
    """Effects of one simulation: keys of actions in the order they took effect, and were undone, each once."""

    done: dict[str, tuple[str, str]] = field(default_factory=dict)  # key -> (saga id, what)
    undone: dict[str, str] = field(default_factory=dict)  # key of the action -> saga id
    calls: Counter[str] = field(default_factory=Counter)  # by key: how often the world was asked

    def act(self, saga_id: str, what: str, key: str) -> None:
        """An action's effect."""
        self.calls[key] += 1
        if key not in self.undone:
            self.done.setdefault(key, (saga_id, what))

    def undo(self, saga_id: str, key: str, undo_of: str) -> None:
        """The undo of the action with key ``undo_of``."""
        self.calls[key] += 1
        self.undone.setdefault(undo_of, saga_id)

    def effects(self, saga_id: str) -> list[str]:
        """What one saga did, undone or not; sorted."""
        return sorted(what for id, what in self.done.values() if id == saga_id)

    def standing(self, saga_id: str) -> list[str]:
        """What one saga did and did not undo; sorted."""
        return sorted(what for key, (id, what) in self.done.items() if id == saga_id and key not in self.undone)
