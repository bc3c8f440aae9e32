"""A shard this host owns: which instances are in memory, which have something to do, what waits for the flush."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sagas.engine.placement import Held, Seated
from sagas.engine.resident import Input, Turn
from sagas.engine.steps import StepReport
from sagas.store.port import Batch, Claim, Transition

if TYPE_CHECKING:
    from sagas.engine.exporting import ShardExport


@dataclass(slots=True)
class Shard:
    """Everything a host remembers about one shard; gone without loss when the shard is lost."""

    claim: Claim
    sequence: int
    read_upto: str = "0"  # in the mailbox
    relayed_upto: str = "0"  # in the outbox
    residents: OrderedDict[str, Held] = field(default_factory=OrderedDict)  # least recently used first
    waiting: dict[str, list[Input]] = field(default_factory=dict)  # inputs of instances that are being loaded
    adopting: set[str] = field(default_factory=set)  # of those: their attempts in flight are being asked for
    dirty: dict[str, None] = field(default_factory=dict)  # residents with inputs, in order of arrival
    turns: list[tuple[Held, Turn]] = field(default_factory=list)  # for the next flush
    sending: list[tuple[Held, Turn]] = field(default_factory=list)  # in the flush that is under way
    export: ShardExport | None = None  # where spans are wanted
    next_due_ms: int | None = None
    expires_ms: int | None = 0  # when the first of its ended runs does; 0: not looked for yet
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

    def expires_by(self, when_ms: int | None) -> None:
        """A run has ended that expires at ``when_ms``."""
        if when_ms is not None and (self.expires_ms is None or when_ms < self.expires_ms):
            self.expires_ms = when_ms

    def batch(self, turns: list[tuple[Held, Turn]]) -> Batch:
        """The batch that writes ``turns``."""
        marking = None if self.export is None else self.export.marking(turn for _, turn in turns)
        return Batch(
            shard=self.number,
            token=self.claim.token,
            sequence=self.sequence + 1,
            transitions=tuple(_transition(turn, turn.transition) for _, turn in turns if turn.transition is not None),
            discard=tuple(entry for _, turn in turns for entry in turn.discard),
            sent=tuple(entry for _, turn in turns for entry in turn.sent),
            marks=() if marking is None else marking.marks,
            unmarks=() if marking is None else marking.unmarks,
            removals=tuple(turn.removal for _, turn in turns if turn.removal is not None),
        )

    def passivate(self, keep: int) -> None:
        """Drop the least recently used idle residents until ``keep`` are left; replay rebuilds them when needed."""
        excess = len(self.residents) - keep
        if excess <= 0:
            return
        for id in [id for id, resident in self.residents.items() if resident.idle and id not in self.dirty][:excess]:
            self.residents.pop(id).evict()

    def forget(self) -> None:
        """The shard is another host's now, and so are the reports on its steps."""
        self._refuse_reports()
        for resident in self.residents.values():
            resident.evict()
        self.residents.clear()
        self.turns.clear()
        self.dirty.clear()
        self.waiting.clear()
        self.adopting.clear()

    def _refuse_reports(self) -> None:
        for inputs in (
            *(turn.inputs for _, turn in (*self.sending, *self.turns)),
            *(r.untaken() if isinstance(r, Seated) else r.inputs for r in self.residents.values()),
            *self.waiting.values(),
        ):
            refuse_reports(inputs)


def settle_reports(inputs: Iterable[Input]) -> None:
    """Whoever handed these reports over needs them no more."""
    for each in inputs:
        if isinstance(each, StepReport) and each.receipt is not None:
            each.receipt.settled()


def refuse_reports(inputs: Iterable[Input]) -> None:
    """Whoever handed these reports over must find another way."""
    for each in inputs:
        if isinstance(each, StepReport) and each.receipt is not None:
            each.receipt.refused()


def _transition(turn: Turn, transition: Transition) -> Transition:
    """A turn that ends a run knows the mail read when it was made: what came later, read since or not, it does not."""
    return replace(transition, read_upto=turn.read_upto) if transition.closes else transition
