"""What the core costs, without store, engine or I/O: ``python -m benchmarks.kernel [--rounds 300] [--json FILE]``.

"A step" is one activation of an instance: the outcome of its last step goes in, the decision to schedule the next one
comes out, arguments encoded and result decoded. Beside it stands what plain asyncio takes for one ``await future``: its
ratio says more than microseconds do on a machine that others use. "Replay" rebuilds an instance from its history;
"decoding" turns the chunks of a store into the history's events. CPU time of the process, the best of several rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sagas import activity, compensating, saga
from sagas.kernel.events import Activated, Event, RunStarted, StepCompleted, TimerFired, decode_chunk, encode_chunk
from sagas.kernel.instance import Instance
from sagas.kernel.saga import SagaType, saga_type_of
from sagas.payloads import encode

LONG = 200  # steps of a long run
SHORT = 10  # and of a short one
OPERATIONS = 200  # a round: a few ms find a gap between the neighbours

_RESULT = encode("<done>")


@activity
async def work(number: int) -> str:
    return f"<{number}>"


@activity
async def act(number: int) -> str:
    return f"<{number}>"


@act.compensation
async def undo(result: str | None, number: int) -> None: ...


@saga
async def steps(count: int) -> None:
    for number in range(count):
        await work(number)


@saga
async def undoable_steps(count: int) -> None:
    async with compensating():
        for number in range(count):
            await act(number)


@saga
async def naps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row. ``ratio``: to a round of plain asyncio; ``events_per_s`` only where events are read."""

    name: str
    microseconds: float
    ratio: float
    events_per_s: int | None = None


class Tape:
    """A whole run of a saga, recorded: the facts of each activation, and the chunks a store would hold."""

    def __init__(self, declared: Any, count: int, outcome: Callable[[int], Event], first: int = 1) -> None:
        self.type: SagaType = saga_type_of(declared)
        started = RunStarted("id", "run", self.type.name, self.type.arguments.encode((count,), {}))
        self.facts: list[list[Event]] = [[started], *([outcome(number)] for number in range(first, first + count))]
        self.chunks: list[bytes] = []
        instance = Instance(self.type)
        for at_ms, facts in enumerate(self.facts, 1):
            decisions = instance.activate(facts, at_ms).decisions
            self.chunks.append(encode_chunk([*facts, Activated(), *decisions], at_ms))
        assert instance.state.closed, "the tape ends before the run does"
        self.events = self.read()

    def play(self) -> None:
        """The run again, activation by activation."""
        instance = Instance(self.type)
        for at_ms, facts in enumerate(self.facts, 1):
            instance.activate(facts, at_ms)

    def read(self) -> list[Event]:
        """The history out of its chunks."""
        return [event for chunk in self.chunks for event in decode_chunk(chunk)]

    def replay(self) -> None:
        """The instance out of its history."""
        Instance.replay(self.type, self.events)

    def load(self) -> None:
        """The instance out of its chunks."""
        Instance.replay(self.type, self.read())


def completed(number: int) -> Event:
    return StepCompleted(number, 1, _RESULT)


async def _plain_rounds(rounds: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(rounds):
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future


class Bench:
    """Measures one thing after the other, and tells what each is beside plain asyncio."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self.plain = 1.0
        self.figures: list[Figure] = []

    def asyncio(self) -> None:
        """The measure of all others, on the standard loop."""
        with asyncio.Runner() as runner:
            self.plain = self._microseconds(lambda: runner.run(_plain_rounds(OPERATIONS)), OPERATIONS)
        self._tell(Figure(name="plain asyncio: await future", microseconds=self.plain, ratio=1.0))

    def step(self, name: str, tape: Tape) -> None:
        """One step of the run, its share of the start and the end included."""
        per_run = len(tape.facts) - 1
        took = self._microseconds(_repeated(tape.play, max(1, OPERATIONS // per_run)), OPERATIONS)
        self._tell(Figure(name=name, microseconds=took, ratio=took / self.plain))

    def events(self, name: str, tape: Tape, work: Callable[[], object]) -> None:
        """One event of the history."""
        runs = max(1, OPERATIONS // len(tape.events))
        took = self._microseconds(_repeated(work, runs), runs * len(tape.events))
        self._tell(Figure(name=name, microseconds=took, ratio=took / self.plain, events_per_s=round(1e6 / took)))

    def _microseconds(self, work: Callable[[], object], operations: int) -> float:
        best = float("inf")
        for _ in range(self._rounds):
            gc.collect()
            began = time.process_time()
            work()
            best = min(best, time.process_time() - began)
        return best / operations * 1e6

    def _tell(self, figure: Figure) -> None:
        self.figures.append(figure)
        rate = "" if figure.events_per_s is None else f"{figure.events_per_s:>12,} events/s"
        print(f"{figure.name:<42} {figure.microseconds:>8.2f} us   {figure.ratio:>5.2f} x{rate}", flush=True)


def _repeated(work: Callable[[], object], times: int) -> Callable[[], None]:
    def again() -> None:
        for _ in range(times):
            work()

    return again


def measure(rounds: int) -> list[Figure]:
    long, short = Tape(steps, LONG, completed), Tape(steps, SHORT, completed)
    bench = Bench(rounds)
    bench.asyncio()
    bench.step(f"a step, of {LONG:,}", long)
    bench.step(f"a step, of {SHORT} with start and end", short)
    bench.step(f"a step with an undo, of {LONG:,}", Tape(undoable_steps, LONG, completed, first=2))
    bench.step(f"a sleep, of {LONG:,}", Tape(naps, LONG, TimerFired))
    for tape, size in ((long, LONG), (short, SHORT)):
        bench.events(f"replay alone, {size:,} steps", tape, tape.replay)
        bench.events(f"decoding alone, {size:,} steps", tape, tape.read)
        bench.events(f"decoding and replay, {size:,} steps", tape, tape.load)
    return bench.figures


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=300)
    arguments.add_argument("--json", type=Path, help="write the figures there as well")
    given = arguments.parse_args()
    figures = measure(given.rounds)
    if given.json:
        given.json.write_text(json.dumps({"figures": [asdict(each) for each in figures]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
