"""One connection to Redis that carries many calls at once, in order.

Law: replies belong to calls by order alone, so a call is queued to be written and to be answered in one step without
awaiting, and when anything goes wrong the whole connection goes with every call on it: nobody can read another's
reply. What is asked in one round of the loop is written at once. Nothing is ever sent twice; a call that failed may
or may not have run. The next call connects again.

redis-py's client is not used for this: its pool costs a lock and a task a call, and a caller cancelled while it waits
for its reply costs it the connection. Here such a caller only stops listening.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol, cast

import hiredis
from redis.asyncio.connection import Connection, UnixDomainSocketConnection, parse_url
from redis.exceptions import NoScriptError, ResponseError

from sagas.errors import InvalidArgument, StoreUnavailable
from sagas.store.redis_errors import CLOSED, RedisFailure, unavailable

Reply = Any
"""What hiredis makes of a reply: bytes, int, None, or lists of them."""

CONNECT_S = 5.0
ANSWER_S = 20.0

_OURS: Mapping[str, object] = {
    "protocol": 2,
    "socket_timeout": None,
    "socket_connect_timeout": CONNECT_S,
    "decode_responses": False,
    "driver_info": None,
    "health_check_interval": 0,
}
_THE_POOLS = ("max_connections", "timeout", "retry_on_timeout", "retry_on_error")


class Wire(Protocol):
    """The part of redis-py's connection that is used, with the types it lacks."""

    async def connect(self) -> None: ...
    async def disconnect(self, nowait: bool = False) -> None: ...
    async def send_packed_command(self, command: list[bytes], check_health: bool = True) -> None: ...
    async def read_response(self, *, timeout: float) -> Reply: ...
    def pack_command(self, *args: object) -> list[bytes]: ...


class Address:
    """Where a server is and how to open connections to it. Raises InvalidArgument when the URL is none of Redis."""

    def __init__(self, url: str) -> None:
        try:
            options: dict[str, Any] = dict(parse_url(url))
        except ValueError as error:
            raise InvalidArgument(f"not a Redis URL: {error}; use redis://, rediss:// or unix://") from None
        self._class: Any = options.pop("connection_class", Connection)
        for name in _THE_POOLS:
            options.pop(name, None)
        if self._class is not UnixDomainSocketConnection:
            options.setdefault("socket_keepalive", True)
        self._options = {**options, **_OURS}
        self.where: str = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"

    async def open(self) -> Wire:
        """A connected, authenticated connection. Raises StoreUnavailable."""
        try:
            wire = cast(Wire, self._class(**self._options))
        except TypeError as error:
            raise InvalidArgument(f"the Redis URL has an option that does not exist: {error}") from None
        try:
            async with asyncio.timeout(CONNECT_S):
                await wire.connect()
        except BaseException as error:
            await wire.disconnect(nowait=True)
            if isinstance(error, RedisFailure):
                raise unavailable(error, self.where) from error
            raise
        return wire


class Line:
    """Calls on one connection, pipelined by nature: what is sent while another call waits shares its fsync."""

    def __init__(self, address: Address, answer_s: float = ANSWER_S) -> None:
        self.where = address.where
        self._address = address
        self._answer_s = answer_s
        self._open: _OpenLine | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def call(self, *command: object) -> Reply:
        """Send one command and wait for its reply.

        Raises: StoreUnavailable when there is none in time or it is an error; NoScriptError for that one, because
        nothing ran and the caller can mend it.
        """
        line = self._open
        if line is None or line.broken is not None:
            line = await self._connected()
        return await line.call(command)

    async def calls(self, commands: list[tuple[object, ...]]) -> list[Reply]:
        """Send several commands in one write; the replies in their order. Raises what ``call`` raises."""
        line = self._open
        if line is None or line.broken is not None:
            line = await self._connected()
        return await line.calls(commands)

    async def close(self) -> None:
        self._closed = True
        async with self._opening:
            if self._open is not None:
                await self._open.close()

    async def _connected(self) -> _OpenLine:
        async with self._opening:
            if self._closed:
                raise StoreUnavailable(CLOSED)
            if self._open is None or self._open.broken is not None:
                if self._open is not None:
                    await self._open.close()
                self._open = _OpenLine(await self._address.open(), self._address.where, self._answer_s)
            return self._open


class _OpenLine:
    """A line while it lasts: the calls that wait for replies, and the task that reads them."""

    def __init__(self, wire: Wire, where: str, answer_s: float) -> None:
        self.broken: StoreUnavailable | None = None
        self._wire = wire
        self._where = where
        self._answer_s = answer_s
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[Reply]] = deque()
        self._silent_since = 0.0  # when the first of the waiting calls began to wait, or the last reply came
        self._watch: asyncio.TimerHandle | None = None
        self._outgoing: list[bytes] = []
        self._asked = asyncio.Event()
        self._ends: list[asyncio.Task[None]] = []
        self._reader = self._loop.create_task(self._read(), name=f"sagas redis replies of {where}")
        self._writer = self._loop.create_task(self._write(), name=f"sagas redis calls to {where}")

    async def call(self, command: tuple[object, ...]) -> Reply:
        return await self._ask(_packed(command))

    async def calls(self, commands: list[tuple[object, ...]]) -> list[Reply]:
        packed = [_packed(command) for command in commands]
        done = await asyncio.gather(*map(self._ask, packed), return_exceptions=True)
        for reply in done:
            if isinstance(reply, BaseException):
                raise reply
        return done

    async def close(self) -> None:
        self._break(StoreUnavailable(CLOSED))
        await self._wire.disconnect(nowait=True)
        await asyncio.wait([self._reader, self._writer, *self._ends])

    def _ask(self, packed: bytes) -> asyncio.Future[Reply]:
        if self.broken is not None:
            raise StoreUnavailable(*self.broken.args)
        if not self._waiting:
            self._silent_since = self._loop.time()
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._waiting.append(future)
        self._outgoing.append(packed)
        self._asked.set()
        if self._watch is None:
            self._watch = self._loop.call_later(self._answer_s, self._look)
        return future

    async def _write(self) -> None:
        # A task of its own: redis-py closes the connection when whoever writes is cancelled.
        try:
            while True:
                await self._asked.wait()
                self._asked.clear()
                packed, self._outgoing = self._outgoing, []
                await self._wire.send_packed_command(packed, check_health=False)
        except RedisFailure as error:
            self._break(unavailable(error, self._where))

    async def _read(self) -> None:
        try:
            while True:
                try:
                    reply = await self._wire.read_response(timeout=math.inf)
                except ResponseError as error:
                    self._answer(error)
                else:
                    self._answer(reply)
        except RedisFailure as error:
            self._break(unavailable(error, self._where))
        finally:
            self._break(StoreUnavailable(f"the connection to Redis at {self._where} ended: try again"))
            await self._wire.disconnect(nowait=True)

    def _answer(self, reply: Reply) -> None:
        self._silent_since = self._loop.time()
        future = self._waiting.popleft()
        if future.done():
            return  # its caller was cancelled
        if isinstance(reply, NoScriptError):
            future.set_exception(reply)
        elif isinstance(reply, ResponseError):
            future.set_exception(unavailable(reply, self._where))
        else:
            future.set_result(reply)

    def _look(self) -> None:
        """A connection on which calls wait and nothing was heard for ``answer_s`` is given up."""
        self._watch = None
        if not self._waiting:
            return
        left = self._silent_since + self._answer_s - self._loop.time()
        if left > 0:
            self._watch = self._loop.call_later(left, self._look)
            return
        self._break(unavailable(TimeoutError(f"nothing for {self._answer_s:g} s"), self._where))
        self._ends.append(self._loop.create_task(self._wire.disconnect(nowait=True)))

    def _break(self, error: StoreUnavailable) -> None:
        if self.broken is None:
            self.broken = error
        self._writer.cancel()  # at once: another write would have redis-py connect again
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(StoreUnavailable(*self.broken.args))


def _packed(command: tuple[object, ...]) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub means one argument
    return packed
