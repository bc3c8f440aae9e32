"""What the sagas have just done, as lines for people: read off the services' ledger and off the histories of the fines.

Law: it only reads; what it says has happened and is durable.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from examples.subscription import wire
from examples.subscription.activities import Mail
from examples.subscription.faults import Fault, FaultKind
from examples.subscription.ledger import Entry, Kind, Op
from examples.traffic_fines.pace import Scale
from examples.traffic_fines.saga import Fine, penalty_amount
from sagas import Client, Description
from sagas.kernel.events import Event, StepCompleted, StepScheduled, TimerFired, TimerSet

_FAULTS = {
    FaultKind.DELAY_AFTER: "answers too late",
    FaultKind.ERROR_BEFORE: "fails",
    FaultKind.ERROR_AFTER: "fails after it was done",
    FaultKind.CRASH_BEFORE: "crashes",
    FaultKind.CRASH_AFTER: "crashes after it was done",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """``rare``: worth a line also where every line stays."""

    text: str
    rare: bool = True


class Ledger:
    """The services' ledger as it grows."""

    def __init__(self, service: str) -> None:
        self.entries: list[Entry] = []
        self._service = service

    async def news(self) -> list[Line]:
        """Lines on what was added since the last look; none while the services are down."""
        with suppress(*wire.NO_ANSWER):
            new = await asyncio.to_thread(wire.entries, self._service, len(self.entries))
            self.entries += new
            return [line for entry in new if (line := self._line(entry)) is not None]
        return []

    def charges(self) -> int:
        """How many months were charged so far."""
        return sum(entry.kind is Kind.EFFECT and entry.op is Op.CHARGE for entry in self.entries)

    def _line(self, entry: Entry) -> Line | None:
        match entry.kind, entry.op:
            case Kind.EFFECT, Op.CREATE_ACCOUNT:
                return Line(text=f"{entry.user} signs up", rare=False)
            case Kind.EFFECT, Op.CHARGE:
                return Line(text=f"{entry.user} is charged for month {entry.month}", rare=False)
            case Kind.EFFECT, Op.REMOVE_ACCOUNT:
                return Line(text=f"{entry.user}: account {'undone' if entry.undo_of else 'closed'}")
            case Kind.EFFECT, Op.MAIL if entry.detail == Mail.FIX_CARD:
                return Line(text=f"{entry.user} gets a mail: {entry.detail}")
            case Kind.REFUSAL, Op.CHECK_CARD:
                return Line(text=f"{entry.user} is refused at sign-up: {entry.detail}")
            case Kind.REFUSAL, Op.CHARGE:
                return Line(text=f"{entry.user}'s card is declined for month {entry.month}")
            case Kind.REPEAT, _:
                return Line(text=f"{entry.user}: {entry.op} asked again, recognised, not done twice")
            case Kind.FAULT_USED, _:
                fault = Fault.from_json(self.entries[int(entry.detail)].detail)
                told = _FAULTS.get(fault.kind)
                return None if told is None else Line(text=f"the service {told}: {entry.op} of {entry.user}")
            case _:
                return None


class Fines:
    """The fines as their histories grow."""

    def __init__(self, client: Client, scale: Scale) -> None:
        self._client = client
        self._scale = scale
        self._seen: dict[str, int] = {}

    async def news(self, found: list[Description]) -> list[Line]:
        """Lines on the penalties that were booked since the last look."""
        lines: list[Line] = []
        for fine in found:
            seen = self._seen.get(fine.id, 0)
            if fine.type == Fine.__name__ and fine.history_length > seen:
                history = await self._client.get(fine.id, fine.run_id).history()
                self._seen[fine.id] = len(history)
                lines += [Line(text=f"{fine.id}: {text}", rare=False) for text in self._penalties(history, seen)]
        return lines

    def _penalties(self, history: list[Event], seen: int) -> Iterator[str]:
        """A penalty is the step that a due timer led to; its day is the timer's, as a day of the log."""
        due_ms: dict[int, int] = {}
        fired_ms = 0
        steps: set[int] = set()
        for number, event in enumerate(history):
            match event:
                case TimerSet():
                    due_ms[event.timer] = event.due_ms
                case TimerFired():
                    fired_ms = due_ms[event.timer]
                case StepScheduled(activity=penalty_amount.name):
                    steps.add(event.step)
                case StepCompleted() if event.step in steps and number >= seen:
                    yield f"penalty due on {self._day(fired_ms)} is booked"

    def _day(self, at_ms: int) -> str:
        """The day of the log that is played at this instant."""
        origin_ms = self._scale.origin_wall.timestamp() * 1000
        days = (at_ms - origin_ms) / self._scale.ms_per_day
        return f"{self._scale.origin_log.replace(tzinfo=None) + timedelta(days=round(days)):%Y-%m-%d}"


def counted(found: list[Description]) -> dict[str, Counter[str]]:
    """Type -> what how many of its sagas do: a status, or what the running ones wait for."""
    counts: dict[str, Counter[str]] = {}
    for each in found:
        doing = each.waiting_for[0].kind if each.status == "running" and each.waiting_for else each.status.value
        counts.setdefault(each.type, Counter())[doing] += 1
    return counts
