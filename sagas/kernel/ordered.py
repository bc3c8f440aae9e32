"""``asyncio.as_completed`` in one order: it puts what it is given into a set before it makes tasks of it.

Tasks hash by their number here (``task.py``), but coroutines by their address, so their order in that set would differ
between a run and its replay. The wrapper makes the tasks first, in the order given; outside a saga it changes nothing.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable
from typing import Any

from sagas.kernel.current import in_saga

_original = asyncio.as_completed


@functools.wraps(_original)
def _as_completed(fs: Iterable[Any], *, timeout: float | None = None) -> Any:
    if in_saga() and not (asyncio.isfuture(fs) or asyncio.iscoroutine(fs)):
        fs = [asyncio.ensure_future(each) for each in dict.fromkeys(fs)]
    return _original(fs, timeout=timeout)


def install() -> None:
    """Put the wrapper in place, once a process."""
    if asyncio.as_completed is _original:
        asyncio.as_completed = _as_completed
        asyncio.tasks.as_completed = _as_completed
