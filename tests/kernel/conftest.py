"""Runs that tests drive by hand are let go as a host would let them go."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.driver import Run


@pytest.fixture(autouse=True)
def _evicted() -> Iterator[None]:
    yield
    while Run.live:
        Run.live.pop().instance.evict()
