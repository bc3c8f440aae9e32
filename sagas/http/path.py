"""Paths: ids may hold any character, also a slash, so a path is matched in its encoded form.

Law: behind this middleware ``scope["path"]`` is percent-encoded, each segment in one way; ``text_of`` decodes a
segment. (Servers decode the whole path, after which an encoded slash cannot be told from one between segments.)
"""

from __future__ import annotations

from urllib.parse import quote, unquote, unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from sagas.http.problem import INVALID, Refused


class EncodedPath:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
            path = "/".join(segment(unquote_to_bytes(part)) for part in raw.split(b"/"))
            scope = {**scope, "path": path, "root_path": quote(scope.get("root_path", ""))}
        await self._app(scope, receive, send)


def segment(text: str | bytes) -> str:
    """``text`` as one segment of a path."""
    return quote(text, safe="")


def text_of(part: str) -> str:
    """The text of a segment. Raises: Refused when it is not UTF-8."""
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise Refused(INVALID, f"{part[:100]!r} in the path is not UTF-8, percent-encoded.") from None
