"""Every error is a problem: the framework's own, the store's and our own, and none tells a stranger what is inside."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from sagas.client import Client
from sagas.errors import HistoryError, Overloaded, StoreUnavailable
from sagas.http import create_app
from sagas.http.problem import KINDS
from sagas.http.service import Limits
from sagas.store.memory import MemoryStore
from sagas.store.port import Admission, Admitted
from tests.http.calling import calling, kind, run

DOCS = Path(__file__).parents[2] / "docs" / "http.md"
START = {"type": "echo", "args": [1], "id": "e"}


class Failing(MemoryStore):
    """A store whose every call of a client ends the same way."""

    def __init__(self, error: BaseException | None) -> None:
        super().__init__()
        self._error = error

    async def enqueue(self, admission: Admission) -> Admitted:
        return await self._fail()

    async def admitted(self, id: str) -> str | None:
        return await self._fail()

    async def ids(self, index: str, cursor: str = "") -> tuple[list[str], str]:
        return await self._fail()

    async def _fail(self) -> Any:
        if self._error is None:
            await asyncio.Event().wait()
        else:
            raise self._error


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/", 404, None),
        ("GET", "/docs", 404, None),
        ("GET", "/redoc", 404, None),
        ("GET", "/v1/sagas/", 404, None),
        ("GET", "/v1/sagas/a/b", 404, None),
        ("GET", "//healthz", 404, None),
        ("DELETE", "/v1/sagas", 405, "GET, POST"),
        ("PUT", "/v1/sagas/e", 405, "GET"),
        ("GET", "/v1/sagas/e/cancel", 405, "POST"),
        ("OPTIONS", "/v1/sagas/e/result", 405, "GET"),
        ("BREW", "/healthz", 405, "GET"),
        ("POST", "/openapi.json", 405, "GET, HEAD"),
    ],
)
def test_paths_and_methods_that_do_not_exist(method: str, path: str, status: int, allow: str | None) -> None:
    async def scenario() -> None:
        async with calling(create_app(Client(MemoryStore()))) as http:
            response = await http.request(method, f"http://localhost{path}")
            assert response.status_code == status
            assert kind(response) == ("no-such-resource" if status == 404 else "method-not-allowed")
            assert response.headers.get("allow") == allow

    run(scenario())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/sagas"),
        ("POST", "/v1/sagas/e/signals/add"),
        ("POST", "/v1/sagas/e/cancel"),
        ("POST", "/v1/sagas/e/queries/total"),
        ("GET", "/v1/sagas"),
        ("GET", "/v1/sagas/e"),
        ("GET", "/v1/sagas/e/result"),
        ("GET", "/v1/sagas/e/history"),
        ("GET", "/readyz"),
    ],
)
@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (StoreUnavailable("Redis at secret.example:6379 cannot be reached"), 503, "store-unavailable"),
        (None, 503, "store-unavailable"),  # it never answers
        (RuntimeError("a secret path"), 500, "internal-error"),
    ],
    ids=["away", "silent", "defect"],
)
def test_what_is_wrong_behind_the_api_is_said_in_its_own_words(
    method: str, path: str, error: Exception | None, status: int, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        app = create_app(Client(Failing(error)), limits=Limits(answer_s=2.5 if error else 0.02))
        async with calling(app) as http:
            response = await http.request(method, path, json=START if path == "/v1/sagas" else None)
            assert (response.status_code, kind(response)) == (status, name)
            assert "secret" not in response.text
            assert ("retry-after" in response.headers) == (status == 503)
            assert response.json()["instance"] in caplog.text

    with caplog.at_level(logging.WARNING, "sagas.http"):
        run(scenario())


def test_a_full_mailbox_says_when_to_come_again() -> None:
    async def scenario() -> None:
        async with calling(create_app(Client(MemoryStore(mailbox_limit=0)))) as http:
            response = await http.post("/v1/sagas", json=START)
            assert (response.status_code, kind(response)) == (503, "overloaded")
            assert response.headers["retry-after"] == "1"
        async with calling(create_app(Client(Failing(Overloaded(2.1))))) as http:
            response = await http.post("/v1/sagas", json=START)
            assert response.json()["retry_after"] == 2.1
            assert response.headers["retry-after"] == "3"

    run(scenario())


def test_a_history_of_a_newer_version_is_said_to_be_unreadable(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with calling(create_app(Client(Failing(HistoryError("tag 99 is of a newer version"))))) as http:
            response = await http.get("/v1/sagas/e")
            assert (response.status_code, kind(response)) == (500, "unreadable")
            assert "tag" not in response.text
            assert "tag 99" in caplog.text

    run(scenario())


def test_the_probe_of_the_process_needs_no_store() -> None:
    async def scenario() -> None:
        async with calling(create_app(Client(Failing(StoreUnavailable("away"))))) as http:
            assert (await http.get("/healthz")).json() == {"status": "up"}
            assert (await http.get("/readyz")).status_code == 503

    run(scenario())


def test_an_app_without_its_store_answers_until_it_can(tmp_path: Path) -> None:
    async def scenario() -> None:
        app = create_app(f"unix://{tmp_path}/nobody.sock")
        async with calling(app) as http:
            for _ in range(2):
                response = await http.get("/readyz")
                assert kind(response) == "store-unavailable"
                assert str(tmp_path) not in response.text
        await app.state.service.close()

    run(scenario())


def test_kinds_are_distinct_and_listed_in_the_documentation() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    listed = set(re.findall(r"`urn:ray-sagas:problem:([a-z-]+)` \| (\d+)", DOCS.read_text()))
    assert listed == {(kind.name, str(kind.status)) for kind in KINDS}
