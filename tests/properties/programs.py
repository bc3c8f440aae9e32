"""Random sagas as data, the one saga that plays them, and how Hypothesis writes and shrinks them.

Law: two things that could meet in one instant and belong to two instances never do (whose turn comes first is nobody's
promise): what is said from outside comes at half seconds, and each generation of children lives a tenth of one behind.
"""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import strategies as st

import sagas
from sagas import Rejected, Retry, activity, compensating, query, saga, signal, update

Op = list[Any]
Program = list[Op]

effects: list[str] = []
"""What activities and undos did, in order; one world at a time writes here."""
calls: dict[str, int] = {}
"""How often each step was attempted, by its key."""

_QUICK = Retry(initial=1, backoff=1, jitter=0, max_attempts=3)


class Refused(Rejected): ...


def _perform(line: str, outcome: str) -> str:
    """Do it, or what ``outcome`` says: "ok", "flaky" (at first it fails), "fail" (always), "reject"."""
    key = sagas.step().idempotency_key
    calls[key] = calls.get(key, 0) + 1
    effects.append(f"{line} ({calls[key]})")
    if outcome == "fail" or (outcome == "flaky" and calls[key] == 1):
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

    def __init__(self, program: list[Any], lives: int = -1, trace: list[str] | None = None) -> None:
        self.program = program
        self.lives = lives  # how often it is to begin anew; -1: the program says
        self.trace: list[str] = trace or []
        self.draws: list[str] = []
        self.told = 0
        self.born = 0

    async def run(self) -> list[str]:
        await self.block(self.program)
        if self.lives > 0:
            sagas.continue_as_new(self.program, self.lives - 1, [*self.trace, "again"])
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
            case ["lives", count]:
                self.lives = count if self.lives < 0 else self.lives
            case ["raise", why]:
                raise ValueError(why)
            case ["send", whom]:
                await sagas.instance(whom).signal("tell")
                self.trace.append(f"sent to {whom}")
            case ["child", policy, awaited, inner]:
                await self.bear(policy, awaited, inner)
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

    async def bear(self, policy: Any, awaited: bool, program: Program) -> None:
        self.born += 1
        name = f"{sagas.info().id}/{self.lives}.{self.born}"
        # One that nobody waits for outlives its parent: where it stood when that ended would be timing.
        child = sagas.child(Child, program, id=name, on_parent_close=policy if awaited else "abandon")
        self.trace += await child if awaited else ["begun"]

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

    @update
    def add(self, more: int) -> int:
        self.told += more
        self.trace.append(f"added {more}")
        return self.told

    @add.validator
    def check(self, more: int) -> None:
        if self.told + more > 3:
            raise ValueError("enough was told")

    @query
    def seen(self) -> list[str]:
        return self.trace

    @query
    def drawn(self) -> list[str]:
        return self.draws


@saga
class Child(Interpreter):
    """A program begun by another one."""

    async def run(self) -> list[str]:
        await asyncio.sleep(0.1)
        return await super().run()


@saga
class Ear:
    """Is told things by programs."""

    def __init__(self) -> None:
        self.heard = 0

    async def run(self) -> None:
        await sagas.wait_until(lambda: False)

    @signal
    def tell(self) -> None:
        self.heard += 1

    @query
    def times(self) -> int:
        return self.heard


# --- programs -------------------------------------------------------------------------------------------

_NAMES = st.sampled_from("abcdefgh")
_OUTCOMES = st.sampled_from(["ok", "ok", "ok", "flaky", "fail", "reject"])
_UNDO_OUTCOMES = st.sampled_from(["ok", "ok", "flaky"])
_SECONDS = st.integers(1, 5)
_POLICIES = st.sampled_from(["terminate", "cancel", "abandon"])

_LEAVES: st.SearchStrategy[Op] = st.one_of(
    st.tuples(st.just("plain"), _NAMES, _OUTCOMES).map(list),
    st.tuples(st.just("act"), _NAMES, _OUTCOMES, _UNDO_OUTCOMES).map(list),
    st.tuples(st.just("act"), _NAMES, st.just("ok"), _UNDO_OUTCOMES).map(list),
    st.tuples(st.just("sleep"), _SECONDS).map(list),
    st.tuples(st.just("wait"), st.integers(1, 3), _SECONDS).map(list),
    st.just(["raise", "told to"]),
    st.just(["draw"]),
)


_SEND = st.tuples(st.just("send"), st.sampled_from(["ear", "ear", "nobody"])).map(list)


def _one_way(ops: st.SearchStrategy[Op]) -> st.SearchStrategy[Op]:
    """Blocks in which one thing follows the other."""
    block = st.lists(ops, max_size=4)
    return st.one_of(
        st.tuples(st.just("try"), block).map(list),
        st.tuples(st.just("finally"), block, st.lists(_LEAVES, max_size=1)).map(list),
        st.tuples(st.just("scope"), st.booleans(), block).map(list),
        st.tuples(st.just("timeout"), _SECONDS, block).map(list),
    )


def _nested(ops: st.SearchStrategy[Op]) -> st.SearchStrategy[Op]:
    block = st.lists(ops, max_size=4)
    return st.one_of(
        _one_way(ops),
        st.tuples(st.just("gather"), block, block).map(list),
        st.tuples(st.just("group"), block, block).map(list),
    )


def _social(ops: st.SearchStrategy[Op]) -> st.SearchStrategy[Op]:
    """With children, and never beside another branch: in which of two turns of one instant the answer of another
    instance arrives is nobody's promise either."""
    block = st.lists(ops, max_size=4)
    return st.one_of(_one_way(ops), st.tuples(st.just("child"), _POLICIES, st.booleans(), block).map(list))


_LONELY = st.recursive(_LEAVES, _nested, max_leaves=8)

programs: st.SearchStrategy[Program] = st.builds(
    lambda lives, program: [["lives", lives], *program] if lives else program,
    st.sampled_from([0, 0, 0, 1, 2]),
    st.lists(st.recursive(st.one_of(_LONELY, _SEND), _social, max_leaves=5), min_size=1, max_size=4),
)

happenings: st.SearchStrategy[list[tuple[int, str]]] = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from(["tell", "tell", "add", "cancel", "pause", "resume", "ask"])),
    max_size=5,
).map(sorted)
"""What comes from outside, and in which half second after a full one, so that it never meets a timer."""
