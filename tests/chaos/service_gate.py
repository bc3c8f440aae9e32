"""A gate between the workers and the services: counts requests, and makes one stand still where a strike wants it.

Law: it changes nothing that passes. It alone knows who got an answer: a client that has read all of it closes its
connection in order, any other (killed, or out of patience) resets it or is gone before.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from examples.subscription.ledger import Op
from tests.chaos.connections import Connections

_ASKING = frozenset(f"/{op}" for op in Op)


class Place(enum.Enum):
    BEFORE = enum.auto()  # the services have not seen the request
    BEHIND = enum.auto()  # they have answered, and nobody has heard it


@dataclass(slots=True, eq=False)
class Passage:
    """A request on its way. ``port`` is the client's, ``gone`` is done when the client has closed its side."""

    key: str
    user: str
    port: int
    gone: asyncio.Task[bool]
    _free: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """It may go on."""
        self._free.set()

    async def stand(self) -> None:
        await self._free.wait()


class ServiceGate:
    """``async with ServiceGate(services.url) as gate``: ``gate.url`` is the services' address for everybody."""

    def __init__(self, service: str) -> None:
        self.url = ""
        self.asked: set[str] = set()  # keys
        self.untaken: Counter[str] = Counter()  # answers of the services that nobody read, by key
        self.passed: dict[str, list[str]] = {}  # key -> what became of each request, and when, for people
        self.at_once: list[str] = []  # keys that were asked for while somebody still waited for their answer
        self._host, self._port = urlsplit(service).hostname, urlsplit(service).port
        self._open: dict[str, Passage] = {}
        self._count = 0
        self._counted = asyncio.Condition()
        self._wanted: tuple[Place, asyncio.Future[Passage]] | None = None
        self._connections = Connections(self._serve)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connections.accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self._connections.close()

    async def more(self, requests: int) -> None:
        """Returns when so many more requests have come."""
        enough = self._count + requests
        async with self._counted:
            await self._counted.wait_for(lambda: self._count >= enough)

    async def hold(self, place: Place) -> Passage:
        """The next request that gets to ``place``; it stands there until it is released."""
        held: asyncio.Future[Passage] = asyncio.get_running_loop().create_future()
        self._wanted = (place, held)
        return await held

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):  # whoever asked was gone before all was said
            await self._pass(reader, writer)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path, headers, request, body = await _read(reader)
        if path not in _ASKING:
            writer.write(await self._ask(request))
            await writer.drain()
            return
        gone = asyncio.get_running_loop().create_task(_closes(reader))
        port = writer.get_extra_info("peername")[1]
        passage = Passage(headers["idempotency-key"], json.loads(body)["user"], port, gone)
        await self._enter(passage)
        await self._stand(Place.BEFORE, passage)
        answer = await self._ask(request)  # also for a client that is gone: what was sent arrives
        if answer:
            await self._stand(Place.BEHIND, passage)
        read = False
        if answer and not gone.done():
            writer.write(answer)
            read = await gone
        if answer and not read:
            self.untaken[passage.key] += 1
        self._note(passage, "answer read" if read else "answer not read" if answer else "no answer")
        if self._open.get(passage.key) is passage:
            del self._open[passage.key]

    def _note(self, passage: Passage, what: str) -> None:
        self.passed.setdefault(passage.key, []).append(f"{now_ms()} port {passage.port}: {what}")

    async def _enter(self, passage: Passage) -> None:
        self._note(passage, "asked")
        other = self._open.get(passage.key)
        if other is not None and not other.gone.done():
            self.at_once.append(passage.key)
        self._open[passage.key] = passage
        self.asked.add(passage.key)
        async with self._counted:
            self._count += 1
            self._counted.notify_all()

    async def _stand(self, place: Place, passage: Passage) -> None:
        if self._wanted is not None and self._wanted[0] is place and not passage.gone.done():
            _, held = self._wanted
            self._wanted = None
            if not held.done():
                held.set_result(passage)
                await passage.stand()

    async def _ask(self, request: bytes) -> bytes:
        """All that the services answer: nothing when they are down, perhaps not all of it when they go down."""
        answer = b""
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(self._host, self._port)
            try:
                writer.write(request)
                while chunk := await reader.read(1 << 16):
                    answer += chunk
            finally:
                writer.close()
        return answer


def now_ms() -> int:
    """As the events of histories have it."""
    return time.time_ns() // 1_000_000


async def _read(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes, bytes]:
    """The path, the headers, and the request as it came, whole and its body alone."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode().strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return first.split()[1], headers, head + body, body


async def _closes(reader: asyncio.StreamReader) -> bool:
    """Waits for the client to close; whether it did so in order, with nothing left unread."""
    try:
        return await reader.read(1) == b""
    except OSError:
        return False
