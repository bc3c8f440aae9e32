"""A running cluster as its operator holds it: what ``sagas.up()`` returns."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import ray

from actors.names import SUPERVISOR, host_name, ray_namespace
from actors.settings import ClusterSettings
from actors.supervisor import SupervisorActor


class Cluster:
    """Hosts, workers and dispatchers on Ray. Leaving its ``with`` block takes it down."""

    def __init__(self, settings: ClusterSettings, on_down: Callable[[], None] | None = None) -> None:
        self._settings = settings
        self._on_down = on_down
        self._namespace = ray_namespace(settings.namespace)
        self._counts = (0, 0)
        self._supervisor: Any = (
            ray.remote(SupervisorActor)
            .options(
                name=SUPERVISOR,
                namespace=self._namespace,
                lifetime="detached",
                get_if_exists=True,
                max_restarts=-1,
                max_concurrency=1000,
                num_cpus=0,
            )
            .remote(settings)
        )

    def scale(self, hosts: int | None = None, workers: int | None = None) -> None:
        """Run this many hosts and workers; None leaves a number as it is. Returns once they are up."""
        self._counts = (
            self._counts[0] if hosts is None else hosts,
            self._counts[1] if workers is None else workers,
        )
        ray.get(self._supervisor.scale.remote(*self._counts))

    def hosts(self) -> list[dict[str, Any]]:
        """Each host: ``slot``, ``pid``, ``shards`` it owns now."""
        found: list[dict[str, Any]] = ray.get(self._supervisor.describe.remote("host"))
        return found

    def workers(self) -> list[dict[str, Any]]:
        """Each worker: ``name``, ``pid``."""
        found: list[dict[str, Any]] = ray.get(self._supervisor.describe.remote("worker"))
        return found

    def drain(self, host: int) -> None:
        """Let the host in this slot commit, hand its shards to the others, and end."""
        ray.get(self._supervisor.drain.remote(host_name(host)))

    def down(self) -> None:
        """End all of it, and Ray too where ``up()`` started it; instances go on at the next ``up()``."""
        _end(self._supervisor)
        if self._on_down is not None:
            self._on_down()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()


def end(namespace: str) -> bool:
    """End the cluster of ``namespace`` on the connected Ray, whoever started it; False when there is none."""
    try:
        supervisor = ray.get_actor(SUPERVISOR, namespace=ray_namespace(namespace))
    except ValueError:
        return False
    _end(supervisor)
    return True


def _end(supervisor: Any) -> None:
    ray.get(supervisor.down.remote())
    ray.kill(supervisor, no_restart=True)
