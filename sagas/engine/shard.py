"""A shard this host owns: which instances are in memory, which have something to do, what waits for the flush."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from sagas.engine.resident import Input, Resident, Turn
from sagas.store.port import Batch, Claim


def entry_order(entry: str) -> tuple[int, int]:
    """Mailbox entry ids as numbers: "ms-seq" does not sort as text."""
    ms, _, seq = entry.partition("-")
    return int(ms), int(seq or 0)


@dataclass(slots=True)
class Shard:
    """Everything a host remembers about one shard; gone without loss when the shard is lost."""

    claim: Claim
    sequence: int
    read_upto: str = "0"
    residents: OrderedDict[str, Resident] = field(default_factory=OrderedDict)  # least recently used first
    waiting: dict[str, list[Input]] = field(default_factory=dict)  # inputs of instances that are being loaded
    dirty: dict[str, None] = field(default_factory=dict)  # residents with inputs, in order of arrival
    turns: list[tuple[Resident, Turn]] = field(default_factory=list)  # for the next flush
    next_due_ms: int | None = None
    due_in_hand: set[str] = field(default_factory=set)  # taken from the timer set, not committed yet
    more_due: bool = False  # the last look at the timer set was cut off by its limit

    @property
    def number(self) -> int:
        """Which shard."""
        return self.claim.shard

    def due_by(self, when_ms: int | None) -> None:
        """Something falls due at ``when_ms``: look at the timer set then."""
        if when_ms is not None and (self.next_due_ms is None or when_ms < self.next_due_ms):
            self.next_due_ms = when_ms

    def batch(self, turns: list[tuple[Resident, Turn]]) -> Batch:
        """The batch that writes ``turns``."""
        return Batch(
            shard=self.number,
            token=self.claim.token,
            sequence=self.sequence + 1,
            read_upto=self._known_to_closings(turns),
            transitions=tuple(turn.transition for _, turn in turns if turn.transition is not None),
            discard=tuple(entry for _, turn in turns for entry in turn.discard),
        )

    def _known_to_closings(self, turns: list[tuple[Resident, Turn]]) -> str:
        """Up to where the turns that end a run have taken mail in: what came later, read or not, they do not know."""
        known = [turn.read_upto for _, turn in turns if turn.transition is not None and turn.transition.closes]
        return min(known, key=entry_order, default=self.read_upto)

    def passivate(self, keep: int) -> None:
        """Drop the least recently used idle residents until ``keep`` are left; replay rebuilds them when needed."""
        excess = len(self.residents) - keep
        if excess <= 0:
            return
        for id in [id for id, resident in self.residents.items() if resident.idle and id not in self.dirty][:excess]:
            self.residents.pop(id).evict()

    def forget(self) -> None:
        """The shard is another host's now."""
        for resident in self.residents.values():
            resident.evict()
        self.residents.clear()
        self.turns.clear()
        self.dirty.clear()
        self.waiting.clear()
