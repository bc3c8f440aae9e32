"""An instance with a process of its own (``placement="dedicated"``): the port to that process, and its host's side.

Law: the process only runs code. It holds the instance's ``Resident`` and makes its turns; the host keeps what is
durable: it hands inputs in one turn at a time, commits what comes back, and what dies with the process is made again
by the next one from what was committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from sagas.engine.resident import Input, Resident, Turn
from sagas.engine.steps import StepReport
from sagas.kernel.saga import SagaType
from sagas.store.port import Loaded


class SeatLost(Exception):
    """The process is gone, or does not know this instance (any more)."""


class Seat(Protocol):
    """One process, up and waiting for its instance."""

    async def load(self, loaded: Loaded) -> None:
        """Rebuild the instance. Raises: SeatLost."""
        ...

    async def turn(self, inputs: list[Input], now_ms: int, *, run: bool) -> tuple[Turn, bool]:
        """``Resident.turn`` with these inputs too, and whether inputs are left for another one. Raises: SeatLost."""
        ...

    def close(self) -> None:
        """End the process; returns at once."""
        ...


class Placement(Protocol):
    """Where processes come from."""

    limit: int
    """How many there may be at once."""

    async def open(self, id: str, saga_type: SagaType) -> Seat:
        """A process for this instance, once it is up: it may wait for its resources. Raises: SeatLost."""
        ...


class Seated:
    """As a ``Resident`` to its host, with the work done elsewhere."""

    def __init__(self, id: str, seat: Seat, inputs: list[Input], left: Callable[[Seated], None]) -> None:
        """``left`` is told when it is dropped from memory, and its process is not needed any more."""
        self.id = id
        self.inputs = inputs
        self.in_commit = 0
        self.unreadable = ""
        self.dropped = False
        self.under_way = False  # a turn is being made
        self.more = False  # inputs are left there
        self.alarm: asyncio.TimerHandle | None = None  # ends its rest
        self._seat: Seat | None = seat
        self._left = left
        self._handed: list[Input] = []

    @property
    def idle(self) -> bool:
        """Whether it may be dropped from memory."""
        return not (self.inputs or self.in_commit or self.under_way or self.more)

    async def turn(self, now_ms: int, *, run: bool) -> Turn:
        """One turn, there. Raises: SeatLost; what a defect raised there."""
        assert self._seat is not None, "nobody gives it a turn any more"
        inputs, self.inputs = self.inputs, []
        self._handed += inputs
        turn, self.more = await self._seat.turn([_portable(each) for each in inputs], now_ms, run=run)
        # What was handed in, with the receipts that only this process knows; the rest it has told itself there.
        turn.inputs = tuple(self._original(each) for each in turn.inputs)
        turn.refused = tuple(self._original(each) for each in turn.refused)
        return turn

    def untaken(self) -> list[Input]:
        """What no turn has taken in: somebody else must."""
        taken, self._handed, self.inputs = [*self._handed, *self.inputs], [], []
        return taken

    def evict(self) -> None:
        """Let its process go, once."""
        if self.alarm is not None:
            self.alarm.cancel()
        seat, self._seat = self._seat, None
        if seat is not None:
            seat.close()
            self._left(self)

    def _original(self, back: Input) -> Input:
        for position, each in enumerate(self._handed):
            if each == back:
                return self._handed.pop(position)
        return back


Held = Resident | Seated
"""An instance while its host has it in memory."""


def _portable(each: Input) -> Input:
    return replace(each, receipt=None) if isinstance(each, StepReport) and each.receipt is not None else each
