"""How instances behave while their code runs here: which were broken off, which took their host down with them.

Law: three times, and the instance parks: broken off, after it was tried; a host that died, before it is tried again
(protocol rule 10). An activation that ends well is the end of the count; so is an operator who lets the instance go on.
"""

from __future__ import annotations

from sagas.engine.slots import Slots

MOST = 3
"""Times that an instance may be broken off, or end its host, until it parks."""


class Conduct:
    """Of one host; with ``slots``, also of the hosts on this machine that died."""

    def __init__(self, slots: Slots | None = None) -> None:
        self._slots = slots
        self._broken: dict[str, int] = {}

    def begins(self, id: str) -> None:
        """Its code is about to run."""
        if self._slots is not None:
            self._slots.write(id)

    def ended(self, *, of: str = "") -> None:
        """Its code runs no more, whatever came of it; ``of`` whom when that was good."""
        slots = self._slots
        if slots is not None:
            slots.clear()
        if of and (self._broken or (slots is not None and slots.charged)):
            self.forgive(of)

    def struck(self, id: str) -> bool:
        """It was broken off; True when it must park now."""
        times = self._broken.pop(id, 0) + 1
        if times < MOST:
            self._broken[id] = times
        return times >= MOST

    def sentence(self, id: str) -> str:
        """Why it must not be run; "" when it may."""
        deaths = 0 if self._slots is None else self._slots.charges(id)
        if deaths < MOST:
            return ""
        return (
            f"Poisonous: {deaths} processes in a row died while they ran its code (killed, out of memory, or crashed "
            "in a C library): mend the code, then resume()"
        )

    def forgive(self, id: str) -> None:
        """Begin to count anew."""
        self._broken.pop(id, None)
        if self._slots is not None:
            self._slots.forgive(id)
