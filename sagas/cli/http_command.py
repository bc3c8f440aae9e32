"""``sagas http``: the HTTP API in the foreground; and the API that ``sagas dev`` brings along.

Law: an API that other machines can reach has a token, and a token never stands on a command line, where every user of
the machine could read it. What the API needs is an extra; whoever lacks it is told how to get it.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import socket
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sagas.cli.foreground import run_until_signalled
from sagas.cli.show import tell
from sagas.cli.verdict import OK
from sagas.errors import InvalidArgument
from sagas.server.url import redact, resolve_url

if TYPE_CHECKING:
    from sagas.http.app import SagasApi

HOST = "127.0.0.1"
PORT = 8233
TOKEN = "SAGAS_HTTP_TOKEN"
_MISSING = "the HTTP API needs FastAPI and uvicorn: pip install 'ray-sagas[http]'"


def http(args: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    if not is_installed():
        raise InvalidArgument(_MISSING)
    from sagas.http.server import bind

    url = resolve_url(args.url, args.data)
    app = _app(url, args.namespace, _token(args.token_file), args.host)
    with bind(args.host, args.port) as listening:
        run_until_signalled(_serve(app, listening, redact(url)))
    tell("stopped")
    return OK


def is_installed() -> bool:
    """Whether what the API is made of can be imported."""
    return all(importlib.util.find_spec(name) is not None for name in ("fastapi", "uvicorn"))


@contextmanager
def socket_beside(port: int | None) -> Iterator[socket.socket | None]:
    """A socket for the API of ``sagas dev``: on ``port``, else on the usual or a free one; None without the extra.

    Raises: InvalidArgument when ``port`` cannot be had.
    """
    if not is_installed():
        yield None
        return
    _app("", "", _token(None), HOST)  # a token that can be none is told before anything is started
    with _bound(port) as listening:
        yield listening


@asynccontextmanager
async def api_beside(listening: socket.socket | None, url: str, namespace: str) -> AsyncGenerator[str]:
    """The API within the block; gives where it is, or why there is none, in words."""
    if listening is None:
        yield f"none: {_MISSING}"
        return
    from sagas.http.server import address_of, serving

    async with serving(_app(url, namespace, _token(None), HOST), listening):
        yield f"{address_of(listening)}/v1/sagas"


async def _serve(app: SagasApi, listening: socket.socket, where: str) -> None:
    from sagas.http.server import address_of, serving

    await app.state.service.client()  # an operator's mistake is told now, and not with every request
    async with serving(app, listening) as server:
        tell(f"http     {address_of(listening)}/v1/sagas  (described at /openapi.json)")
        tell(f"store    {where}")
        tell("ready    Ctrl-C ends it")
        await asyncio.wait([server])


def _bound(port: int | None) -> socket.socket:
    from sagas.http.server import bind

    if port is not None:
        return bind(HOST, port)
    try:
        return bind(HOST, PORT)
    except InvalidArgument:  # another `sagas dev` has it
        return bind(HOST, 0)


def _app(url: str, namespace: str, token: str | None, host: str) -> SagasApi:
    """The app for this address. Raises: InvalidArgument when others can reach it and it has no token."""
    from sagas.http import create_app
    from sagas.http.gate import LOOPBACK, is_loopback

    if token is None and not is_loopback(host):
        raise InvalidArgument(
            f"other machines can reach {host}, so the API needs a token there: put one into a file and name it with "
            f"--token-file, or set {TOKEN} (`openssl rand -hex 32` makes one); without one use --host {HOST}"
        )
    own = f"[{host}]" if ":" in host else host
    return create_app(url, namespace=namespace, token=token, allowed_hosts={*LOOPBACK, own})


def _token(file: Path | None) -> str | None:
    """What the file holds, else the environment; None when neither names one. Raises: InvalidArgument."""
    if file is None:
        return os.environ.get(TOKEN)
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"--token-file {file} cannot be read: {error}") from error
