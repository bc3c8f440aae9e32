"""The play: a hundred fines and two dozen subscribers at once, a host and a worker killed in the middle of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from examples.demo.ground import Ground
from examples.demo.kills import Kill, kill_host, kill_worker, taken_over
from examples.demo.news import Fines, Ledger, counted
from examples.demo.screen import Screen
from examples.subscription import driver as subscription
from examples.subscription.ledger import Ledger as Books
from examples.subscription.plan import Plan
from examples.subscription.script import Fate, scripts
from examples.traffic_fines import driver as traffic_fines
from examples.traffic_fines.log import in_date_order, read_log
from examples.traffic_fines.pace import squeezed
from sagas import Client, Description
from sagas.kernel.events import StepScheduled
from sagas.store.keys import shard_of

MS_PER_DAY = 6.0
"""Of the fines' log: its 13 years take half a minute."""

MONTH = timedelta(seconds=1)
MONTHS = 24
SUBSCRIBERS = 24
SEED = 1

HOST_DIES_AFTER = 100  # charges, of some 400
WORKER_DIES_AFTER = 220

PATIENCE_S = 300.0
"""How long sagas may take on a slow machine before the demo says that they hang."""

_LOOK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it. ``refused`` is a subscriber whose sign-up was undone, one of ``refusals``."""

    fines: traffic_fines.Report
    subscriptions: subscription.Report
    books: Books
    months_paid: int  # as the sagas say
    kills: list[Kill]
    refused: str
    refusals: int
    first_step_s: float | None  # from the host's death to the first new step of a saga it had run


async def play(ground: Ground, screen: Screen, client: Client) -> Outcome:
    """Runs all of it, shows it, and compares what came of it with the log and the ledger.

    Raises: TimeoutError when sagas do not end; ExceptionGroup of whatever else went wrong.
    """
    events = list(in_date_order(read_log()))
    pace = squeezed(events[0].at, MS_PER_DAY)
    assert pace.scale is not None
    plan = Plan(service=ground.services.url, cents=990, months=MONTHS, month=MONTH, grace=10 * MONTH)
    cast = scripts(SUBSCRIBERS, seed=SEED, months=MONTHS)
    stage = _Stage(ground=ground, screen=screen, client=client, ledger=Ledger(plan.service))
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        watching = group.create_task(stage.watch(Fines(client, pace.scale)))
        killing = group.create_task(stage.kill())
        fines = group.create_task(traffic_fines.drive(client, events, traffic_fines.wall_clock, pace))
        subscribers = group.create_task(subscription.drive(client, plan, cast, lambda: asyncio.sleep(0.05)))
        await asyncio.wait((killing, fines, subscribers), return_when=asyncio.ALL_COMPLETED)
        watching.cancel()
    books, kills = Books.read(ground.services.ledger), killing.result()
    repeatable = sum(kill.under_way for kill in kills)
    refused = [script.user for script in cast if script.fate is Fate.REFUSED]
    return Outcome(
        fines=traffic_fines.verify(fines.result(), events),
        subscriptions=subscription.verify(books, subscribers.result(), cast, plan, kills=repeatable),
        books=books,
        months_paid=sum(result.months_paid for result in subscribers.result()),
        kills=kills,
        refused=refused[0],
        refusals=len(refused),
        first_step_s=await _first_step_s(client, kills[0]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    ground: Ground
    screen: Screen
    client: Client
    ledger: Ledger

    async def watch(self, fines: Fines) -> None:
        """Shows what happens, until it is cancelled."""
        while True:
            found = [each async for each in self.client.list()]
            self.screen.news(await self.ledger.news())
            self.screen.news(await fines.news(found))
            hosts = await asyncio.to_thread(self.ground.cluster.hosts)
            self.screen.figures(counted(found), hosts, _located(found, hosts))
            await asyncio.sleep(_LOOK_EVERY_S)

    async def kill(self) -> list[Kill]:
        """A host, and when its sagas have gone on, a worker."""
        cluster, say = self.ground.cluster, self.screen.say
        await self._charged(HOST_DIES_AFTER)
        host = await kill_host(self.client, cluster)
        say(f"{host}: its sagas are all in Redis", "bold red")
        owners = await taken_over(cluster, host, lambda: asyncio.sleep(_LOOK_EVERY_S))
        say(f"its sagas go on at {owners}", "bold green")
        await self._charged(WORKER_DIES_AFTER)
        worker = await kill_worker(self.client, cluster)
        say(f"{worker}: they are made again, under the same keys", "bold red")
        return [host, worker]

    async def _charged(self, months: int) -> None:
        while self.ledger.charges() < months:  # noqa: ASYNC110  # the ledger is the services', it tells nobody
            await asyncio.sleep(_LOOK_EVERY_S)


def _located(found: list[Description], hosts: list[dict[str, Any]]) -> Counter[int]:
    """How many running sagas each host has, by its slot."""
    owners = {shard: host["slot"] for host in hosts for shard in host["shards"]}
    running = (owners.get(shard_of(each.id), -1) for each in found if each.closed is None)
    return Counter(running)


async def _first_step_s(client: Client, kill: Kill) -> float | None:
    """Seconds from a host's death to the first step that a saga of its shards scheduled; None when there was none."""
    ids = [each.id async for each in client.list() if shard_of(each.id) in kill.shards]
    histories = [await client.get(id).history() for id in ids]
    steps = (event.at_ms for events in histories for event in events if isinstance(event, StepScheduled))
    first_ms = min((at_ms for at_ms in steps if at_ms > kill.at_ms), default=None)
    return None if first_ms is None else (first_ms - kill.at_ms) / 1000
