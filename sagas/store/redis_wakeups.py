"""Pub/sub: one connection of its own that hears every channel somebody listens to.

Law: best effort. ``subscribe`` returns when the server has confirmed, so that nothing published after it is missed
while the connection lasts; a connection that broke is opened again, and what was published meanwhile is lost: those
in ``missed`` are told so, once everything is heard again.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from functools import partial

from sagas.errors import StoreUnavailable
from sagas.store.port import Listener
from sagas.store.redis_errors import CLOSED, RedisFailure, unavailable
from sagas.store.redis_line import ANSWER_S, Address, Reply, Wire

logger = logging.getLogger(__name__)

FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 2.0

_Confirmation = asyncio.Future[StoreUnavailable | None]
"""Done when the server confirmed a channel (None), or when it will not."""


class Wakeups:
    """The listeners of this process on all channels, and the connection that feeds them."""

    def __init__(self, address: Address, answer_s: float = ANSWER_S) -> None:
        self._address = address
        self._answer_s = answer_s
        self._listeners: dict[bytes, list[Listener]] = {}
        self._confirmations: dict[bytes, list[_Confirmation]] = {}
        self._wire: Wire | None = None
        self._opening = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()
        self._resumed: bytes | None = None  # the first channel asked for again: with it all are heard
        self.missed: list[Callable[[], None]] = []

    async def subscribe(self, channel: str, listener: Listener) -> Heard:
        """Hear a channel. Raises StoreUnavailable when the server does not confirm it in time."""
        name = channel.encode()
        self._listeners.setdefault(name, []).append(listener)
        try:
            await self._confirm(name)
        except BaseException:
            self._forget(name, listener)
            raise
        return Heard(self, name, listener)

    async def unsubscribe(self, name: bytes, listener: Listener) -> None:
        if self._forget(name, listener) and self._wire is not None:
            try:
                await self._send(self._wire, "UNSUBSCRIBE", name)
            except RedisFailure:
                return  # the connection is gone, and the channel with it

    async def close(self) -> None:
        self._closed.set()
        self._fail(StoreUnavailable(CLOSED))
        async with self._opening:
            if self._wire is not None:
                await self._wire.disconnect(nowait=True)
        if self._reader is not None:
            await asyncio.wait([self._reader])

    def _forget(self, name: bytes, listener: Listener) -> bool:
        """Drop one listener; says whether it was the channel's last."""
        listeners = self._listeners.get(name, [])
        if listener not in listeners:
            return False
        listeners.remove(listener)
        if not listeners:
            del self._listeners[name]
        return not listeners

    async def _confirm(self, name: bytes) -> None:
        confirmed: _Confirmation = asyncio.get_running_loop().create_future()
        self._confirmations.setdefault(name, []).append(confirmed)
        wire: Wire | None = None
        try:
            async with asyncio.timeout(self._answer_s):
                wire = await self._connected()
                await self._send(wire, "SUBSCRIBE", name)
                refusal = await confirmed
        except RedisFailure as error:
            failure = unavailable(error, self._address.where)
            if isinstance(error, TimeoutError) and wire is not None:
                await self._broke(wire, failure)
            raise failure from error
        if refusal is not None:
            raise refusal

    async def _connected(self) -> Wire:
        async with self._opening:
            if self._closed.is_set():
                raise StoreUnavailable(CLOSED)
            if self._wire is None:
                self._wire = await self._address.open()
            if self._reader is None:
                self._reader = asyncio.get_running_loop().create_task(self._listen(), name="sagas redis wakeups")
            return self._wire

    async def _listen(self) -> None:
        """Until closed: read, and after a break open the connection again with all its channels."""
        wait_s, again = FIRST_WAIT_S, False
        while not self._closed.is_set():
            wire: Wire | None = None
            try:
                wire = await self._connected()
                if self._listeners:
                    self._resumed = next(iter(self._listeners)) if again else None
                    await self._send(wire, "SUBSCRIBE", *self._listeners)
                wait_s = FIRST_WAIT_S
                while True:
                    self._hear(await wire.read_response(timeout=math.inf))
            except (*RedisFailure, StoreUnavailable) as error:
                again = True
                failure = unavailable(error, self._address.where)
                if wire is None:
                    self._fail(failure)
                else:
                    await self._broke(wire, failure)
                await self._rest(wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    def _hear(self, message: Reply) -> None:
        kind, name = message[0], message[1]
        if kind == b"message":
            for listener in tuple(self._listeners.get(name, ())):
                self._tell(partial(listener, message[2]))
        elif kind == b"subscribe":
            for confirmed in self._confirmations.pop(name, ()):
                if not confirmed.done():
                    confirmed.set_result(None)
            if name == self._resumed:
                self._resumed = None
                for missed in self.missed:
                    self._tell(missed)

    def _tell(self, listener: Callable[[], None]) -> None:
        try:
            listener()
        except Exception:
            logger.exception("a listener on a channel raised; the others go on")

    async def _broke(self, wire: Wire, error: StoreUnavailable) -> None:
        """Give this connection up, and whatever waits for it; another may have taken its place by now."""
        if self._wire is wire:
            self._wire = None
            self._fail(error)
        await wire.disconnect(nowait=True)

    def _fail(self, error: StoreUnavailable) -> None:
        waiting, self._confirmations = self._confirmations, {}
        for confirmed in (future for futures in waiting.values() for future in futures):
            if not confirmed.done():
                confirmed.set_result(StoreUnavailable(*error.args))

    async def _rest(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._closed.wait()
        except TimeoutError:
            return

    async def _send(self, wire: Wire, *command: object) -> None:
        await wire.send_packed_command(wire.pack_command(*command), check_health=False)


class Heard:
    """One listener on one channel (the port's Subscription)."""

    __slots__ = ("_listener", "_name", "_wakeups")

    def __init__(self, wakeups: Wakeups, name: bytes, listener: Listener) -> None:
        self._wakeups = wakeups
        self._name = name
        self._listener = listener

    async def close(self) -> None:
        await self._wakeups.unsubscribe(self._name, self._listener)
