"""What saga code may ask for besides plain asyncio: its clock, its identity, its waits. Each works only in a saga."""

from __future__ import annotations

import asyncio
import logging
import random as _random
import uuid as _uuid
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sagas.kernel.current import current, in_saga
from sagas.kernel.duration import Duration, from_ms, instant_ms, to_ms


def now() -> datetime:
    """The run's clock as an aware UTC datetime: the time of this activation, the same in every replay."""
    return from_ms(current("sagas.now()").now_ms)


async def sleep(duration: Duration) -> None:
    """Sleep durably, for seconds or months; other instances and processes may come and go meanwhile."""
    current("sagas.sleep()")
    await asyncio.sleep(to_ms(duration) / 1000)


async def sleep_until(when: datetime | float) -> None:
    """Sleep durably until an instant (an aware datetime, or a POSIX timestamp); a past one returns at once."""
    instance = current("sagas.sleep_until()")
    await asyncio.sleep(max(0, instant_ms(when) - instance.now_ms) / 1000)


async def wait_until(predicate: Callable[[], Any], timeout: Duration | None = None) -> bool:
    """Wait until ``predicate()`` is true; it is looked at whenever the instance comes to rest, and may only read.

    Returns True. Raises: TimeoutError when ``timeout`` passes first (a predicate that has come true in the same
    activation wins); whatever the predicate raises.
    """
    instance = current("sagas.wait_until()")
    limit_ms = None if timeout is None else to_ms(timeout, "timeout")
    future = instance.expect_condition(predicate)
    if instance.check_condition(predicate, future):
        return bool(await future)
    if limit_ms is None:
        return bool(await future)

    def expire() -> None:
        if not instance.check_condition(predicate, future):
            future.set_exception(TimeoutError(f"the condition did not come true within {limit_ms / 1000:g} s"))

    timer = instance.loop.call_later(limit_ms / 1000, expire)
    try:
        return bool(await future)
    finally:
        timer.cancel()


def uuid4() -> _uuid.UUID:
    """A random UUID, the same in every replay."""
    return _uuid.UUID(int=_draws("sagas.uuid4()").getrandbits(128), version=4)


def random() -> float:
    """A random number in [0, 1), the same in every replay."""
    return _draws("sagas.random()").random()


def _draws(what: str) -> _random.Random:
    instance = current(what)
    instance.check_writable(f"draw from {what}, which would change what the saga draws next")
    return instance.random


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """Who the running instance is. ``history_length`` counts the events this activation began with."""

    id: str
    run_id: str
    type: str
    started: datetime
    history_length: int
    attributes: dict[str, Any]


def info() -> Info:
    """Facts about the running instance."""
    instance = current("sagas.info()")
    started = instance.started
    return Info(
        id=started.id,
        run_id=started.run_id,
        type=started.type,
        started=from_ms(started.at_ms),
        history_length=instance.history_length,
        attributes=dict(instance.attributes),
    )


class _SagaLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds ``saga_id`` and ``run_id`` to every record; silent in a replay, so that each line appears once."""

    def isEnabledFor(self, level: int) -> bool:
        if in_saga() and current().replaying:
            return False
        return super().isEnabledFor(level)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        if in_saga():
            started = current().started
            kwargs["extra"] = {**kwargs.get("extra", {}), "saga_id": started.id, "run_id": started.run_id}
        return msg, kwargs


logger = _SagaLogger(logging.getLogger("sagas.saga"), {})
"""A logger for saga code: silent during replay; its records carry ``saga_id`` and ``run_id``."""
