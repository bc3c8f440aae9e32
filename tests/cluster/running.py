"""What the cluster tests share: the session's Ray, who runs on it, and a season of subscriptions."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import psutil
import ray
from ray.util import list_named_actors

from actors.names import ray_namespace
from examples.subscription.driver import drive
from examples.subscription.plan import Plan
from examples.subscription.process import ServiceProcess
from examples.subscription.saga import SubscriptionResult
from examples.subscription.script import Script
from sagas import Client
from sagas.cluster import LocalRay, _connect_ray

MODULES = ("examples.traffic_fines.saga", "examples.subscription.saga")
MONTHS = 6
PATIENCE_S = 60.0
"""How long a test waits for what must happen; reached only when it does not happen."""


class RunningRay:
    """The session's Ray, as ``sagas.up()`` starts one; nothing of it outlives the session."""

    def __enter__(self) -> RunningRay:
        assert not ray.is_initialized()
        # Logical ones: nothing looks whether there is such a device.
        os.environ["RAY_OVERRIDE_RESOURCES"] = json.dumps({"CPU": 8, "GPU": 3, "imax": 1})
        try:
            started = _connect_ray()
        finally:
            del os.environ["RAY_OVERRIDE_RESOURCES"]
        assert isinstance(started, LocalRay), "the tests need RAY_ADDRESS to be unset"
        self._ray = started
        return self

    def __exit__(self, *_error: object) -> None:
        processes = descendants()
        self._ray.stop()
        _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
        assert alive == []


def descendants() -> list[psutil.Process]:
    """Every process of ours that Ray has started: its servers, agents, and the actors."""
    raylets = [child for child in psutil.Process().children() if "ray/" in " ".join(child.cmdline())]
    return [process for raylet in raylets for process in (raylet, *raylet.children(recursive=True))]


def named_actors(namespace: str) -> list[str]:
    """The actors of a namespace that Ray would still find."""
    found: list[dict[str, str]] = list_named_actors(all_namespaces=True)
    return sorted(actor["name"] for actor in found if actor["namespace"] == ray_namespace(namespace))


def plan_of(services: ServiceProcess, month_s: float = 0.5) -> Plan:
    """Months of a fraction of a second."""
    month = timedelta(seconds=month_s)
    return Plan(service=services.url, cents=990, months=MONTHS, month=month, grace=5 * month)


async def drive_quickly(client: Client, plan: Plan, cast: Sequence[Script]) -> list[SubscriptionResult]:
    """The cast's subscriptions, on a real clock."""
    return await drive(client, plan, cast, lambda: asyncio.sleep(0.02))


async def until(what: Callable[[], Any]) -> Any:
    """What ``what()`` (blocking, called in a thread) returns once that is true. Raises: TimeoutError."""
    async with asyncio.timeout(PATIENCE_S):
        while not (found := await asyncio.to_thread(what)):
            await asyncio.sleep(0.05)
    return found
