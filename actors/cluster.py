"""A running cluster as its operator holds it: what ``sagas.up()`` returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import ray
from ray.exceptions import ActorDiedError, RayTaskError

from actors.calls import original
from actors.names import SUPERVISOR, host_name, ray_namespace
from actors.settings import ClusterSettings
from actors.supervisor import SupervisorActor
from sagas.errors import InvalidArgument
from sagas.workers import DEFAULT


class Cluster:
    """Hosts, workers and dispatchers on Ray. Leaving its ``with`` block takes it down.

    ``began``: there was none of this namespace on this Ray before.
    """

    def __init__(self, settings: ClusterSettings, on_down: Callable[[], None] | None = None) -> None:
        """Begin it, or join the one of this namespace. Raises: InvalidArgument when that has other settings."""
        self._on_down = on_down
        self._namespace = ray_namespace(settings.namespace)
        running = _running(settings.namespace)
        if running is not None:
            _require_same(settings, _answer(running.settings.remote()))
        self.began = running is None
        self._supervisor: Any = (
            ray.remote(SupervisorActor)
            .options(
                name=SUPERVISOR,
                namespace=self._namespace,
                lifetime="detached",
                get_if_exists=True,
                max_restarts=-1,
                max_task_retries=-1,  # what it is asked for may be done twice
                max_concurrency=1000,
                num_cpus=0,
                runtime_env=settings.runtime_env,
            )
            .remote(settings)
        )

    def scale(
        self, hosts: int | None = None, workers: int | None = None, queues: Mapping[str, int] | None = None
    ) -> None:
        """Run this many hosts, workers of the default queue, and workers of other queues (``{"gpu": 2}``).

        None, and a queue that is not named, leaves a number as it is. Returns once they are up; a worker whose Ray
        resources are not there is not waited for: it comes when they are (see ``workers()``).
        Raises: InvalidArgument; what a host or worker raised when it first started (StoreUnavailable, UnsafeStore).
        """
        wanted = {queue: _count(f"queues[{queue!r}]", number) for queue, number in (queues or {}).items()}
        if workers is not None:
            wanted[DEFAULT] = _count("workers", workers)
        _answer(self._supervisor.scale.remote(_count("hosts", hosts), wanted))

    def hosts(self) -> list[dict[str, Any]]:
        """Each host: ``slot``, ``pid``, ``shards`` it owns now. One that has just died has the pid None.

        ``dedicated``: its instances that have a process of their own now, and the pids of those.
        """
        found: list[dict[str, Any]] = _answer(self._supervisor.describe.remote("host"))
        return found

    def workers(self) -> list[dict[str, Any]]:
        """Each worker: ``name``, ``queue``, ``pid``. One that has just died, or waits for resources, has the pid None.

        ``waits_for`` tells of the resources that Ray has not found yet; else it is None. ``failing``: which
        ``@on_worker_start`` keeps a worker from taking steps, and why; "" where none does.
        """
        found: list[dict[str, Any]] = _answer(self._supervisor.describe.remote("worker"))
        return found

    def drain(self, host: int) -> None:
        """Let the host in this slot commit, hand its shards to the others, and end; ``scale`` starts it again.

        Raises: InvalidArgument when there is none.
        """
        _answer(self._supervisor.drain.remote(host_name(host)))

    def down(self) -> None:
        """End all of it, and Ray too where ``up()`` started it; instances go on at the next ``up()``."""
        try:
            _end(self._supervisor)
        finally:
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
    supervisor = _running(namespace)
    if supervisor is None:
        return False
    _end(supervisor)
    return True


def _running(namespace: str) -> Any:
    """The supervisor of a namespace, or None."""
    try:
        return ray.get_actor(SUPERVISOR, namespace=ray_namespace(namespace))
    except ValueError:
        return None


def _require_same(wanted: ClusterSettings, running: ClusterSettings) -> None:
    different = wanted.differences(running)
    if different:
        raise InvalidArgument(
            f"namespace {wanted.namespace!r} runs on this Ray with {', '.join(different)}, which is not what this call "
            "asks for: ask for the same, use another namespace=, or end what runs first (`sagas down --namespace "
            f"{wanted.namespace}` with RAY_ADDRESS set, or down() on what the first up() returned)"
        )


def _end(supervisor: Any) -> None:
    try:
        _answer(supervisor.down.remote())
    except ActorDiedError:  # it restarts always, so somebody else has ended it and all of its children
        return
    ray.kill(supervisor, no_restart=True)


def _answer(ref: Any) -> Any:
    """The result of a call; its error as the actor raised it."""
    try:
        return ray.get(ref)
    except RayTaskError as error:
        raise original(error) from None


def _count(what: str, number: int | None) -> int | None:
    if number is not None and (not isinstance(number, int) or number < 0):
        raise InvalidArgument(f"{what} is how many of them to run, 0 or more, not {number!r}")
    return number
