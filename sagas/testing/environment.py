"""Sagas under virtual time: one process, the memory store, the same engine as in production. No Ray, no Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

from sagas.client import Client
from sagas.engine.attempt import AttemptRunner
from sagas.engine.clock import VirtualClock
from sagas.engine.executor import InProcessExecutor
from sagas.engine.host import Host, HostSettings, OnCommitted
from sagas.errors import SagaError
from sagas.kernel.activity import Activity
from sagas.kernel.duration import ceil_ms, from_ms, instant_ms, to_ms
from sagas.kernel.registry import Registry
from sagas.modules import load_modules
from sagas.store.memory import MemoryStore

START = datetime(2024, 1, 1, tzinfo=UTC)
"""Where virtual time begins unless a test says otherwise."""


STEP_GRACE_S = 0.1
"""Real seconds in which a step in flight must end to belong to the present instant: it may wait for the test itself."""


HANGING_S = 1.0
"""Real seconds after which a step in flight counts as hanging: time passes, so that its timeout can be reached."""


class NothingDue(SagaError):
    """Virtual time cannot be skipped any further: nothing will ever fall due, something waits for a message."""


class SkippingPatience:
    """A client's patience in virtual time: whoever waits for a result moves the clock to what falls due next."""

    def __init__(self, env: Environment) -> None:
        self._env = env

    def now(self) -> float:
        return self._env.now.timestamp()

    async def settle(self, changed: asyncio.Event, again_s: float) -> None:
        await self._env.settle()

    async def wait(self, changed: asyncio.Event, again_s: float, until: float | None) -> None:
        await self._env.rest()
        if changed.is_set():
            return
        skipped = await self._env.skip(None if until is None else from_ms(ceil_ms(until)))
        if not skipped and not changed.is_set() and not self._env.steps_in_flight:
            raise NothingDue(
                "nothing will fall due any more, so waiting is in vain: the saga waits for a message. "
                "Send the signal first; (await handle.describe()).waiting_for says what it waits for"
            )


class Environment:
    """What ``async with environment() as env`` gives: a client, and the clock in the test's hand."""

    def __init__(
        self, start: datetime, modules: Iterable[ModuleType | str], residents: int, on_committed: OnCommitted
    ) -> None:
        self._clock = VirtualClock(instant_ms(start))
        self._registry = Registry(load_modules(modules))
        self._residents = residents
        self._on_committed = on_committed
        self.store = MemoryStore(clock=self._clock.now_ms)
        self.client = Client(self.store, patience=SkippingPatience(self), learn=self._registry.add_type)
        self._host: Host | None = None
        self._executor: InProcessExecutor | None = None

    @property
    def now(self) -> datetime:
        """The virtual present, in UTC."""
        return from_ms(self._clock.now_ms())

    async def advance(
        self,
        duration: float | timedelta = 0,
        /,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
    ) -> None:
        """Let this much time pass: what falls due on the way is fired, in order."""
        more = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        await self.advance_to(from_ms(self._clock.now_ms() + to_ms(duration) + to_ms(more)))

    async def advance_to(self, when: datetime) -> None:
        """Let time pass up to an instant; one that has passed already moves nothing."""
        until_ms = instant_ms(when)
        if self._host is None:  # stopped: time passes, and what falls due will be late
            self._clock.set(until_ms)
            return
        while await self._fire_next(until_ms):
            pass
        self._clock.set(until_ms)
        await self.rest()

    async def skip(self, until: datetime | None = None) -> bool:
        """Move to what falls due next, or to ``until`` when that comes first; False when nothing ever will."""
        if await self._fire_next(None if until is None else instant_ms(until)):
            return True
        if until is not None:
            await self.advance_to(until)
        return until is not None

    @property
    def steps_in_flight(self) -> int:
        """Attempts that run at this moment."""
        return self._running.steps_in_flight

    async def rest(self) -> None:
        """As ``settle``, but steps in flight have longer to do real work before virtual time goes on without them."""
        await self._running.rest(HANGING_S)

    async def settle(self) -> None:
        """Let everything that can happen at this instant happen; steps that go on running are not waited for."""
        await self._running.rest(STEP_GRACE_S)

    def replace(self, activity: Activity[..., Any], stand_in: Callable[..., Any]) -> None:
        """Run ``stand_in`` (sync or async) whenever a saga calls ``activity``."""
        self._registry.replace(activity, stand_in)

    async def restart(self) -> None:
        """Kill the host as a crash would, and start another on the same store."""
        await self.stop()
        await self.start()

    async def _fire_next(self, until_ms: int | None) -> bool:
        """Move to the next due time (not past ``until_ms``) and let it happen; False when there is none."""
        await self.rest()
        due = min(filter(None, (self._running.next_due_ms(), self._clock.next_alarm_ms())), default=None)
        if due is None or (until_ms is not None and due > until_ms):
            return False
        self._clock.set(due)
        await self.rest()
        return True

    @property
    def _running(self) -> Host:
        assert self._host is not None, "the environment is not entered"
        return self._host

    async def start(self) -> None:
        """Start a host (``environment()`` does it)."""
        # One owner for good: a lease without an end is taken again at once after a restart.
        settings = HostSettings(owner="host", lease_ms=None, residents=self._residents)
        self._host = Host(self.store, self._registry, self._clock, settings, self._on_committed)
        runner = AttemptRunner(self._registry, self._clock, 4)
        self._executor = InProcessExecutor(runner, self._host.deliver, self._host.heard)
        await self._host.start(self._executor)

    async def stop(self) -> None:
        """End the host without a word, as a crash would."""
        if self._host is not None and self._executor is not None:
            self._host.kill()
            await self._executor.close()
            self._host = None


@asynccontextmanager
async def environment(
    *,
    start: datetime = START,
    modules: Iterable[ModuleType | str] = (),
    residents: int = 1000,
    on_committed: OnCommitted = lambda _turn: None,
) -> AsyncGenerator[Environment]:
    """Sagas in virtual time, for tests.

    ``start``: the first instant. ``modules``: what a host would be given; types that ``env.client`` starts are known
    anyway. ``residents``: instances kept in memory a shard; 0 passivates and reloads each one at every point.
    ``on_committed`` is told of every durable turn, in order (a ``sagas.telemetry.export.SpanExport`` has such a hook).
    """
    env = Environment(start, modules, residents, on_committed)
    await env.start()
    try:
        yield env
    finally:
        await env.stop()
        await env.client.close()
