"""Calls between actors: awaited without blocking the loop, batched, and repeated while the other one restarts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayTaskError

log = logging.getLogger("sagas.actors")
_BACK_OFF_S = (0.05, 0.1, 0.2, 0.4, 0.8)
_BATCH = 500
"""Items a call carries at most: Ray copies what is over 100 KB through its object store."""

T = TypeVar("T")


class Absent(Exception):
    """There is no actor of this name."""


GONE = (RayActorError, ActorDiedError, ActorUnavailableError, Absent)
"""The other actor is dead, away or absent; for a call that was under way: it may have run."""


AWAY = (ActorUnavailableError,)
"""One of GONE that says nothing of its process: it may live, and have run the call."""


def original(error: BaseException) -> BaseException:
    """What an actor raised, out of the wrappers that Ray put around it on its way (their text is a traceback)."""
    while isinstance(error, RayTaskError) and isinstance(error.cause, BaseException):
        error = error.cause
    return error


async def answer(ref: Any) -> Any:
    """The result of a call. ``asyncio.wait`` on a ref would leak it, ``ray.get`` would block every instance here."""
    return await asyncio.wrap_future(ref.future())


class Peer:
    """Another actor by name: looked up off the loop, remembered, looked up again when it has died."""

    def __init__(self, name: str, namespace: str) -> None:
        self.name = name
        self._namespace = namespace
        self._handle: Any = None

    async def call(self, method: str, *args: Any) -> Any:
        """Call once. Raises: one of GONE; or what the actor raised, wrapped by Ray (see ``original``)."""
        try:
            handle = await self._resolved()
            return await answer(getattr(handle, method).remote(*args))
        except GONE:
            self._handle = None
            raise

    async def insist(self, method: str, *args: Any, until: Callable[[], bool]) -> bool:
        """Call until it was answered or ``until()`` says to stop; the receiver must drop repeats. False: it stopped."""
        tries = 0
        while not until():
            try:
                await self.call(method, *args)
            except GONE as error:
                if tries % 20 == 0:
                    log.info("%s is away (%s), trying again", self.name, type(error).__name__)
                await asyncio.sleep(_BACK_OFF_S[min(tries, len(_BACK_OFF_S) - 1)])
                tries += 1
            else:
                return True
        return False

    async def _resolved(self) -> Any:
        if self._handle is None:
            # With Ray's head away this call blocks: never on the loop.
            try:
                self._handle = await asyncio.to_thread(ray.get_actor, self.name, namespace=self._namespace)
            except ValueError as error:
                raise Absent(self.name) from error
        return self._handle


class Background:
    """Work that nobody awaits; asyncio alone would let go of it."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Begin it on this loop."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def cancel(self) -> None:
        """Break all of it off."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class Lane(Generic[T]):
    """What goes to one peer, in order: while one call is under way, the next batch collects.

    A call costs the same for one item as for a hundred, so the busier the peer, the larger its batches.
    """

    def __init__(self, background: Background, send: Callable[[list[T]], Awaitable[None]]) -> None:
        """``send`` deals with its own failures."""
        self._background = background
        self._send = send
        self._items: list[T] = []
        self._running = False
        self._empty = asyncio.Event()
        self._empty.set()

    def put(self, items: Iterable[T]) -> None:
        """Send these with the next call."""
        self._items.extend(items)
        if self._items and not self._running:
            self._running = True
            self._empty.clear()
            self._background.start(self._run())

    async def flushed(self) -> None:
        """Returns when nothing is on its way: what is sent now, past this lane, arrives after it."""
        await self._empty.wait()

    async def _run(self) -> None:
        try:
            while self._items:
                batch, self._items = self._items[:_BATCH], self._items[_BATCH:]
                await self._send(batch)
        finally:
            self._running = False
            self._empty.set()
