"""``up()`` where its namespace runs already: the same settings join what runs, others are refused, and it goes on."""

from __future__ import annotations

from typing import Any

import pytest

import sagas
from actors.settings import ClusterSettings
from sagas.cluster import down
from sagas.errors import InvalidArgument
from tests.cluster.conftest import StartCluster
from tests.cluster.running import MODULES

SECRET = "redis://app:secret@127.0.0.1:1/0"


def test_other_settings_are_refused_and_the_same_are_joined(
    start_cluster: StartCluster, debian_redis_url: str, namespace: str
) -> None:
    def up(modules: Any = MODULES, url: str = debian_redis_url, **options: Any) -> Any:
        return sagas.up(modules, url, **{"hosts": 1, "workers": 1, "namespace": namespace} | options)

    with start_cluster(debian_redis_url, hosts=1, workers=1) as first:
        before = (first.hosts(), first.workers())
        for refused, runs_with in (
            ({"modules": MODULES[:1]}, "modules=['examples.subscription.saga', 'examples.traffic_fines.saga']"),
            ({"url": SECRET}, f"url='{debian_redis_url}'"),
            ({"queues": {"gpu": 1}}, "the queues default (concurrency=256, threads=64)"),
            ({"runtime_env": {"env_vars": {"TOKEN": "secret"}}}, "no runtime_env"),
        ):
            with pytest.raises(InvalidArgument) as caught:
                up(**refused)
            message = str(caught.value)
            assert f"namespace {namespace!r} runs on this Ray with {runs_with}, which is not" in message
            assert f"`sagas down --namespace {namespace}`" in message
            assert "secret" not in message
        with pytest.raises(InvalidArgument, match="hosts is how many"):
            up(hosts=-1)
        assert (first.hosts(), first.workers()) == before
        second = up(tuple(reversed(MODULES)), workers=2)
        assert second.hosts() == before[0]
        assert len(first.workers()) == 2
        assert down(namespace)
        with up(MODULES[:1]) as third:
            assert third.hosts() != before[0]


def test_differences_are_those_of_the_other_without_its_secrets() -> None:
    ours = ClusterSettings(url="redis://here", modules=("a", "b"))
    assert ours.differences(ClusterSettings(url="redis://here", modules=("b", "a", "a"))) == []
    theirs = ClusterSettings(url=SECRET, modules=("c", "a"), runtime_env={"working_dir": "secret"}, lease_ms=3)
    assert ours.differences(theirs) == [
        "url='redis://app:***@127.0.0.1:1/0'",
        "modules=['a', 'c']",
        "lease_ms=3",
        "another runtime_env",
    ]
