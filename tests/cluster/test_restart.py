"""Everything is closed in mid-subscription and started again on the same data: every saga goes on where it was."""

from __future__ import annotations

import asyncio
from pathlib import Path

import sagas
from examples.subscription import wire
from examples.subscription.driver import subscription_id, verify
from examples.subscription.ledger import Ledger
from examples.subscription.plan import Plan
from examples.subscription.process import ServiceProcess
from examples.subscription.saga import End, Subscription, SubscriptionResult
from examples.subscription.script import Fate, Script, scripts
from sagas.server import EmbeddedServer
from tests.cluster.conftest import StartCluster
from tests.cluster.running import MONTHS, plan_of, until

FATES = (Fate.PAYS, Fate.ERRS, Fate.CRASHES, Fate.REFUSED, Fate.NEVER_FIXES)
"""Those in which nobody need react, so that the client may be gone."""


def test_close_everything_and_go_on(
    start_cluster: StartCluster, namespace: str, services: ServiceProcess, tmp_path: Path
) -> None:
    cast, plan = scripts(3 * len(FATES), seed=2, months=MONTHS, fates=FATES), plan_of(services, month_s=0.6)
    with EmbeddedServer.start(tmp_path / "data", die_with_parent=True) as server, start_cluster(server.url):
        asyncio.run(sign_up(server.url, namespace, plan, cast))
        asyncio.run(until(lambda: Ledger.read(services.ledger).charges().total() >= 20))
    before = Ledger.read(services.ledger).charges()
    with EmbeddedServer.start(tmp_path / "data", die_with_parent=True) as server, start_cluster(server.url):
        results = asyncio.run(ends(server.url, namespace, cast))
    ledger = Ledger.read(services.ledger)
    assert before.total() < ledger.charges().total()
    assert verify(ledger, results, cast, plan).wrong == ()


async def sign_up(url: str, namespace: str, plan: Plan, cast: list[Script]) -> None:
    for fault in [fault for script in cast for fault in script.faults()]:
        await asyncio.to_thread(wire.order, plan.service, fault)
    async with await sagas.connect(url, namespace) as client:
        for script in cast:
            await client.start(Subscription, script.user, script.plan(plan), id=subscription_id(script.user))


async def ends(url: str, namespace: str, cast: list[Script]) -> list[SubscriptionResult]:
    async with await sagas.connect(url, namespace) as client:
        plain = [await client.get(subscription_id(script.user)).result() for script in cast]
    return [SubscriptionResult(**{**result, "end": End(result["end"])}) for result in plain]
