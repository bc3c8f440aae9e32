"""The worlds of conformance tests, as fixtures; see ``world.py``."""

from __future__ import annotations

import pytest

from tests.conformance.world import World

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
