"""Calls between actors: awaited without blocking the loop, and repeated while the other one restarts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayTaskError

log = logging.getLogger("sagas.actors")
_BACK_OFF_S = (0.05, 0.1, 0.2, 0.4, 0.8)


class Absent(Exception):
    """There is no actor of this name."""


GONE = (RayActorError, ActorDiedError, ActorUnavailableError, Absent)
"""The other actor is dead, away or absent; for a call that was under way: it may have run."""


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
