"""What the routes share: the client of the store, opened when it is first needed, the limits, and the end.

Law: opening is lazy, so that an app that is mounted, or up before its Redis, answers with a problem until it can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar, cast

from starlette.requests import Request

from sagas.client import Client
from sagas.connection import connect
from sagas.errors import InvalidArgument, StoreUnavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``body_s``: to send a body in; ``answer_s``: what the store may take; ``taken_s``: until a host takes a run."""

    body_bytes: int = 1024 * 1024
    body_s: float = 30.0
    answer_s: float = 15.0
    taken_s: float = 1.0


class Service:
    """One app's client. ``stopping`` is set when long polls are to end, because the server goes down."""

    def __init__(self, client: Client | None, url: str | None, namespace: str, limits: Limits) -> None:
        self.limits = limits
        self.stopping = asyncio.Event()
        self._client = client
        self._owned = client is None
        self._url = url
        self._namespace = namespace
        self._opening = asyncio.Lock()

    async def client(self) -> Client:
        """The client. Raises: StoreUnavailable, UnsafeStore; the next call tries again."""
        if self._client is None:
            async with self._opening:
                if self._client is None:
                    self._client = await self._connect()
        return self._client

    async def _connect(self) -> Client:
        try:
            return await connect(self._url, self._namespace)
        except InvalidArgument as error:  # the operator's argument, and not for strangers to see
            raise StoreUnavailable(f"this API's own configuration is wrong: {error}") from error

    async def answered(self, answer: Awaitable[T], wait_s: float = 0) -> T:
        """The answer to a request that may wait ``wait_s``. Raises: TimeoutError when the store takes too long."""
        async with asyncio.timeout(wait_s + self.limits.answer_s):
            return await answer

    async def close(self) -> None:
        """Close the client, if it was opened here."""
        self.stopping.set()
        if self._owned and self._client is not None:
            client, self._client = self._client, None
            await client.close()


async def service_of(request: Request) -> Service:
    """The service of the app that takes this request."""
    return cast(Service, request.app.state.service)
