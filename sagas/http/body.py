"""Request bodies: JSON, read as strictly as it is meant, and never more of it than the limit in memory.

Law: a body is UTF-8, of type ``application/json``, at most as long and as deep as allowed, without NaN, endless numbers
and repeated names; whatever breaks this is refused with its problem before a route sees it.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Coroutine
from email.message import Message
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute

from sagas.http.problem import MALFORMED, NOT_JSON, TOO_LARGE, TOO_SLOW, Refused
from sagas.http.service import service_of

DEEPEST = 100
"""How deep arrays and objects may nest: far more than anybody writes, far less than what overruns a stack."""


class JsonRequest(Request):
    """A request that reads its body by this module's law."""

    _whole: bytes | None = None

    async def body(self) -> bytes:
        """The body, b"" when there is none. Raises: Refused."""
        if self._whole is None:
            limits = (await service_of(self)).limits
            try:
                async with asyncio.timeout(limits.body_s):
                    self._whole = await self._read(limits.body_bytes)
            except TimeoutError:
                raise Refused(TOO_SLOW, f"Send the whole body within {limits.body_s:g} s.") from None
            if self._whole:
                self._check_type()
        return self._whole

    async def json(self) -> Any:
        """The value. Raises: Refused."""
        return parse(await self.body())

    async def _read(self, limit: int) -> bytes:
        announced = self.headers.get("content-length", "0")
        if not (announced.isascii() and announced.isdecimal()):
            raise Refused(MALFORMED, "The Content-Length is no number: send the body's length in bytes.")
        if int(announced) > limit:
            raise _too_large(limit)
        read = bytearray()
        async for chunk in self.stream():
            read += chunk
            if len(read) > limit:
                raise _too_large(limit)
        return bytes(read)

    def _check_type(self) -> None:
        header = Message()
        header["content-type"] = self.headers.get("content-type", "")
        if header.get_content_type() != "application/json":
            raise Refused(NOT_JSON, "Send the body as JSON, with the header Content-Type: application/json.")
        if str(header.get_param("charset", "utf-8")).lower() not in ("utf-8", "utf8"):
            raise Refused(NOT_JSON, "Send the body in UTF-8.")
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refused(NOT_JSON, "Send the body without a Content-Encoding.")


class JsonRoute(APIRoute):
    """A route whose requests are ``JsonRequest``s."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(JsonRequest(request.scope, request.receive))

        return handle_strictly


def parse(data: bytes) -> Any:
    """The JSON value in ``data``. Raises: Refused."""
    try:
        value = json.loads(data.decode(), parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_distinct)
        if _depth(value) <= DEEPEST:
            return value
    except UnicodeDecodeError as error:
        raise Refused(MALFORMED, f"The body is not UTF-8 (at byte {error.start}).") from None
    except json.JSONDecodeError as error:
        raise Refused(MALFORMED, f"The body is not JSON: {error.msg} (at character {error.pos}).") from None
    except _Odd as error:
        raise Refused(MALFORMED, f"The body is not JSON that can be taken: {error}.") from None
    except ValueError:  # int() of more digits than Python reads
        raise Refused(MALFORMED, "The body is not JSON that can be taken: a number has too many digits.") from None
    except RecursionError:
        pass
    raise Refused(MALFORMED, f"The body nests deeper than {DEEPEST} levels: flatten it.")


class _Odd(ValueError):
    """Something Python's reader would take, and that others would not."""


def _no_constant(name: str) -> NoReturn:
    raise _Odd(f"{name} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Odd("a number is too large")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Odd("an object has the same name twice")
    return found


def _depth(value: Any) -> int:
    """How deep arrays and objects nest, level by level, so that no stack grows."""
    depth, level = 0, [value]
    while level := [each for each in level if type(each) in (list, dict)]:
        depth += 1
        level = [inner for each in level for inner in (each.values() if type(each) is dict else each)]
    return depth


def _too_large(limit: int) -> Refused:
    return Refused(TOO_LARGE, f"At most {limit} bytes are taken: store large values elsewhere and send their address.",
                   limit=limit)  # fmt: skip
