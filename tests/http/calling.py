"""Calls of the API in these tests: every answer, whatever the test is about, is held against ``/openapi.json``."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

import sagas
from sagas.http import create_app
from sagas.http.app import SagasApi
from tests.http import shop

T = TypeVar("T")

PATIENCE_S = 55.0
PROBLEM = "application/problem+json"
URN = "urn:ray-sagas:problem:"


def run(scenario: Coroutine[Any, Any, T]) -> T:
    """Run one scenario on a loop of its own; a hang fails instead of hanging the suite."""

    async def bounded() -> T:
        return await asyncio.wait_for(scenario, PATIENCE_S)

    return asyncio.run(bounded())


class Contract:
    """The OpenAPI document, as what an answer is held against."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        resource = Resource.from_contents(document, default_specification=DRAFT202012)
        self._registry = Registry().with_resource("urn:openapi", resource)
        self._paths = {
            re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))): item
            for path, item in document["paths"].items()
        }

    def check(self, response: httpx.Response) -> None:
        """Fails unless the document says that this answer may come."""
        path = response.request.url.raw_path.partition(b"?")[0].decode()
        if path == "/openapi.json" and response.status_code == 200:
            return  # it does not describe itself
        media = response.headers["content-type"]
        schema: dict[str, Any] = {"$ref": "urn:openapi#/components/schemas/Problem"}
        operation = next((item for known, item in self._paths.items() if known.fullmatch(path)), {}).get(
            response.request.method.lower()
        )
        if operation is None:
            assert response.status_code in (400, 401, 403, 404, 405), response.text
            assert media == PROBLEM
        else:
            described = operation["responses"][str(response.status_code)]
            assert list(described["content"]) == [media], (path, response.text)
            schema = _absolute(described["content"][media]["schema"])
        Draft202012Validator(schema, registry=self._registry).validate(response.json())
        if media == PROBLEM:
            check_problem(response)


def _absolute(schema: dict[str, Any]) -> dict[str, Any]:
    return {"$ref": f"urn:openapi{schema['$ref']}"} if "$ref" in schema else schema


def check_problem(response: httpx.Response) -> None:
    """What holds for every problem."""
    problem = response.json()
    assert response.headers["content-type"] == PROBLEM
    assert problem["status"] == response.status_code
    assert problem["type"].startswith(URN)
    assert problem["instance"].startswith("urn:uuid:")
    assert problem["detail"]
    assert "Traceback" not in response.text
    if "retry_after" in problem:
        assert int(response.headers["retry-after"]) >= 1


def kind(response: httpx.Response) -> str:
    """What kind of problem this is."""
    found: str = response.json()["type"]
    return found.removeprefix(URN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """``http`` calls the app; ``client`` talks to the same sagas past it."""

    http: httpx.AsyncClient
    app: SagasApi
    client: sagas.Client

    async def start(self, type: str, *args: Any, **more: Any) -> Any:
        response = await self.http.post("/v1/sagas", json={"type": type, "args": args, **more})
        assert response.status_code == 201, response.text
        return response.json()

    async def result(self, id: str) -> Any:
        response = await self.http.get(f"/v1/sagas/{id}/result", params={"wait": 30})
        assert response.status_code == 200, response.text
        return response.json()

    async def ask(self, id: str, name: str, *args: Any) -> Any:
        response = await self.http.post(f"/v1/sagas/{id}/queries/{name}", json={"args": args})
        assert response.status_code == 200, response.text
        return response.json()["value"]


@asynccontextmanager
async def calling(app: SagasApi, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app that checks every answer."""
    contract = Contract(app.openapi())

    async def check(response: httpx.Response) -> None:
        await response.aread()
        contract.check(response)

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost", event_hooks={"response": [check]}, **options
    ) as http:
        yield http


@asynccontextmanager
async def serving(url: str | None = None, namespace: str = "default", **options: Any) -> AsyncIterator[Api]:
    """An API, and a host that runs the sagas of ``shop``; in memory where no URL is given."""
    async with sagas.embedded(url, modules=[shop], namespace=namespace) as client:
        app = create_app(client, **options)
        async with calling(app) as http:
            yield Api(http=http, app=app, client=client)


@asynccontextmanager
async def hostless(url: str, namespace: str, **options: Any) -> AsyncIterator[Api]:
    """An API on a store, and nobody who runs sagas."""
    async with await sagas.connect(url, namespace) as client:
        app = create_app(client, **options)
        async with calling(app) as http:
            yield Api(http=http, app=app, client=client)
