"""The last resort: an exception that nothing else has turned into a problem becomes one here, and is logged."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sagas.http.faults import problem_of


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def observe(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, observe)
        except Exception as error:
            if begun:
                raise
            await problem_of(error).response()(scope, receive, send)
