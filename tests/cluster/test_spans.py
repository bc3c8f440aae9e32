"""Spans of subscriptions on Ray whose host is killed: whole trees, unique by id, nothing committed without a span."""

from __future__ import annotations

import asyncio
from pathlib import Path

import sagas
from actors.cluster import Cluster
from examples.demo.kills import Kill, kill_host
from examples.subscription.driver import verify
from examples.subscription.ledger import Ledger
from examples.subscription.process import ServiceProcess
from examples.subscription.script import Fate, scripts
from sagas import Client
from sagas.kernel.events import Event
from tests.cluster.conftest import StartCluster
from tests.cluster.running import PATIENCE_S, drive_quickly, plan_of, until
from tests.telemetry.coverage import unspanned
from tests.telemetry.receiver import ReceivedSpan, Receiver, receiving

FATES = (Fate.PAYS, Fate.FIXES, Fate.REFUSED, Fate.CANCELS)


def test_after_a_kill_every_committed_event_has_its_span(
    start_cluster: StartCluster, debian_redis_url: str, namespace: str, services: ServiceProcess, tmp_path: Path
) -> None:
    cast, plan = scripts(2 * len(FATES), seed=8, months=4, fates=FATES), plan_of(services, month_s=0.8)

    async def kill(client: Client, cluster: Cluster) -> Kill:
        await until(lambda: Ledger.read(services.ledger).charges().total() >= 6)
        return await kill_host(client, cluster)

    async def run(cluster: Cluster) -> dict[str, list[Event]]:
        async with await sagas.connect(debian_redis_url, namespace) as client:
            async with asyncio.timeout(PATIENCE_S):
                results, killed = await asyncio.gather(drive_quickly(client, plan, cast), kill(client, cluster))
            ledger = Ledger.read(services.ledger)
            assert verify(ledger, results, cast, plan, kills=killed.under_way).wrong == ()
            return {found.id: await client.get(found.id).history() async for found in client.list()}

    with receiving() as receiver:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        with start_cluster(debian_redis_url, runtime_env={"env_vars": env}) as cluster:
            histories = asyncio.run(run(cluster))
            assert len(histories) >= len(cast)
            receiver.wait_for(lambda receiver: missing(histories, receiver) == [], PATIENCE_S)
        for id in histories:
            assert_whole_trees(receiver.of(id), receiver)


def missing(histories: dict[str, list[Event]], receiver: Receiver) -> list[tuple[int, Event]]:
    """Events without a span."""
    return [event for id, history in histories.items() for event in unspanned(history, receiver.of(id))]


def assert_whole_trees(spans: list[ReceivedSpan], receiver: Receiver) -> None:
    """One root a trace, every other span below one of its own trace, every link to a span that there is."""
    known = receiver.unique()  # fails where two spans of one id differ
    for trace in {span.trace_id for span in spans}:
        roots = [span for span in spans if span.trace_id == trace and span.parent_id is None]
        assert len(roots) == 1, roots
    for span in spans:
        assert span.parent_id is None or (span.trace_id, span.parent_id) in known, span
        for trace_id, span_id, _ in span.links:
            assert (trace_id, span_id) in known, span
