"""Where an instance lives is never seen: random programs end alike resident, passivated at every point, and crashing.

A program is data; one saga interprets it, so that Hypothesis writes sagas and shrinks those that tell worlds apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, fields
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import sagas
from sagas import Rejected, Retry, activity, compensating, query, saga, signal
from sagas.testing import Environment

Op = list[Any]
Program = list[Op]

_effects: list[str] = []
"""What activities and undos did, in order; one world at a time writes here."""
_calls: dict[str, int] = {}
"""How often each step was attempted, by its key."""

_QUICK = Retry(initial=1, backoff=1, jitter=0, max_attempts=3)


class Refused(Rejected): ...


def _perform(line: str, outcome: str) -> str:
    """Do it, or what ``outcome`` says: "ok", "flaky" (at first it fails), "fail" (always), "reject"."""
    key = sagas.step().idempotency_key
    _calls[key] = _calls.get(key, 0) + 1
    _effects.append(f"{line} ({_calls[key]})")
    if outcome == "fail" or (outcome == "flaky" and _calls[key] == 1):
        raise OSError(line)
    if outcome == "reject":
        raise Refused(line)
    return f"<{line}>"


@activity(retry=_QUICK)
async def plain(name: str, outcome: str) -> str:
    return _perform(f"plain {name}", outcome)


@activity(retry=_QUICK)
async def act(name: str, outcome: str, undo_outcome: str) -> str:
    return _perform(f"do {name}", outcome)


@act.compensation(retry=Retry(initial=1, backoff=1, jitter=0))
async def undo(result: str | None, name: str, outcome: str, undo_outcome: str) -> None:
    _perform(f"undo {name} {result}", undo_outcome)


@saga
class Interpreter:
    """Runs a program; ``trace`` is all it saw."""

    def __init__(self, program: list[Any]) -> None:
        self.program = program
        self.trace: list[str] = []
        self.draws: list[str] = []
        self.told = 0

    async def run(self) -> list[str]:
        await self.block(self.program)
        return self.trace

    async def block(self, program: list[Any]) -> None:
        for op in program:
            await self.perform(op)

    async def perform(self, op: list[Any]) -> None:
        match op:
            case ["plain", name, outcome]:
                self.trace.append(await plain(name, outcome))
            case ["act", name, outcome, undo_outcome]:
                self.trace.append(await act(name, outcome, undo_outcome))
            case ["sleep", seconds]:
                await asyncio.sleep(seconds)
                self.trace.append(f"slept {seconds}")
            case ["wait", count, seconds]:
                await self.wait(count, seconds)
            case ["raise", why]:
                raise ValueError(why)
            case ["draw"]:
                self.draws.append(f"{sagas.random()} {sagas.uuid4()}")
            case _:
                await self.nest(op)

    async def nest(self, op: list[Any]) -> None:
        match op:
            case ["try", inner]:
                try:
                    await self.block(inner)
                except Exception as error:
                    self.trace.append(f"caught {type(error).__name__}")
            case ["finally", inner, last]:
                try:
                    await self.block(inner)
                finally:
                    await self.block(last)
            case ["scope", parallel, inner]:
                async with compensating(parallel=parallel):
                    await self.block(inner)
            case ["gather", *branches]:
                await asyncio.gather(*(self.block(branch) for branch in branches))
            case ["group", *branches]:
                async with asyncio.TaskGroup() as group:
                    for branch in branches:
                        group.create_task(self.block(branch))
            case ["timeout", seconds, inner]:
                async with asyncio.timeout(seconds):
                    await self.block(inner)
            case _:
                raise ValueError(f"not a program: {op}")

    async def wait(self, count: int, seconds: int) -> None:
        try:
            await sagas.wait_until(lambda: self.told >= count, timeout=seconds)
            self.trace.append(f"told {self.told}")
        except TimeoutError:
            self.trace.append("not told")

    @signal
    def tell(self) -> None:
        self.told += 1
        self.trace.append(f"heard {self.told}")

    @query
    def seen(self) -> list[str]:
        return self.trace

    @query
    def drawn(self) -> list[str]:
        return self.draws


# --- programs -------------------------------------------------------------------------------------------

_NAMES = st.sampled_from("abcdefgh")
_OUTCOMES = st.sampled_from(["ok", "ok", "ok", "flaky", "fail", "reject"])
_UNDO_OUTCOMES = st.sampled_from(["ok", "ok", "flaky"])
_SECONDS = st.integers(1, 5)

_LEAVES: st.SearchStrategy[Op] = st.one_of(
    st.tuples(st.just("plain"), _NAMES, _OUTCOMES).map(list),
    st.tuples(st.just("act"), _NAMES, _OUTCOMES, _UNDO_OUTCOMES).map(list),
    st.tuples(st.just("act"), _NAMES, st.just("ok"), _UNDO_OUTCOMES).map(list),
    st.tuples(st.just("sleep"), _SECONDS).map(list),
    st.tuples(st.just("wait"), st.integers(1, 3), _SECONDS).map(list),
    st.just(["raise", "told to"]),
    st.just(["draw"]),
)


def _nested(ops: st.SearchStrategy[Op]) -> st.SearchStrategy[Op]:
    block = st.lists(ops, max_size=4)
    return st.one_of(
        st.tuples(st.just("try"), block).map(list),
        st.tuples(st.just("finally"), block, st.lists(_LEAVES, max_size=1)).map(list),
        st.tuples(st.just("scope"), st.booleans(), block).map(list),
        st.tuples(st.just("gather"), block, block).map(list),
        st.tuples(st.just("group"), block, block).map(list),
        st.tuples(st.just("timeout"), _SECONDS, block).map(list),
    )


programs: st.SearchStrategy[Program] = st.lists(st.recursive(_LEAVES, _nested, max_leaves=10), min_size=1, max_size=4)

happenings: st.SearchStrategy[list[tuple[int, str]]] = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from(["tell", "tell", "tell", "cancel", "pause", "resume", "ask"])),
    max_size=5,
).map(sorted)
"""What comes from outside, and in which half second after a full one, so that it never meets a timer."""


# --- worlds ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Life:
    """All that may be seen of a run from outside, but for when and where."""

    status: str
    compensation: str
    ending: str
    trace: list[str]
    effects: dict[str, list[str]]
    decisions: list[tuple[Any, ...]]


async def live(program: Program, outside: list[tuple[int, str]], *, residents: int, crashing: bool) -> Life:
    """Run the program in a world of its own, and look at it again through the eyes of a new host."""
    _effects.clear()
    _calls.clear()
    async with AsyncExitStack() as opened:
        env = await opened.enter_async_context(sagas.testing.environment(residents=residents))
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
        described = await env.client.get("program").describe()
        return Life(
            status=str(described.status.value),
            compensation=str(described.compensation.value),
            ending=ending,
            trace=trace,
            effects=_by_step(_effects),
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
    }
    with suppress(sagas.SagaClosed):  # it ended before
        await doing[what]()
    await env.settle()


async def _resumed(env: Environment) -> None:
    with suppress(sagas.SagaClosed):
        await env.client.get("program").resume()


async def _ending(env: Environment) -> str:
    try:
        return f"returned {await env.client.get('program').result()}"
    except sagas.SagaError as error:
        return f"{type(error).__name__} {error}"


_INCIDENTAL = {"at_ms", "due_ms", "message_id", "run_id", "trace", "errors", "since_ms"}
"""Fields that say when, or who sent it."""


async def _decisions(env: Environment) -> list[tuple[Any, ...]]:
    history = await env.client.get("program").history()
    return [
        (type(event).__name__, *(getattr(event, f.name) for f in fields(event) if f.name not in _INCIDENTAL))
        for event in history
        if type(event).__name__ != "Activated"
    ]


def _by_step(effects: list[str]) -> dict[str, list[str]]:
    """The effects of each activity, in their order; between two activities that run at once there is none."""
    found: dict[str, list[str]] = {}
    for line in effects:
        found.setdefault(line.split()[0], []).append(line)
    return found


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
]


@pytest.mark.parametrize(("program", "outside"), _EXAMPLES, ids=range(len(_EXAMPLES)))
def test_programs_chosen_by_hand_live_alike_everywhere(program: Program, outside: list[tuple[int, str]]) -> None:
    _compare(program, outside)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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
