"""A saga that does what its plan says, and somebody who writes down the spans of every turn it commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import sagas
from sagas import Rejected, Retry, activity, compensating, saga, signal, wait_until
from sagas.telemetry import Span, Turn, spans_of
from sagas.testing import Environment

PLACES = ("free", "flaky", "full", "closed", "sticky", "nap", "gate", "pair", "typo", "guide", "crook")
"""What a plan may hold. ``flaky`` works at the second attempt, ``full`` is refused, ``closed`` fails at each of three,
``sticky`` is undone at the second attempt only, ``nap`` sleeps a day, ``gate`` waits an hour for a nudge, ``pair`` does
two at once, ``typo`` is a bug that parks the run, ``guide`` is a child that takes an hour, ``crook`` one that fails."""


class Full(Rejected):
    pass


@activity(retry=Retry(max_attempts=3, jitter=0))
async def book(place: str) -> str:
    if place == "full":
        raise Full("no room left")
    if place == "closed" or (place == "flaky" and sagas.step().attempt == 1):
        raise OSError("nobody answers")
    return f"booked {place}"


@book.compensation(retry=Retry(jitter=0))
async def release(booking: str | None, place: str) -> None:
    if place == "sticky" and sagas.step().attempt == 1:
        raise OSError("try again")


@saga
async def guide(fails: bool) -> None:
    await sagas.sleep(timedelta(hours=1))
    if fails:
        raise ValueError("lost the way")


@saga
@dataclass
class Journey:
    plan: list[str]
    nudges: list[str] = field(default_factory=list)

    async def run(self) -> int:
        async with compensating():
            for place in self.plan:
                await self.visit(place)
        return len(self.plan)

    async def visit(self, place: str) -> None:
        match place:
            case "nap":
                await sagas.sleep(timedelta(days=1))
            case "gate":
                try:
                    await wait_until(lambda: bool(self.nudges), timeout=timedelta(hours=1))
                except TimeoutError:
                    return
            case "pair":
                await asyncio.gather(book("free"), book("flaky"))
            case "guide" | "crook":
                await sagas.child(guide, place == "crook")
            case "typo":
                raise NameError("name 'hotl' is not defined")
            case _:
                await book(place)

    @signal
    def nudge(self) -> None:
        self.nudges.append("nudge")


@dataclass
class Recorder:
    """A host's hook: the spans in the order in which they were emitted."""

    spans: list[Span] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)

    def __call__(self, turn: Turn) -> None:
        self.turns.append(turn)
        self.spans.extend(spans_of(turn))

    def of(self, id: str) -> list[Span]:
        return [span for span in self.spans if span.attributes["saga.id"] == id]


@saga(trace_mode="continuous")
@dataclass
class Sprint(Journey):
    """The same in one trace."""

    async def run(self) -> int:
        return await super().run()

    @signal
    def nudge(self) -> None:
        super().nudge()


@asynccontextmanager
async def recorded(residents: int = 1000) -> AsyncGenerator[tuple[Environment, Recorder]]:
    recorder = Recorder()
    async with sagas.testing.environment(residents=residents, on_committed=recorder) as env:
        yield env, recorder


def travel(*plan: str, saga_type: type[Journey] = Journey) -> list[Span]:
    """The spans of a journey, emitted live; it is given a week of virtual time, and need not end."""

    async def scenario() -> list[Span]:
        async with recorded() as (env, recorder):
            await env.client.start(saga_type, list(plan), id="trip")
            await env.advance(days=7)
            return recorder.spans

    return asyncio.run(scenario())
