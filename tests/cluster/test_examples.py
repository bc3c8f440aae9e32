"""Both examples at once on Ray over a real server: the log and the ledger say whether all came out right."""

from __future__ import annotations

import asyncio

import sagas
from examples.subscription.driver import verify as verify_subscriptions
from examples.subscription.ledger import Ledger
from examples.subscription.process import ServiceProcess
from examples.subscription.saga import End
from examples.subscription.script import Fate, scripts
from examples.traffic_fines.driver import drive as drive_fines
from examples.traffic_fines.driver import verify as verify_fines
from examples.traffic_fines.driver import wall_clock
from examples.traffic_fines.log import in_date_order, read_log
from examples.traffic_fines.pace import squeezed
from tests.cluster.conftest import StartCluster
from tests.cluster.running import MONTHS, drive_quickly, plan_of


def test_both_examples_come_out_right(
    start_cluster: StartCluster, debian_redis_url: str, namespace: str, services: ServiceProcess
) -> None:
    events = list(in_date_order(read_log()))
    cast, plan = scripts(2 * len(Fate), seed=11, months=MONTHS), plan_of(services)

    async def run() -> None:
        async with await sagas.connect(debian_redis_url, namespace) as client:
            fines, subscribers = await asyncio.gather(
                drive_fines(client, events, wall_clock, squeezed(events[0].at, ms_per_day=2)),
                drive_quickly(client, plan, cast),
            )
        of_fines = verify_fines(fines, events)
        assert of_fines.wrong == ()
        assert (of_fines.fines, of_fines.penalties_on_day, of_fines.penalties_elsewhere) == (100, 57, 0)
        assert (of_fines.payments, of_fines.settled, of_fines.owing) == (58, 39, 61)
        of_subscriptions = verify_subscriptions(Ledger.read(services.ledger), subscribers, cast, plan)
        assert of_subscriptions.wrong == ()
        assert of_subscriptions.ends == {End.REFUSED: 2, End.PAID_UP: 10, End.CANCELLED: 2, End.UNPAID: 2}

    with start_cluster(debian_redis_url):
        asyncio.run(run())
