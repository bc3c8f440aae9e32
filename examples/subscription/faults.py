"""The faults that the services can be told to make; which request a fault hits is decided here.

Law: a fault is used up when it hits, and both its order and its use are in the ledger, so a crash forgets neither.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from examples.subscription.ledger import Entry, Kind, Op


class FaultKind(enum.StrEnum):
    DECLINE = "decline"  # refuse: only meaningful for cards and charges
    DELAY_AFTER = "delay after"  # do it, then answer ``delay_s`` later: the client has long given up
    ERROR_BEFORE = "error before"  # answer 500 and do nothing
    ERROR_AFTER = "error after"  # do it, then answer 500
    CRASH_BEFORE = "crash before"  # the process exits and has done nothing
    CRASH_AFTER = "crash after"  # the process exits after doing it, without an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Hits the next ``times`` requests of ``user`` for ``op``; with ``month``, only charges of that month."""

    kind: FaultKind
    op: Op
    user: str
    times: int = 1
    month: int | None = None
    delay_s: float = 0.0

    def hits(self, op: Op, user: str, month: int) -> bool:
        return (self.op, self.user) == (op, user) and self.month in (None, month)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str | bytes) -> Fault:
        """Raises: ValueError, TypeError or KeyError when the text is no fault."""
        fields = json.loads(text)
        return Fault(**{**fields, "kind": FaultKind(fields["kind"]), "op": Op(fields["op"])})


class Faults:
    """The faults that still wait for their request, oldest first."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._left: dict[int, tuple[Fault, int]] = {}  # seq of the order -> the fault, and how often it still hits
        for entry in entries:
            if entry.kind is Kind.FAULT:
                self.order(entry)
            elif entry.kind is Kind.FAULT_USED:
                self.used(int(entry.detail))

    def order(self, entry: Entry) -> None:
        """Takes up a fault from its entry in the ledger."""
        fault = Fault.from_json(entry.detail)
        self._left[entry.seq] = (fault, fault.times)

    def find(self, op: Op, user: str, month: int, *, decline: bool) -> tuple[int, Fault] | None:
        """The fault that hits this request, with the seq of its order; ``decline`` asks for that kind or for others."""
        for seq, (fault, _) in self._left.items():
            if (fault.kind is FaultKind.DECLINE) is decline and fault.hits(op, user, month):
                return seq, fault
        return None

    def used(self, seq: int) -> None:
        """Counts one hit of the fault ordered at ``seq``."""
        fault, left = self._left[seq]
        if left > 1:
            self._left[seq] = (fault, left - 1)
        else:
            del self._left[seq]
