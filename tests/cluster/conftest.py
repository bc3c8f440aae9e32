"""On the session's local Ray (``tests/conftest.py``) each test has a namespace of its own, and so hosts and workers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from actors.cluster import Cluster
from examples.subscription.process import ServiceProcess
from sagas.workers import Workers
from tests.cluster.running import MODULES, RunningRay, named_actors

StartCluster = Callable[..., AbstractContextManager[Cluster]]
"""``with start_cluster(url, hosts=2, workers=2) as cluster``: in the test's namespace, checked to leave no actor."""


@pytest.fixture
def start_cluster(local_ray: RunningRay, namespace: str) -> StartCluster:
    import sagas

    @contextlib.contextmanager
    def start(
        url: str,
        *,
        hosts: int = 2,
        workers: int = 2,
        modules: Sequence[str] = MODULES,
        runtime_env: dict[str, Any] | None = None,
        queues: Mapping[str, Workers | int] | None = None,
    ) -> Iterator[Cluster]:
        with sagas.up(
            modules,
            url,
            hosts=hosts,
            workers=workers,
            namespace=namespace,
            runtime_env=runtime_env,
            queues=queues,
        ) as cluster:
            yield cluster
        assert named_actors(namespace) == []

    return start


@pytest.fixture
def services(tmp_path: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path / "ledger.jsonl") as process:
        yield process
