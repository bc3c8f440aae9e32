"""How an example's driver hands a message over: it keeps offering it until the store has taken it.

Law: every call passed here is safe to repeat (it carries a message id, or says ``on_conflict="use_existing"``),
so that a Redis restart in the middle of a replay delays the driver and loses or doubles nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sagas import Overloaded, StoreUnavailable

T = TypeVar("T")

PATIENCE_S = 120.0
"""How long a store may stay away before the driver gives up."""


async def delivered(call: Callable[[], Awaitable[T]]) -> T:
    """What ``call()`` returns once it was accepted; asks again while the store is away or overloaded.

    Raises: StoreUnavailable or Overloaded when that lasts longer than ``PATIENCE_S``.
    """
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while True:
        try:
            return await call()
        except (StoreUnavailable, Overloaded) as refusal:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(getattr(refusal, "retry_after", 0.2))
