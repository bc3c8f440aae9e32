"""Random sagas as data, and the one saga that plays them.

Law: how a program ends, and which effects stand then, depends on it alone and never on timing; so a run through
any faults can be compared with a run without any. (A cancel is timing; such runs are held to weaker promises.)
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from dataclasses import dataclass, field
from typing import Any

import sagas
from sagas import Rejected, Retry, SagaFailed, activity, compensating, saga, signal, wait_until
from tests.simulation.ledger import Ledger

Program = list[list[Any]]
"""Operations: ["step", what, failures, seconds], ["undoable", what, failures, seconds], ["refused", what],
["sleep", seconds], ["signals", count in all], ["scope", parallel, program], ["try", program],
["both", program, program], ["child", what, on_parent_close, program]; of a whole program, ["anew"]."""

ledger: contextvars.ContextVar[Ledger] = contextvars.ContextVar("ledger")

QUICK = Retry(initial=0.2, max_interval=2, jitter=0.5)


async def _work(what: str, failures: int, seconds: float) -> str:
    step = sagas.step()
    assert (step.heartbeat_details or 0) < step.attempt  # what an attempt before it has told, if that came through
    sagas.heartbeat(step.attempt)
    await asyncio.sleep(seconds)
    ledger.get().act(root_of(step.saga_id), what, step.idempotency_key)
    if step.attempt <= failures:
        raise ConnectionError(f"{what}: the reply was lost")  # after the effect: the worst place
    return what


@activity(retry=QUICK)
async def act(what: str, failures: int, seconds: float) -> str:
    return await _work(what, failures, seconds)


@activity(retry=QUICK)
async def do(what: str, failures: int, seconds: float) -> str:
    return await _work(what, failures, seconds)


@do.compensation(retry=QUICK)
async def undo(result: str | None, what: str, failures: int, seconds: float) -> None:
    step = sagas.step()
    assert step.undo_of is not None
    assert result in (None, what)
    await asyncio.sleep(seconds)
    ledger.get().undo(root_of(step.saga_id), step.idempotency_key, step.undo_of)
    if step.attempt <= failures:
        raise ConnectionError(f"undo {what}: the reply was lost")


@activity(retry=QUICK)
async def refuse(what: str) -> None:
    raise Rejected(what)


def root_of(id: str) -> str:
    """The saga of a family that a client has started."""
    return id.partition("/")[0]


@saga
@dataclass
class Play:
    program: Program
    heard: int = 0
    trail: list[str] = field(default_factory=list)

    async def run(self) -> list[str]:
        parts = self.program.index(["anew"]) if ["anew"] in self.program else len(self.program)
        await self.play(self.program[:parts])
        if parts < len(self.program):
            sagas.continue_as_new(self.program[parts + 1 :], self.heard, [*self.trail, "anew"])
        return self.trail

    @signal
    def tell(self) -> None:
        self.heard += 1

    async def play(self, program: Program) -> None:
        for operation, *args in program:
            await getattr(self, f"op_{operation}")(*args)
            self.trail.append(operation)

    async def op_step(self, what: str, failures: int, seconds: float) -> None:
        await act(what, failures, seconds)

    async def op_undoable(self, what: str, failures: int, seconds: float) -> None:
        await do(what, failures, seconds)

    async def op_refused(self, what: str) -> None:
        await refuse(what)

    async def op_sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def op_signals(self, count: int) -> None:
        await wait_until(lambda: self.heard >= count)

    async def op_scope(self, parallel: bool, program: Program) -> None:
        async with compensating(parallel):
            await self.play(program)

    async def op_try(self, program: Program) -> None:
        try:
            await self.play(program)
        except Rejected as error:
            self.trail.append(f"caught {error}")

    async def op_both(self, one: Program, two: Program) -> None:
        await asyncio.gather(self.play(one), self.play(two))

    async def op_child(self, what: str, on_parent_close: Any, program: Program) -> None:
        child = sagas.child(Play, program, id=f"{sagas.info().id}/{what}", on_parent_close=on_parent_close)
        try:
            self.trail += await child
        except SagaFailed as error:
            raise Rejected(error.message) from error


def random_program(dice: random.Random) -> Program:
    """A program of up to about twenty operations."""
    program = _block(dice, 3, may_fail=True)
    while dice.random() < 0.3:
        program += [["anew"], *_block(dice, 2, may_fail=True)]
    return [*program, ["step", "last", 0, 0.0]]


def signals_in(program: Program) -> int:
    """How many signals it needs to come to its end."""
    most = 0
    for operation, *args in program:
        parts = [signals_in(part) for part in args if isinstance(part, list)]
        most = max([most, *parts, *(args if operation == "signals" else ())])
    return most


def _block(dice: random.Random, depth: int, *, may_fail: bool, hears: bool = True) -> Program:
    return [_operation(dice, depth, may_fail, hears) for _ in range(dice.randint(1, 4))]


def _operation(dice: random.Random, depth: int, may_fail: bool, hears: bool) -> list[Any]:
    what = f"w{dice.randrange(10**9)}"
    kinds = ["step", "undoable", "undoable", "sleep", *(["signals"] if hears else [])]
    match dice.choice([*kinds, "scope", "scope", "try", "both", "child"] if depth else kinds):
        case "sleep":
            return ["sleep", dice.choice([0, 0.001, 0.3, 5, 40])]
        case "signals":
            return ["signals", dice.randint(1, 4)]
        case "scope":
            block = _block(dice, depth - 1, may_fail=may_fail, hears=hears)
            if may_fail and dice.random() < 0.4:
                block.append(["refused", what])
            return ["scope", dice.random() < 0.3, block]
        case "try":
            return ["try", _block(dice, depth - 1, may_fail=may_fail, hears=hears)]
        case "both":
            # Neither side may fail: how far the other one came by then would be timing.
            return ["both", *(_block(dice, depth - 1, may_fail=False, hears=hears) for _ in range(2))]
        case "child":
            # Nobody tells a child anything.
            policy = dice.choice(["terminate", "cancel", "abandon"])
            return ["child", what, policy, _block(dice, depth - 1, may_fail=may_fail, hears=False)]
        case kind:
            return [kind, what, dice.choice([0, 0, 0, 1, 2]), dice.choice([0.0, 0.01, 0.5, 3.0])]
