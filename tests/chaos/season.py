"""A season of subscriptions under one scenario, and everything that was not as it must be afterwards.

Law: judged by outcomes alone, never by times; the deadline is there for what never ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from examples.delivery import delivered
from examples.subscription.driver import drive, subscription_id
from examples.subscription.ledger import Kind, Ledger
from examples.subscription.plan import Plan
from examples.subscription.report import verify
from examples.subscription.saga import Subscription, SubscriptionResult
from examples.subscription.script import Fate, Script, scripts
from sagas import SagaClosed, SagaNotFound
from sagas.kernel.events import Event
from tests.chaos.histories import scheduled, settled, signals, told
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage, standing
from tests.chaos.striker import FENCED, Striker
from tests.cluster.running import named_actors, until

MONTHS = 6
MONTH = timedelta(seconds=0.6)
DEADLINE_S = 150.0

_NAMED = 5
"""Sagas that are named when too many have not ended."""

_UNTROUBLED = (Fate.PAYS, Fate.CANCELS)
"""Of the waves after the first: the services need not be told anything, which they might not hear while they crash."""

_DEAF = frozenset({Fate.FIXES, Fate.NEVER_FIXES})
"""Who is not told out of turn that the card is fixed, because that would change how it ends."""

_DECIDED = frozenset({Kind.EFFECT, Kind.REFUSAL, Kind.REPEAT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """``wrong`` names every difference; ``late``: batches that a frozen host sent when others owned its shards."""

    seed: int
    blows: tuple[str, ...]
    sagas: int
    repeats: int
    signals: int
    late: int
    wrong: tuple[str, ...]
    seconds: float

    def line(self) -> str:
        """For people."""
        told = f"{self.sagas} sagas, {self.signals} signals, {self.repeats} requests repeated, {self.late} late commits"
        state = "ok" if not self.wrong else "VIOLATED"
        return f"seed {self.seed}: {state} in {self.seconds:.0f} s; {told}; struck: {', '.join(self.blows)}"

    def report(self) -> str:
        """The line, and under it all that was wrong."""
        return "\n".join((self.line(), *(f"  WRONG: {each}" for each in self.wrong)))


async def season(scenario: Scenario) -> Verdict:
    """Play it; Ray is the one that this process is connected to."""
    async with standing(scenario.seed) as stage:
        verdict = await Season(scenario, stage).play()
    left = await asyncio.to_thread(named_actors, stage.keys.namespace)
    return replace(verdict, wrong=(*verdict.wrong, *(f"{name} outlived the cluster" for name in left)))


class Season:
    """One play of a scenario on a stage."""

    def __init__(self, scenario: Scenario, stage: Stage) -> None:
        self._scenario = scenario
        self._stage = stage
        self._plan = Plan(service=stage.gate.url, cents=990, months=MONTHS, month=MONTH, grace=5 * MONTH)
        self._cast: list[Script] = []
        self._results: list[SubscriptionResult] = []
        self._acknowledged: dict[str, str] = {}  # message id -> its user
        self._striker = Striker(stage, lambda: [script.user for script in self._cast])

    async def play(self) -> Verdict:
        began = time.monotonic()
        before = await asyncio.to_thread(self._stage.processes)
        try:
            async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
                striking = group.create_task(self._strike())
                nagging = group.create_task(self._nag())
                await self._waves(striking)
                nagging.cancel()
            await until(self._stage.whole)
        except (TimeoutError, ExceptionGroup) as error:
            wrong = await self._unfinished(error)
        else:
            wrong = [*await self._disturbed(before), *await self._wrong()]
        return Verdict(
            seed=self._scenario.seed,
            blows=tuple(self._striker.blows),
            sagas=len(self._cast),
            repeats=self._ledger().count(Kind.REPEAT),
            signals=len(self._acknowledged),
            late=len(self._striker.late),
            wrong=tuple(wrong),
            seconds=time.monotonic() - began,
        )

    def _ledger(self) -> Ledger:
        return Ledger.read(self._stage.services.ledger)

    # --- what happens

    async def _strike(self) -> None:
        try:
            for strike in self._scenario.strikes:
                await self._striker.strike(strike)
        finally:
            self._striker.thaw()

    async def _waves(self, striking: asyncio.Task[None]) -> None:
        """Subscribers of every fate, and then more as long as blows are left."""
        seed, number = self._scenario.seed, self._scenario.subscribers
        await self._wave(scripts(number, seed=seed, months=MONTHS))
        wave = 1
        while not striking.done():
            wave += 1
            cast = scripts(number, seed=seed + wave, months=MONTHS, fates=_UNTROUBLED)
            await self._wave([replace(script, user=f"{script.user}-{wave}") for script in cast])

    async def _wave(self, cast: list[Script]) -> None:
        self._cast += cast
        results = await drive(self._stage.client, self._plan, cast, lambda: asyncio.sleep(0.02))
        self._results += results
        self._acknowledged |= {f"{s.user}-fixed": s.user for s in cast if s.fate is Fate.FIXES}
        self._acknowledged |= {f"{s.user}-cancels": s.user for s in cast if s.fate is Fate.CANCELS}

    async def _nag(self) -> None:
        """A signal that changes nothing after every few requests: to whoever it may be, running or ended."""
        dice = random.Random(self._scenario.seed)
        number = 0
        while True:
            await self._stage.gate.more(4)
            number += 1
            user = dice.choice([script.user for script in self._cast if script.fate not in _DEAF])
            with contextlib.suppress(SagaClosed, SagaNotFound):
                await self._signal(user, f"nag-{number}")

    async def _signal(self, user: str, message_id: str) -> None:
        handle = self._stage.client.get(subscription_id(user))
        await delivered(lambda: handle.signal(Subscription.card_fixed, message_id=message_id))
        self._acknowledged[message_id] = user

    # --- what came of it

    async def _disturbed(self, before: set[int]) -> list[str]:
        """Processes that ended though nobody struck them; and the operator is heard, whoever was struck."""
        cluster = self._stage.cluster
        gone = before - await asyncio.to_thread(self._stage.processes) - self._striker.killed
        await asyncio.to_thread(cluster.scale, None, 1)
        workers = await asyncio.to_thread(cluster.workers)
        return [
            *(f"process {pid} is gone, and was not struck" for pid in gone),
            *([f"{len(workers)} workers after scale(workers=1)"] if len(workers) != 1 else []),
        ]

    async def _unfinished(self, error: Exception) -> list[str]:
        running = [found async for found in self._stage.client.list("status = 'running'")]
        waits = [f"{found.id} is {found.parked or await self._stage.told(found.id)}" for found in running[:_NAMED]]
        left = self._scenario.strikes[len(self._striker.blows) :]
        return [
            *([f"{each!r}" for each in error.exceptions] if isinstance(error, ExceptionGroup) else []),
            f"not over within {DEADLINE_S:g} s; blows left: {', '.join(map(str, left)) or 'none'}",
            f"the striker waits for {self._striker.waits_for or 'nothing'}",
            f"hosts {self._stage.owners_now()}; {len(running)} sagas run",
            *waits,
        ]

    async def _wrong(self) -> list[str]:
        ledger = self._ledger()
        histories = await self._stage.histories(script.user for script in self._cast)
        excused = sum(self._striker.excused.values()) + sum(self._stage.gate.untaken.values())
        return [
            *verify(ledger, self._results, self._cast, self._plan, kills=excused).wrong,
            *self._repeats(ledger, histories),
            *(f"{key} was asked for while it was under way" for key in self._stage.gate.at_once),
            *self._unapplied({user: signals(history) for user, history in histories.items()}),
            *_settled_once(scheduled(histories), settled(histories)),
            *_never_committed(ledger, scheduled(histories)),
            *(f"a late commit was answered {each}" for each in self._striker.late if each != FENCED),
        ]

    def _repeats(self, ledger: Ledger, histories: dict[str, list[Event]]) -> Iterator[str]:
        """A request is made again only where its answer was lost."""
        decided = Counter(entry.key for entry in ledger.entries if entry.kind in _DECIDED)
        answered = Counter(entry.key for entry in ledger.entries if entry.kind is Kind.ANSWERED)
        for key, repeats in Counter(entry.key for entry in ledger.entries if entry.kind is Kind.REPEAT).items():
            excuses = decided[key] - answered[key] + self._stage.gate.untaken[key] + self._striker.excused[key]
            if repeats > excuses:
                yield f"{key} was asked for {repeats} times more, with {excuses} reasons to be: {told(key, histories)}"
                yield f"  {key}: {'; '.join(self._stage.gate.passed.get(key, ()))}"

    def _unapplied(self, applied: dict[str, Counter[str]]) -> Iterator[str]:
        """What was acknowledged is in the history, once."""
        for message, user in self._acknowledged.items():
            if applied[user][message] != 1:
                yield f"signal {message} to {user} was acknowledged and applied {applied[user][message]} times"


def _settled_once(scheduled: Counter[str], settled: Counter[str]) -> Iterator[str]:
    for key in scheduled.keys() | settled.keys():
        if (scheduled[key], settled[key]) != (1, 1):
            yield f"{key} was scheduled {scheduled[key]} times and settled {settled[key]} times"


def _never_committed(ledger: Ledger, scheduled: Counter[str]) -> Iterator[str]:
    """What the services were asked for, and no history knows: released before it was committed."""
    asked = {entry.key for entry in ledger.entries if entry.kind is Kind.REQUEST}
    for key in sorted(asked - scheduled.keys()):
        yield f"{key} was asked for, and is in no history"
