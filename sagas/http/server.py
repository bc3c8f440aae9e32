"""The app under uvicorn, in a running event loop: bound before anything is promised, ended in order.

Law: signals belong to whoever runs the loop; a server ends when its ``async with`` block does: it takes no more
connections, long polls are answered at once, requests on their way get ``_GRACE_S``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sagas.errors import InvalidArgument
from sagas.http.app import SagasApi
from sagas.http.problem import MALFORMED, Problem

_GRACE_S = 10


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises: InvalidArgument that says why it cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except (OSError, UnicodeError) as error:
        raise InvalidArgument(
            f"cannot listen on {host} port {port}: {error}; name another with --port (0 takes a free one) or --host"
        ) from error


def address_of(listening: socket.socket) -> str:
    """As a URL."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@asynccontextmanager
async def serving(app: SagasApi, listening: socket.socket) -> AsyncGenerator[asyncio.Task[None]]:
    """Serve within the block; gives the task that serves, which ends early only when it fails."""
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Server(config)
    task = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))
    try:
        await server.until_started(task)
        yield task
    finally:
        app.state.service.stopping.set()
        server.should_exit = True
        await asyncio.wait([task])
        listening.close()


class _Server(uvicorn.Server):
    """uvicorn's server, without its own handling of signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._up = asyncio.Event()

    async def until_started(self, task: asyncio.Task[None]) -> None:
        """Return when connections are taken. Raises: what kept it from starting."""
        up = asyncio.get_running_loop().create_task(self._up.wait())
        await asyncio.wait([task, up], return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if task.done():
            await task

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class _Protocol(H11Protocol):
    """HTTP/1.1, with a problem for what is no HTTP."""

    def send_400_response(self, msg: str) -> None:
        problem = Problem(kind=MALFORMED, detail="This is no HTTP request that can be read: use an HTTP client.")
        response = problem.response()
        headers = [*response.raw_headers, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
