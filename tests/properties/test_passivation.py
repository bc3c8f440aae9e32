"""Where an instance lives is never seen: random programs end alike resident, passivated at every point, and crashing;
and from every point of its history the same run goes on to the same decisions.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, fields
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings

import sagas
from sagas.kernel.events import Activated, Decision, Event
from sagas.kernel.instance import Instance
from sagas.kernel.saga import saga_type_of
from sagas.testing import Environment
from tests.properties.programs import Ear, Interpreter, Program, calls, effects, happenings, programs

EXAMPLES = int(os.environ.get("SAGAS_EXAMPLES", "40"))
"""How many programs: ``make properties EXAMPLES=5000`` for a night."""


# --- worlds ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Life:
    """All that may be seen of a run from outside, but for when and where."""

    status: str
    compensation: str
    ending: str
    trace: list[str]
    effects: Counter[str]
    heard: int
    decisions: list[tuple[Any, ...]]


async def live(program: Program, outside: list[tuple[int, str]], *, residents: int, crashing: bool) -> Life:
    """Run the program in a world of its own, and look at it again through the eyes of a new host."""
    effects.clear()
    calls.clear()
    async with AsyncExitStack() as opened:
        env = await opened.enter_async_context(sagas.testing.environment(residents=residents))
        await env.client.start(Ear, id="ear")
        handle = await env.client.start(Interpreter, program, id="program")
        await env.settle()
        for second in range(14):
            await _crash(env, crashing)
            await env.advance(seconds=0.5)
            for _, what in (each for each in outside if each[0] == second):
                await _happen(env, what)
            await _crash(env, crashing)
            await env.advance(seconds=0.5)
        await _resumed(env)
        for _ in range(80):
            if (await env.client.get("program").describe()).status != "running":
                break
            await _crash(env, crashing)
            await env.advance(seconds=1)
        ending = await _ending(env)
        decisions = await _decisions(env)
        trace = await handle.query(Interpreter.seen)
        drawn = await handle.query(Interpreter.drawn)
        await env.restart()  # the history gives it all again
        assert await env.client.get("program").query(Interpreter.seen) == trace
        assert await env.client.get("program").query(Interpreter.drawn) == drawn
        rebuild_everywhere(await handle.history())
        described = await env.client.get("program").describe()
        return Life(
            status=str(described.status.value),
            compensation=str(described.compensation.value),
            ending=ending,
            trace=trace,
            effects=Counter(effects),
            heard=await env.client.get("ear").query(Ear.times),
            decisions=decisions,
        )


async def _crash(env: Environment, crashing: bool) -> None:
    if crashing:
        await env.settle()
        await env.restart()


async def _happen(env: Environment, what: str) -> None:
    handle = env.client.get("program")
    doing: dict[str, Callable[[], Awaitable[object]]] = {
        "tell": lambda: handle.signal("tell"),
        "cancel": handle.cancel,
        "pause": handle.pause,
        "resume": handle.resume,
        "ask": lambda: handle.query("seen"),
        "add": lambda: handle.update("add", 1),
    }
    if what == "add" and any(name in ("Paused", "Resumed") for name in await _names(handle)):
        return  # whoever waits for the answer of one that is paused would make time go on
    with suppress(sagas.SagaClosed, sagas.UpdateRejected):  # it ended before, or was told enough
        await doing[what]()
    await env.settle()


async def _names(handle: sagas.Handle[Any]) -> list[str]:
    return [type(event).__name__ for event in await handle.history()]


async def _resumed(env: Environment) -> None:
    with suppress(sagas.SagaClosed):
        await env.client.get("program").resume()


async def _ending(env: Environment) -> str:
    try:
        return f"returned {await env.client.get('program').result()}"
    except sagas.SagaError as error:
        return f"{type(error).__name__} {error}"


_INCIDENTAL = {"at_ms", "chain", "seed", "reply_to", "due_ms", "message_id", "run_id", "trace", "errors", "since_ms"}
"""Fields that say when, or who sent it."""


async def _decisions(env: Environment) -> list[tuple[Any, ...]]:
    history = await env.client.get("program").history()
    return [
        (type(event).__name__, *(getattr(event, f.name) for f in fields(event) if f.name not in _INCIDENTAL))
        for event in history
        if type(event).__name__ != "Activated"
    ]


def rebuild_everywhere(history: Sequence[Event]) -> None:
    """From before each activation: another process rebuilds the run, goes on, and decides what is recorded."""
    begun = 0  # of the facts of the activation in question
    for at, event in enumerate(history):
        if isinstance(event, Decision):
            begun = at + 1
        elif isinstance(event, Activated):
            end = next((n for n in range(at + 1, len(history)) if not isinstance(history[n], Decision)), len(history))
            instance = Instance.replay(saga_type_of(Interpreter), history[:begun])
            decided = instance.activate(history[begun:at], event.at_ms)
            assert (decided.park, decided.decisions) == ("", list(history[at + 1 : end]))
            instance.evict()
            begun = at + 1


_EXAMPLES = [
    ([["scope", False, [["act", "a", "ok", "ok"], ["sleep", 2], ["act", "b", "fail", "flaky"]]]], []),
    ([["scope", False, [["act", "a", "ok", "ok"], ["sleep", 5]]]], [(2, "cancel")]),
    ([["scope", True, [["act", "a", "ok", "flaky"], ["act", "b", "ok", "ok"], ["raise", "told to"]]]], []),
    (
        [["wait", 2, 5], ["plain", "a", "flaky"], ["wait", 3, 5]],
        [(1, "tell"), (2, "tell"), (2, "pause"), (4, "resume")],
    ),
    ([["try", [["scope", False, [["act", "a", "reject", "ok"]]]]], ["sleep", 3]], [(0, "tell"), (1, "ask")]),
    (
        [["group", [["sleep", 1], ["raise", "told to"]], [["scope", False, [["act", "a", "ok", "ok"], ["sleep", 5]]]]]],
        [],
    ),
    ([["timeout", 2, [["finally", [["sleep", 5]], [["plain", "a", "flaky"]]]]]], [(1, "cancel"), (1, "cancel")]),
    ([["gather", [["sleep", 2], ["plain", "a", "ok"]], [["sleep", 2], ["plain", "b", "ok"]]]], []),
    ([["child", "cancel", True, [["act", "a", "ok", "ok"], ["sleep", 3]]], ["send", "ear"]], [(1, "add"), (2, "add")]),
    ([["timeout", 1, [["child", "terminate", True, [["sleep", 4]]]]], ["send", "nobody"]], []),
    (
        [["lives", 2], ["act", "a", "ok", "ok"], ["wait", 1, 5], ["child", "abandon", False, []]],
        [(1, "add"), (3, "tell")],
    ),
    ([["lives", 1], ["scope", False, [["act", "a", "ok", "ok"]]], ["sleep", 3], ["raise", "told to"]], [(2, "pause")]),
    ([["child", "cancel", True, [["scope", False, [["act", "a", "ok", "flaky"], ["sleep", 5]]]]]], [(2, "cancel")]),
]


@pytest.mark.parametrize(("program", "outside"), _EXAMPLES, ids=range(len(_EXAMPLES)))
def test_programs_chosen_by_hand_live_alike_everywhere(program: Program, outside: list[tuple[int, str]]) -> None:
    _compare(program, outside)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(program=programs, outside=happenings)
@example(program=[["act", "a", "ok", "ok"]], outside=[(0, "cancel")])
def test_any_program_lives_alike_everywhere(program: Program, outside: list[tuple[int, str]]) -> None:
    _compare(program, outside)


def _compare(program: Program, outside: list[tuple[int, str]]) -> None:
    resident = asyncio.run(live(program, outside, residents=1000, crashing=False))
    passivated = asyncio.run(live(program, outside, residents=0, crashing=False))
    assert passivated == resident
    crashing = asyncio.run(live(program, outside, residents=1000, crashing=True))
    assert crashing == resident
    _check_undos(resident)


def _check_undos(life: Life) -> None:
    """No action is undone twice, none that was rejected at once, and none before it was tried."""
    assert life.status != "running"
    undone = [event for event in life.decisions if event[0] == "CompensationScheduled"]
    assert len({event[1:] for event in undone}) == len(undone)
    assert life.compensation in ("done", "none")
    assert (life.compensation == "done") == bool(undone)
