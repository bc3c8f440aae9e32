"""Episodes are folded from the history: where one ends, where the next begins, and what a trail says of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagas.kernel.episode import SENDERS_KEPT, Episode
from sagas.kernel.events import (
    SIGNAL,
    Activated,
    CancelRequested,
    CompensationCompleted,
    CompensationScheduled,
    CompensationStarted,
    Event,
    MessageDelivered,
    MessageSent,
    Parked,
    Paused,
    Resumed,
    RunCompleted,
    RunStarted,
    RunTerminated,
    SignalReceived,
    StepCompleted,
    StepScheduled,
    TimerCancelled,
    TimerFired,
    TimerSet,
)
from sagas.kernel.state import RunState

STARTED = RunStarted("id", "run", "T", b"", at_ms=1)
ACTIVATED = Activated()


def signal(number: int = 1, trace: str = "") -> SignalReceived:
    return SignalReceived(f"m-{number}", "poke", b"", trace)


def step(number: int) -> StepScheduled:
    return StepScheduled(number, "book", b"")


def numbers(*events: Event) -> list[int]:
    """The episode of each event."""
    state, found = RunState(), []
    for event in events:
        state.evolve(event)
        found.append(state.episode.number)
    return found


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([STARTED, ACTIVATED, TimerSet(1, 9), TimerFired(1), ACTIVATED], [0, 0, 0, 1, 1], id="a sleep"),
        pytest.param([STARTED, ACTIVATED, signal(), ACTIVATED], [0, 0, 1, 1], id="waiting for a signal"),
        pytest.param([STARTED, ACTIVATED, step(1), signal(), ACTIVATED], [0, 0, 0, 0, 0], id="a signal during a step"),
        pytest.param(
            [STARTED, ACTIVATED, step(1), StepCompleted(1, 1, b""), ACTIVATED, step(2), StepCompleted(2, 1, b"")],
            [0] * 7,
            id="step after step",
        ),
        pytest.param(
            [STARTED, ACTIVATED, step(1), StepCompleted(1, 1, b""), signal(), ACTIVATED, signal(2)],
            [0, 0, 0, 0, 0, 0, 1],
            id="a signal together with the last result",
        ),
        pytest.param([STARTED, ACTIVATED, signal(), signal(2), ACTIVATED], [0, 0, 1, 1, 1], id="two at once wake once"),
        pytest.param([STARTED, signal(), ACTIVATED], [0, 0, 0], id="recorded by a host that drains, run by the next"),
        pytest.param(
            [STARTED, ACTIVATED, MessageSent(1, "o", SIGNAL, "x", b""), MessageDelivered(1), ACTIVATED, signal()],
            [0, 0, 0, 0, 0, 1],
            id="a message on its way",
        ),
        pytest.param([STARTED, ACTIVATED, RunTerminated("x")], [0, 0, 1], id="terminated in its sleep"),
        pytest.param([STARTED, Parked("x"), ACTIVATED], [0, 0, 1], id="an owner with other code tries by itself"),
        pytest.param([STARTED, Parked("x"), Resumed(), ACTIVATED], [0, 0, 1, 1], id="resumed after it parked"),
        pytest.param(
            [STARTED, ACTIVATED, step(1), Parked("x"), StepCompleted(1, 1, b""), signal(), Resumed(), ACTIVATED],
            [0, 0, 0, 0, 0, 1, 2, 2],
            id="each fact a parked run gets wakes it for nothing",
        ),
        pytest.param([STARTED, Parked("x"), CancelRequested("y"), ACTIVATED], [0, 0, 1, 1], id="a cancel lifts a park"),
        pytest.param(
            [STARTED, ACTIVATED, Paused(), signal(), Resumed(), ACTIVATED], [0, 0, 1, 2, 3, 3], id="paused for a while"
        ),
        pytest.param(
            [
                STARTED,
                ACTIVATED,
                CompensationStarted(1, "x"),
                CompensationScheduled(2, "u", b"", 1, 1),
                Paused(),
                ACTIVATED,
            ],
            [0] * 6,
            id="an undo heeds no pause",
        ),
    ],
)
def test_where_episodes_begin(events: list[Event], expected: list[int]) -> None:
    assert numbers(*events) == expected


def test_an_episode_knows_where_and_when_it_began_and_who_sent_signals() -> None:
    state = RunState()
    state.evolve_all([STARTED, ACTIVATED, SignalReceived("m-1", "x", b"", "sender-1", at_ms=70), ACTIVATED, step(1)])
    state.evolve_all([signal(2), signal(3, "sender-2"), signal(4, "sender-1"), ACTIVATED])
    assert state.episode == Episode(number=1, first=2, since_ms=70, senders=("sender-1", "sender-2"))


def test_senders_are_not_kept_without_end() -> None:
    state = RunState()
    state.evolve_all([STARTED, *(signal(number, f"sender-{number}") for number in range(3 * SENDERS_KEPT))])
    assert len(state.episode.senders) == SENDERS_KEPT


def test_a_trail_names_what_events_ended_and_where_their_episodes_lie() -> None:
    state = RunState()
    state.evolve_all([STARTED, ACTIVATED, step(1), TimerSet(2, 9)])
    state.follow()
    state.evolve_all([StepCompleted(1, 1, b""), ACTIVATED, TimerCancelled(2), TimerSet(3, 9)])
    trail = state.trail()
    assert (trail.ended, trail.left) == ({1: step(1), 2: TimerSet(2, 9)}, ())
    assert ([episode.number for episode in trail.episodes], trail.sleeps) == ([0], True)
    state.follow()
    state.evolve_all([TimerFired(3), ACTIVATED, step(4)])
    trail = state.trail()
    assert ([(episode.number, episode.first) for episode in trail.episodes], trail.sleeps) == ([(1, 8)], False)


def test_a_trail_tells_the_episode_of_the_action_of_an_undo() -> None:
    state = RunState()
    state.evolve_all([STARTED, ACTIVATED, step(1), step(2), StepCompleted(1, 1, b""), StepCompleted(2, 1, b"")])
    state.evolve_all(
        [ACTIVATED, signal(), ACTIVATED, step(3), StepCompleted(3, 1, b""), ACTIVATED, signal(), ACTIVATED]
    )
    undos = [CompensationScheduled(number + 3, "u", b"", number, 1) for number in (3, 2, 1)]
    state.evolve_all(undos)
    state.follow()
    state.evolve_all([CompensationCompleted(6, 1), CompensationCompleted(5, 1), RunTerminated("x")])
    trail = state.trail()
    assert trail.acted == {3: 1, 2: 0, 1: 0}
    assert trail.left == (undos[2],)


def test_a_trail_that_nobody_asked_for_says_where_the_run_stands() -> None:
    state = RunState()
    state.evolve_all([STARTED, ACTIVATED, step(1), StepCompleted(1, 1, b"")])
    trail = state.trail()
    assert (trail.ended, [episode.number for episode in trail.episodes], trail.sleeps) == ({}, [0], False)


FACTS = st.sampled_from(["signal", "timer", "result", "park", "pause", "resume", "cancel"])


@given(st.lists(st.lists(FACTS, min_size=1, max_size=3), max_size=12), st.data())
def test_however_a_history_is_cut_into_turns_its_episodes_are_the_same(
    turns: list[list[str]], data: st.DataObject
) -> None:
    """Each turn's trail, put together, is the whole history's; episodes follow one another without a gap."""
    live, history, begun, over = RunState(), [], [], []
    for number, kinds in enumerate([[], *turns]):
        live.follow()
        events = [STARTED] if number == 0 else [_fact(kind, live, number) for kind in kinds]
        if not any(isinstance(event, Parked | Paused) for event in events) and data.draw(st.booleans()):
            events.append(ACTIVATED)
            events += data.draw(st.sampled_from([[], [step(1000 + number)], [TimerSet(1000 + number, 9)]]))
        live.evolve_all(events)
        history += events
        trail = live.trail()
        begun += [episode.number for episode in trail.episodes]
        over += [episode for episode, following in pairwise(trail.episodes)]
        over += trail.episodes[-1:] if trail.sleeps and events else []
    whole = RunState()
    whole.follow()
    whole.evolve_all(history)
    trail = whole.trail()
    assert list(dict.fromkeys(begun)) == [episode.number for episode in trail.episodes]
    assert over == list(trail.episodes if trail.sleeps else trail.episodes[:-1])
    assert [episode.number for episode in trail.episodes] == list(range(len(trail.episodes)))
    assert trail.episodes[0].first == 0
    assert all(one.first < other.first for one, other in pairwise(trail.episodes))


def _fact(kind: str, state: RunState, number: int) -> Event:
    match kind:
        case "timer" if state.timers:
            return TimerFired(min(state.timers))
        case "result" if state.steps:
            return StepCompleted(min(state.steps), 1, b"")
        case "park":
            return Parked("x")
        case "pause":
            return Paused()
        case "resume":
            return Resumed()
        case "cancel":
            return CancelRequested("x")
    return signal(number)


def test_a_run_that_ended_sleeps_for_good() -> None:
    state = RunState()
    state.evolve_all([STARTED, ACTIVATED, RunCompleted(b"")])
    assert state.sleeps
