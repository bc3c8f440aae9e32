"""Dead letters as a client sees them: read from the history, which has each of them whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sagas.errors import InvalidArgument
from sagas.kernel.duration import from_ms
from sagas.kernel.events import DeadLetterRedelivered, Event, SignalDeadLettered, SignalReceived
from sagas.payloads.sealing import opened_words


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A signal that no handler could take, and why. ``args`` is its argument payload, as it was sent."""

    message_id: str
    name: str
    args: bytes
    reason: str
    at: datetime


def letters_of(history: Iterable[Event]) -> list[DeadLetter]:
    """Those that lie there, the oldest first; one that was redelivered is gone, unless it has died again."""
    signals: dict[str, SignalReceived] = {}
    found: dict[str, DeadLetter] = {}
    for event in history:
        match event:
            case SignalReceived():
                signals[event.message_id] = event
            case DeadLetterRedelivered():
                found.pop(event.letter, None)
            case SignalDeadLettered():
                signal = signals.get(event.message_id)
                found[event.message_id] = DeadLetter(
                    message_id=event.message_id,
                    name=event.name,
                    args=b"" if signal is None else signal.args,
                    reason=opened_words(event.reason),
                    at=from_ms(event.at_ms),
                )
    return list(found.values())


def chosen(letters: list[DeadLetter], letter: str | int | None) -> list[DeadLetter]:
    """All of them, or the one of this message id or place. Raises: InvalidArgument when there is none."""
    if letter is None:
        return letters
    if isinstance(letter, str):
        one = [each for each in letters if each.message_id == letter]
    else:
        one = letters[letter:][:1] if 0 <= letter < len(letters) else []
    if not one:
        raise InvalidArgument(f"there is no dead letter {letter!r}; there are {[each.message_id for each in letters]}")
    return one
