"""The ASGI app: routes, the middleware around them, and the errors they may end with."""

from __future__ import annotations

import importlib.metadata
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from sagas.client import Client
from sagas.errors import SagaError
from sagas.http import callbacks, health, routes
from sagas.http.faults import problem_of
from sagas.http.gate import LOOPBACK, Gate, check_token
from sagas.http.guard import Guard
from sagas.http.path import EncodedPath
from sagas.http.schema import document
from sagas.http.service import Limits, Service
from sagas.http.tracing import Tracing

_ABOUT = "Start, signal, ask and watch durable sagas. What is acknowledged is durable, whether or not a host is up."


class SagasApi(FastAPI):
    """A FastAPI app like any other; its schema knows the problems."""

    secured = False

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = document(self, secured=self.secured)
        return self.openapi_schema


def create_app(
    store: Client | str | None = None,
    *,
    namespace: str = "default",
    token: str | None = None,
    allowed_hosts: Collection[str] | None = LOOPBACK,
    limits: Limits = Limits(),  # noqa: B008  # a frozen value
) -> SagasApi:
    """The API as an ASGI app, to serve or to mount.

    ``store``: a client (which stays yours to close), a Redis URL, or None for SAGAS_URL and else what ``sagas dev``
    left; a URL is opened at the first request and closed with the app's lifespan. ``token``: what
    ``Authorization: Bearer`` must bring. Without one the app answers only where ``Host`` is among ``allowed_hosts``;
    None allows any, for an app behind your own authentication. Raises: InvalidArgument for a token that is too short.
    """
    if token is not None:
        check_token(token)
    client, url = (store, None) if isinstance(store, Client) else (None, store)
    service = Service(client, url, namespace, limits)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await service.close()

    # No pages for people: FastAPI's load their scripts from elsewhere.
    app = SagasApi(
        title="ray-sagas",
        version=_version(),
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.secured = token is not None
    app.state.service = service
    app.include_router(health.router)
    app.include_router(routes.router)
    app.include_router(callbacks.router)
    for kind in (SagaError, HTTPException, RequestValidationError, TimeoutError):
        app.add_exception_handler(kind, _as_problem)
    # The last one added is the outermost.
    app.add_middleware(Gate, token=token, hosts=allowed_hosts)
    app.add_middleware(Guard)
    app.add_middleware(Tracing)
    app.add_middleware(EncodedPath)
    return app


async def _as_problem(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        error.headers = {"Allow": ", ".join(_methods_here(request))}  # the router names those of one route only
    return problem_of(error).response()


def _methods_here(request: Request) -> list[str]:
    """The methods that the request's path knows."""
    here = [
        route
        for route in (*request.app.routes, *health.router.routes, *routes.router.routes, *callbacks.router.routes)
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    return sorted({method for route in here for method in route.methods or ()})


def _version() -> str:
    try:
        return importlib.metadata.version("ray-sagas")
    except importlib.metadata.PackageNotFoundError:
        return "0"
