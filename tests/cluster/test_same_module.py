"""One saga module, unchanged, everywhere a saga can run: it ends in the same way, and does the same to the world."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

import sagas
from examples.subscription.driver import drive, verify
from examples.subscription.ledger import Ledger
from examples.subscription.process import ServiceProcess
from examples.subscription.saga import SubscriptionResult
from examples.subscription.script import Fate, scripts
from sagas import Client
from tests.cluster.conftest import StartCluster
from tests.cluster.running import MODULES, MONTHS, plan_of

FATES = (Fate.PAYS, Fate.REFUSED, Fate.FIXES, Fate.NEVER_FIXES, Fate.CANCELS, Fate.ERRS)
PLACES = ("environment", "embedded on Redis", "embedded on Valkey", "Ray on Redis", "Ray on Valkey")

Advance = Callable[[], Awaitable[None]]


@pytest.mark.parametrize("place", PLACES)
def test_one_module_everywhere(
    place: str, request: pytest.FixtureRequest, namespace: str, services: ServiceProcess
) -> None:
    cast, plan = scripts(len(FATES), seed=4, months=MONTHS, fates=FATES), plan_of(services, month_s=0.3)

    async def run() -> list[SubscriptionResult]:
        async with _client(place, request, namespace) as (client, advance):
            return await drive(client, plan, cast, advance)

    if place.startswith("Ray"):
        start_cluster: StartCluster = request.getfixturevalue("start_cluster")
        with start_cluster(_url(place, request)):
            results = asyncio.run(run())
    else:
        results = asyncio.run(run())
    assert verify(Ledger.read(services.ledger), results, cast, plan).wrong == ()


@asynccontextmanager
async def _client(place: str, request: pytest.FixtureRequest, namespace: str) -> AsyncIterator[tuple[Client, Advance]]:
    if place == "environment":
        async with sagas.testing.environment() as env:
            yield env.client, lambda: env.advance(seconds=0.05)
    elif place.startswith("embedded"):
        async with sagas.embedded(_url(place, request), MODULES, namespace=namespace) as client:
            yield client, _a_moment
    else:
        async with await sagas.connect(_url(place, request), namespace) as client:
            yield client, _a_moment


def _url(place: str, request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("valkey_url" if place.endswith("Valkey") else "debian_redis_url")


async def _a_moment() -> None:
    await asyncio.sleep(0.02)
