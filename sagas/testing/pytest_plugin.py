"""Fixtures for pytest: ``pytest_plugins = ["sagas.testing.pytest_plugin"]`` in your ``conftest.py``.

Not registered by itself: projects that test no sagas load nothing of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Protocol, TypeVar

import pytest

from sagas.testing.environment import Environment, environment

T = TypeVar("T")


class InVirtualTime(Protocol):
    """The fixture ``in_virtual_time``."""

    def __call__(self, story: Callable[[Environment], Awaitable[T]], /, **options: Any) -> T:
        """Run ``story(env)`` to its end and return its result; ``options`` are those of ``environment()``."""


@pytest.fixture
def in_virtual_time() -> InVirtualTime:
    """``in_virtual_time(story)`` runs ``async def story(env)`` on a loop of its own; it needs no async plugin."""

    def run(story: Callable[[Environment], Awaitable[T]], /, **options: Any) -> T:
        async def told() -> T:
            async with environment(**options) as env:
                return await story(env)

        return asyncio.run(told())

    return run


@pytest.fixture
async def saga_env() -> AsyncGenerator[Environment]:
    """An ``Environment``, entered; for async tests, under a plugin that runs async fixtures (anyio, pytest-asyncio)."""
    async with environment() as env:
        yield env
