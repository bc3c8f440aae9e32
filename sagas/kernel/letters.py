"""Dead letters of a live instance: signals that no handler could take, kept until somebody has them applied again.

Law: a signal that the history calls a dead letter is one in every replay, also when the code has learned to take it; so
code can be mended under a running instance, and the letter is applied once, where its redelivery is recorded. What an
unchanged handler did before it raised, a replay does again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagas.kernel.events import DeadLetterRedelivered, SignalDeadLettered, SignalReceived

if TYPE_CHECKING:
    from sagas.kernel.instance import Instance

Place = tuple[int, str]
"""Of a letter that the code of today would take: the activation it died in, and its message id."""


class Mended(BaseException):
    """A replay has come to a letter whose handler works by now: it must begin anew, and keep the letter from it."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.place = place


class Died(BaseException):
    """Ends a handler in a replay, where the history says that it raised and the code would go on."""


class Letters:
    """Those of one instance. ``passed_over`` are the places that an earlier try of this replay found mended."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._kept: dict[str, SignalReceived] = {}
        self.passed_over: frozenset[Place] = frozenset()

    def keep(self, fact: SignalReceived, reason: str, *, ran: bool) -> None:
        """No handler could take it; ``ran``: one tried."""
        self._kept[fact.message_id] = fact
        instance = self._instance
        instance.decide(SignalDeadLettered(fact.message_id, fact.name, reason, ran, at_ms=instance.now_ms))

    def take(self, fact: DeadLetterRedelivered) -> SignalReceived | None:
        """The letter that is to be applied again."""
        return self._kept.pop(fact.letter, None)

    def lies(self, fact: SignalReceived) -> bool:
        """Whether the history says that no handler is to have it."""
        letter = self.recorded(fact.message_id)
        return letter is not None and (not letter.ran or self._place(fact.message_id) in self.passed_over)

    def taken(self, fact: SignalReceived, *, at_once: bool) -> None:
        """A handler has taken a signal; ``at_once``: it began in this activation. Raises: Mended."""
        if self.recorded(fact.message_id) is None:
            return
        if at_once:
            raise Mended(self._place(fact.message_id))
        self.keep(fact, "", ran=True)  # what it did in earlier activations is recorded: it ends here

    def recorded(self, message_id: str) -> SignalDeadLettered | None:
        """While replaying: the letter of this message that the rest of the activation holds."""
        for event in self._instance.recorded_rest():
            if type(event) is SignalDeadLettered and event.message_id == message_id:
                return event
        return None

    def _place(self, message_id: str) -> Place:
        return self._instance.position, message_id
