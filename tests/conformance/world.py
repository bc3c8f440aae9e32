"""Where a conformance test runs its sagas: one face for virtual time, one process, and real Redis servers.

Law: a test that takes a ``World`` says only what api.md says. It never sleeps to let something happen: it waits until a
condition holds, by asking again, and fails after ``PATIENCE_S``.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, TypeVar

import sagas
from sagas import Client, Handle
from sagas.testing import Environment

T = TypeVar("T")

PATIENCE_S = 60.0
"""How long a whole scenario may take on the wall clock; none needs more than a few seconds."""

START = datetime(2024, 1, 1, tzinfo=UTC)
"""The first instant of every virtual world."""

_ASK_AGAIN_S = 0.01


def run(scenario: Coroutine[Any, Any, T]) -> T:
    """Run one scenario on a loop of its own; a hang fails instead of hanging the suite."""

    async def bounded() -> T:
        return await asyncio.wait_for(scenario, PATIENCE_S)

    return asyncio.run(bounded())


class World:
    """``async with`` it: ``client`` is then a client of running sagas; ``env`` is the environment in virtual time."""

    client: Client
    env: Environment

    def __init__(
        self, *, virtual: bool, url: str | None = None, residents: int = 1000, hosted_in: str | None = None
    ) -> None:
        """``hosted_in``: the namespace of hosts that run already; else the world has one of its own."""
        self.virtual = virtual
        self.residents = residents
        self._url = url
        self._hosted_in = hosted_in
        self._namespace = f"conformance-{uuid.uuid4().hex[:12]}"
        self._modules: list[ModuleType] = []
        self._open = AsyncExitStack()

    async def __aenter__(self) -> World:
        await self._enter()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._open.aclose()

    async def _enter(self) -> None:
        if self.virtual:
            environment = sagas.testing.environment(start=START, residents=self.residents)
            self.env = await self._open.enter_async_context(environment)
            self.client = self.env.client
        elif self._hosted_in is not None:
            self.client = await self._open.enter_async_context(await sagas.connect(self._url, self._hosted_in))
        else:
            one_process = sagas.embedded(
                self._url, modules=self._modules, namespace=self._namespace, residents=self.residents
            )
            self.client = await self._open.enter_async_context(one_process)

    async def reopen(self, *declared: object) -> None:
        """Another host takes over what the store holds: after a crash in virtual time, after a stop elsewhere.

        ``declared``: the sagas and activities its code has; in virtual time it knows what the first one knew.
        """
        if self.virtual:
            await self.env.restart()
            return
        assert self._url is not None, "what is in memory is gone with its process"
        await self._open.aclose()
        self._modules = [_module_of(declared)]
        await self._enter()

    def again(self, handle: Handle[Any]) -> Handle[Any]:
        """The same instance through the client of the present host."""
        return self.client.get(handle.id)

    def run(self, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Open the world, play the scenario, close it."""

        async def played() -> None:
            async with self:
                await scenario()

        run(played())

    async def until(self, holds: Callable[[], Awaitable[object]] | Callable[[], object]) -> None:
        """Return when the condition (a function, sync or async) holds; virtual time stands still meanwhile."""
        settling: asyncio.Task[None] | None = None
        try:
            while True:
                answer = holds()
                if await answer if isinstance(answer, Awaitable) else answer:
                    return
                if self.virtual and (settling is None or settling.done()):
                    settling = asyncio.create_task(self.env.settle())
                await asyncio.sleep(_ASK_AGAIN_S)
        finally:
            if settling is not None:  # it waits for activities, and theirs may wait for the test
                settling.cancel()
                await asyncio.gather(settling, return_exceptions=True)

    async def until_waiting(self, handle: Handle[Any], kind: str) -> None:
        """Return when the instance waits for something of this kind: "step", "timer" or "message"."""

        async def waits() -> bool:
            return any(kind in str(wait) for wait in (await handle.describe()).waiting_for)

        await self.until(waits)

    async def until_parked(self, handle: Handle[Any]) -> str:
        """Return the reason once the instance is parked."""
        reasons: list[str] = []

        async def parked() -> bool:
            reason = (await handle.describe()).parked
            reasons.extend([] if reason is None else [reason])
            return bool(reasons)

        await self.until(parked)
        return reasons[-1]

    async def until_event(self, handle: Handle[Any], *names: str) -> None:
        """Return when the history holds events of all these types."""

        async def holds() -> bool:
            return set(names) <= set(await event_names(handle))

        await self.until(holds)


def _module_of(declared: tuple[object, ...]) -> ModuleType:
    """What a test declared inside its functions, as a host gets it: as a module."""
    module = ModuleType("conformance_declared")
    for number, each in enumerate(declared):
        setattr(module, getattr(each, "__name__", f"declared_{number}"), each)
    return module


async def event_names(handle: Handle[Any]) -> list[str]:
    """The types of the events of the run so far."""
    return [type(event).__name__ for event in await handle.history()]


class Gate:
    """What an activity of a test waits at until the test opens it; says how many have come."""

    def __init__(self) -> None:
        self.came = 0
        self._open = asyncio.Event()

    def open(self) -> None:
        self._open.set()

    async def __call__(self) -> None:
        self.came += 1
        await self._open.wait()
