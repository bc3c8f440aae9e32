"""A year of a subscription in virtual time: ``python -m benchmarks.year [--rounds 20] [--json FILE]``.

The saga of ``examples/subscription``, from the sign-up over twelve monthly charges to its result, on the engine that
production runs, with the memory store; its services are stand-ins that answer at once. "whole" is the time of the
test's ``async with environment()`` with all that is in it. Beside it stand "same calls": the same charges and mails
awaited one after the other on plain asyncio, each for one turn of the loop. Nothing in it waits for anything, so the
CPU time is what the clock shows on a machine that nobody else uses; the wall clock is what it showed on this one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import sagas
from examples.subscription import activities
from examples.subscription.plan import Plan
from examples.subscription.saga import End, Subscription

MONTHS = 12
START = datetime(2024, 1, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row: the best of all rounds, in ms; ``ratio`` of CPU times, to "same calls"."""

    name: str
    cpu_ms: float
    wall_ms: float
    ratio: float


@dataclass(slots=True)
class Watch:
    """Takes the time from its making on: how long it was by CPU and by the wall."""

    cpu: float = field(default_factory=time.process_time)
    wall: float = field(default_factory=time.perf_counter)

    def read(self) -> tuple[float, float]:
        return time.process_time() - self.cpu, time.perf_counter() - self.wall


Took = dict[str, list[tuple[float, float]]]


async def _text(*_args: object) -> str:
    return "done"


async def _nothing(*_args: object) -> None:
    return None


async def year(took: Took) -> None:
    """One subscriber's year; what it took goes to ``took``."""
    began = Watch()
    async with sagas.testing.environment(start=START) as env:
        env.replace(activities.create_account, _text)
        env.replace(activities.check_card, _nothing)
        env.replace(activities.charge, _text)
        env.replace(activities.send_mail, _nothing)
        entered = Watch()
        plan = Plan(service="nowhere", cents=990, months=MONTHS)
        result = await env.client.execute(Subscription, "ann", plan)
        took["year"].append(entered.read())
        assert (result.end, result.months_paid) == (End.PAID_UP, MONTHS)
    took["whole"].append(began.read())


async def same_calls(took: Took) -> None:
    """The calls of that year as nobody would make them: not one of them outlives this process."""
    began = Watch()
    calls: list[Callable[[], Awaitable[object]]] = [_text, _nothing, _nothing, *[_text, _nothing] * MONTHS]
    for call in calls:
        await asyncio.sleep(0)
        await call()
    took["same calls"].append(began.read())


def measure(rounds: int) -> list[Figure]:
    took: Took = {"same calls": [], "year": [], "whole": []}
    for _ in range(rounds):
        asyncio.run(same_calls(took))
        asyncio.run(year(took))
    best = {name: [min(clock) * 1e3 for clock in zip(*each, strict=True)] for name, each in took.items()}
    unit = best["same calls"][0]
    return [Figure(name=name, cpu_ms=cpu, wall_ms=wall, ratio=cpu / unit) for name, (cpu, wall) in best.items()]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--json", type=Path, help="write the figures there as well")
    given = arguments.parse_args()
    figures = measure(given.rounds)
    for each in figures:
        print(f"{each.name:<12} cpu {each.cpu_ms:>8.2f} ms   wall {each.wall_ms:>8.2f} ms   {each.ratio:>7.1f} x")
    if given.json:
        given.json.write_text(json.dumps({"figures": [asdict(each) for each in figures]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
