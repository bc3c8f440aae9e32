"""Of an instance whose code may run in a process of its own: whether it does, and what waits for that process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sagas.kernel.saga import SagaType

if TYPE_CHECKING:
    from sagas.engine.resident import MailInput


class Apart:
    """One object, that hosts without such processes do not make."""

    __slots__ = ("_asked", "_elsewhere", "moves", "type")

    def __init__(self, elsewhere: Callable[[SagaType], bool]) -> None:
        """``elsewhere``: whether the code of such a saga does not run here."""
        self.type: SagaType | None = None  # of the last run, if its code does not run here
        self.moves = False  # its process is up: it is to be dropped, and loaded there
        self._elsewhere = elsewhere
        self._asked: tuple[MailInput, ...] = ()

    def takes(self, saga_type: SagaType | None) -> bool:
        """A run is of this type now (None: nobody knows it); returns whether its code does not run here."""
        self.type = saga_type if saga_type is not None and self._elsewhere(saga_type) else None
        return self.type is not None

    def keep(self, *asked: MailInput) -> None:
        """Queries and updates that only its code can answer; they are in the mailbox still."""
        self._asked += asked

    def take_asked(self) -> tuple[MailInput, ...]:
        """What was kept since the last time."""
        asked, self._asked = self._asked, ()
        return asked
