"""Where a history may be cut, so that another run can go on from there."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sagas import InvalidArgument, forking
from sagas.forking import cut
from sagas.kernel.events import (
    SIGNAL,
    Activated,
    CallbackOpened,
    ChildScheduled,
    Event,
    MessageSent,
    Parked,
    RunCompleted,
    RunStarted,
    StepScheduled,
    TimerSet,
    UpdateAccepted,
    decode_chunk,
)

STARTED = (RunStarted("id", "run", "T", b"\x90"), Activated(), StepScheduled(1, "pay", b"\x90"))
PARKED = (Parked("TypeError"),)


def taken(*transitions: Sequence[Event], event: int) -> int:
    """How many events are taken over."""
    prefix, state = cut(transitions, event)
    assert sum(len(decode_chunk(chunk)) for chunk in prefix) == state.events
    return state.events


def test_it_is_cut_after_the_last_transition_that_is_whole() -> None:
    timer = (Activated(), TimerSet(2, 50))
    assert [taken(STARTED, timer, PARKED, event=event) for event in range(2, 6)] == [3, 3, 5, 6]


@pytest.mark.parametrize(
    ("opened", "says"),
    [
        (MessageSent(2, "x", SIGNAL, "go", b"\x90"), "a message to another saga is on its way"),
        (ChildScheduled(2, "c", "r", "T", b"\x90"), "its child 'c' has not ended"),
        (UpdateAccepted("m", "change", b"\x90"), "an update has not ended"),
        (CallbackOpened(2, b"secret"), "a callback has not been answered"),
        (RunCompleted(b"\xc0"), "the run has ended"),
    ],
)
def test_where_something_else_than_steps_and_timers_is_open_it_is_not(opened: Event, says: str) -> None:
    later = (Activated(), opened)
    assert taken(STARTED, later, event=3) == 3
    with pytest.raises(InvalidArgument, match=says):
        cut((STARTED, later), 4)


def test_what_is_too_large_is_refused_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forking, "MAX_BYTES", 100)
    large = (RunStarted("id", "run", "T", b"x" * 200), Activated())
    with pytest.raises(InvalidArgument, match="at most 100"):
        cut((large,), 1)
