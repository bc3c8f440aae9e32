"""The worlds of conformance tests, as fixtures; see ``world.py``."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.conformance.world import World

if TYPE_CHECKING:
    from tests.cluster.running import RunningRay

_SERVERS = {"debian": "debian_redis_url", "valkey": "valkey_url"}


def _world(kind: str, request: pytest.FixtureRequest) -> World:
    match kind:
        case "virtual":
            return World(virtual=True)
        case "passivated":
            return World(virtual=True, residents=0)
        case "memory":
            return World(virtual=False)
        case _:
            return World(virtual=False, url=request.getfixturevalue(_SERVERS[kind]))


@pytest.fixture(params=("virtual", "passivated", "memory"))
def world(request: pytest.FixtureRequest) -> World:
    """Each world that needs no server."""
    return _world(request.param, request)


@pytest.fixture(params=("virtual", "passivated", "memory", "debian", "valkey"))
def everywhere(request: pytest.FixtureRequest) -> World:
    """Each world there is: for what is worth a server."""
    return _world(request.param, request)


@pytest.fixture(params=("virtual", "passivated", "debian", "valkey"))
def durable(request: pytest.FixtureRequest) -> World:
    """Each world whose store outlives its host."""
    return _world(request.param, request)


@pytest.fixture(params=("virtual", "passivated"))
def timed(request: pytest.FixtureRequest) -> World:
    """Each world of virtual time."""
    return _world(request.param, request)


@pytest.fixture(scope="session")
def ray_namespace(local_ray: RunningRay, debian_redis_url: str) -> Iterator[str]:
    """A namespace with hosts and workers on the session's Ray, which know ``everyday.py``; its ids are not reused."""
    import sagas

    namespace = f"conformance-{uuid.uuid4().hex[:12]}"
    with sagas.up(["tests.conformance.everyday"], debian_redis_url, hosts=2, workers=2, namespace=namespace):
        yield namespace


@pytest.fixture(params=("virtual", "passivated", "memory", "debian", pytest.param("ray", id="on_ray")))
def wherever(request: pytest.FixtureRequest) -> World:
    """Each kind of world there is, a cluster too: for sagas of ``everyday.py``."""
    if request.param != "ray":
        return _world(request.param, request)
    url = request.getfixturevalue("debian_redis_url")
    return World(virtual=False, url=url, hosted_in=request.getfixturevalue("ray_namespace"))
