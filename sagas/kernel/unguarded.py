"""The way past the guard, for saga code that knows better."""

from __future__ import annotations

import contextvars
from collections.abc import Generator
from contextlib import contextmanager

_passing: contextvars.ContextVar[bool] = contextvars.ContextVar("sagas_unguarded", default=False)


@contextmanager
def unguarded() -> Generator[None]:
    """Let the code inside ask the clock, chance or the world, at definition and when it runs.

    For what cannot change what the saga decides: a measurement for a log, a library that reads a file of its own. What
    it returns is another thing in every replay, so nothing of it may reach a step, a timer or a branch.
    """
    token = _passing.set(True)
    try:
        yield
    finally:
        _passing.reset(token)


def is_unguarded() -> bool:
    """Whether the running code is inside ``with unguarded()``."""
    return _passing.get()
