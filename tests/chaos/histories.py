"""What histories say of steps, by idempotency key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from sagas.kernel.events import (
    CompensationCompleted,
    CompensationFailed,
    CompensationScheduled,
    Event,
    RunStarted,
    SignalReceived,
    StepCompleted,
    StepFailed,
    StepScheduled,
)

_OPENS = (StepScheduled, CompensationScheduled)
_SETTLES = (StepCompleted, StepFailed, CompensationCompleted, CompensationFailed)


def settled(histories: Mapping[str, list[Event]]) -> Counter[str]:
    """How often each step was settled."""
    return Counter(key for history in histories.values() for key in _keys(history, _SETTLES))


def scheduled(histories: Mapping[str, list[Event]]) -> Counter[str]:
    """How often each step was scheduled."""
    return Counter(key for history in histories.values() for key in _keys(history, _OPENS))


def signals(history: Iterable[Event]) -> Counter[str]:
    """How often each message id was applied."""
    return Counter(event.message_id for event in history if isinstance(event, SignalReceived))


def told(key: str, histories: Mapping[str, list[Event]]) -> str:
    """What a step was, and what became of each attempt at it, for people."""
    for user, history in histories.items():
        events = [event for found, event in _found(history, _OPENS + _SETTLES) if found == key]
        if events:
            return f"{user}, {events}"
    return "in no history"


def _keys(history: list[Event], kinds: tuple[type[Event], ...]) -> Iterator[str]:
    return (key for key, _ in _found(history, kinds))


def _found(history: list[Event], kinds: tuple[type[Event], ...]) -> Iterator[tuple[str, Event]]:
    run_id = ""
    for event in history:
        if isinstance(event, RunStarted):
            run_id = event.run_id
        elif isinstance(event, kinds):
            yield f"{run_id}/{event.step}", event  # type: ignore[attr-defined]  # each of these kinds has one
