"""A gate between the hosts and their Redis: knows each connection's process, and holds a call or its reply.

Law: bytes pass unchanged and in order. A call that is held has not reached the server; a reply that is held has been
given, and its caller does not know.
"""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import hiredis

from sagas.store.redis_scripts import Script
from tests.chaos.connections import Connections

_CHUNK = 1 << 16


class Side(enum.Enum):
    CALL = enum.auto()
    REPLY = enum.auto()


@dataclass(slots=True, eq=False)
class Call:
    """A command of the process ``pid``, and what the server said."""

    pid: int
    words: list[Any]
    reply: Any = None

    def runs(self, script: Script) -> bool:
        return self.words[:2] == [b"EVALSHA", script.sha.encode()]


@dataclass(slots=True, eq=False)
class Hold:
    """What is waited for, where; ``met`` is done when it came, and nothing passes there until ``free``."""

    side: Side
    wanted: Callable[[Call], bool]
    met: asyncio.Future[Call] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    free: asyncio.Event = field(default_factory=asyncio.Event)


class RedisGate:
    """``async with RedisGate(socket_of_the_server, folder) as gate``: ``gate.url`` is the server's for the hosts."""

    def __init__(self, server: Path, folder: Path) -> None:
        self._server_path = server
        self._path = folder / "gate.sock"
        self.url = f"unix://{self._path}"
        self._holds: list[Hold] = []
        self._listeners: list[Callable[[Call], None]] = []
        self._connections = Connections(self._serve)
        self._refused = 0
        self._refusal = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._connections.accept, self._path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self._connections.close()

    @asynccontextmanager
    async def holding(self, side: Side, wanted: Callable[[Call], bool]) -> AsyncIterator[asyncio.Future[Call]]:
        """The first call that is ``wanted``, or its reply, goes no further until the block is left."""
        hold = Hold(side, wanted)
        self._holds.append(hold)
        try:
            yield hold.met
        finally:
            hold.free.set()
            if hold in self._holds:
                self._holds.remove(hold)

    def listen(self, listener: Callable[[Call], None]) -> None:
        """Tell ``listener`` of every call that was answered."""
        self._listeners.append(listener)

    async def refused(self, times: int) -> None:
        """Returns when so many more connections were refused, because the server was down."""
        enough = self._refused + times
        async with self._refusal:
            await self._refusal.wait_for(lambda: self._refused >= enough)

    def stops(self, side: Side, call: Call) -> Hold | None:
        """The hold that this call, or its reply, has just met."""
        for hold in self._holds:
            if hold.side is side and hold.wanted(call):
                self._holds.remove(hold)
                hold.met.set_result(call)
                return hold
        return None

    def answered(self, call: Call) -> None:
        for listener in self._listeners:
            listener(call)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.open_unix_connection(self._server_path)
        except OSError:  # the server is down, and so are we
            async with self._refusal:
                self._refused += 1
                self._refusal.notify_all()
            return
        await _Line(self, (reader, writer), upstream).run()


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Line:
    """One client's connection and its own to the server."""

    def __init__(self, gate: RedisGate, client: Stream, server: Stream) -> None:
        self._gate = gate
        self._client = client
        self._server = server
        self._pid = _peer_pid(client[1])
        self._waiting: deque[Call] | None = deque()  # None: a subscriber's, where nothing answers anything
        self._replies: asyncio.Queue[tuple[bytes, Hold | None]] = asyncio.Queue()

    async def run(self) -> None:
        """Until either side is gone."""
        pumps = [asyncio.get_running_loop().create_task(pump()) for pump in (self._up, self._listen, self._down)]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._server[1].close()

    async def _up(self) -> None:
        parser = hiredis.Reader()
        while chunk := await self._client[0].read(_CHUNK):
            for call in self._calls(parser, chunk):
                hold = self._gate.stops(Side.CALL, call)
                if hold is not None:
                    await hold.free.wait()
            self._server[1].write(chunk)
            await self._server[1].drain()

    def _calls(self, parser: hiredis.Reader, chunk: bytes) -> list[Call]:
        calls = [Call(self._pid, words) for words in _parsed(parser, chunk)]
        if any(call.words[0].upper().endswith(b"SUBSCRIBE") for call in calls):
            self._waiting = None
        if self._waiting is not None:
            self._waiting.extend(calls)
        return calls

    async def _listen(self) -> None:
        parser = hiredis.Reader()
        while chunk := await self._server[0].read(_CHUNK):
            met: Hold | None = None
            for reply in _parsed(parser, chunk):
                if self._waiting is None:
                    break
                call = self._waiting.popleft()
                call.reply = reply
                self._gate.answered(call)
                met = self._gate.stops(Side.REPLY, call) or met
            self._replies.put_nowait((chunk, met))

    async def _down(self) -> None:
        while True:
            chunk, met = await self._replies.get()
            if met is not None:
                await met.free.wait()
            self._client[1].write(chunk)
            await self._client[1].drain()


def _parsed(parser: hiredis.Reader, chunk: bytes) -> list[Any]:
    parser.feed(chunk)
    found: list[Any] = []
    while (each := parser.gets()) is not False:
        found.append(each)
    return found


def _peer_pid(writer: asyncio.StreamWriter) -> int:
    peer: socket.socket = writer.get_extra_info("socket")
    pid: int = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))[0]
    return pid
