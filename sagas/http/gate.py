"""Who may come in: a bearer token, or else nobody but programs on this machine that mean this API.

Law: without a token the name in ``Host`` must be one of ours (a page of a foreign site that has pointed its own name at
us is refused), and a browser may only ask from a page of this API's own origin. Health probes need no token.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from sagas.errors import InvalidArgument
from sagas.http.problem import FORBIDDEN, UNAUTHORIZED, Refused

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
"""The names of this machine for itself."""

LEAST_TOKEN = 16
_OPEN = ("/healthz", "/readyz")


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach a server bound to ``host``."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_token(token: str) -> None:
    """Raises: InvalidArgument when this can be no token; it does not show it."""
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidArgument(
            f"the API's token must be {LEAST_TOKEN} or more printable ASCII characters without spaces: "
            "`openssl rand -hex 32` makes a good one"
        )


class Gate:
    """ASGI middleware. ``token`` has been checked; ``hosts``: the names it answers to without one; None for any."""

    def __init__(self, app: ASGIApp, token: str | None, hosts: Collection[str] | None) -> None:
        self._app = app
        self._token = None if token is None else _digest(token)
        self._hosts = None if hosts is None else {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._check(scope["path"].removeprefix(scope.get("root_path", "")), Headers(scope=scope))
            except Refused as refused:
                await refused.problem.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, path: str, headers: Headers) -> None:
        if self._token is not None:
            if path not in _OPEN:
                self._check_token(self._token, headers.getlist("authorization"))
        elif self._hosts is not None:
            _check_host(self._hosts, headers.getlist("host"))
            _check_origin(headers)

    def _check_token(self, token: bytes, given: list[str]) -> None:
        scheme, _, credentials = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        if scheme.lower() != "bearer":
            raise Refused(UNAUTHORIZED, "Send the API's token: Authorization: Bearer TOKEN.")
        if not hmac.compare_digest(_digest(credentials.strip()), token):
            raise Refused(UNAUTHORIZED, "This is not the API's token: ask its operator for the present one.")


def _digest(token: str) -> bytes:
    """Of equal length for all, so that comparing takes the same time for all."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _check_host(hosts: set[str], given: list[str]) -> None:
    if len(given) != 1 or _name_of(given[0]) not in hosts:
        raise Refused(
            FORBIDDEN,
            f"This API answers to {', '.join(sorted(hosts))} only. To reach it under another name, its operator gives "
            "it a token.",
        )


def _check_origin(headers: Headers) -> None:
    """A browser names the page that asks, and so tells pages of other sites from our own."""
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != headers["host"].lower():
        raise Refused(
            FORBIDDEN, "Pages of other sites may not use this API: call it from a program, or give it a token."
        )
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise Refused(
            FORBIDDEN, "Pages of other sites may not use this API: call it from a program, or give it a token."
        )


def _name_of(host: str) -> str:
    """``Host`` without its port: ``localhost``, ``[::1]``."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()
