"""Who may come in: tokens, and without one the names in Host and Origin."""

from __future__ import annotations

import pytest

from sagas.client import Client
from sagas.errors import InvalidArgument
from sagas.http import create_app
from sagas.http.gate import is_loopback
from sagas.store.memory import MemoryStore
from tests.http.calling import calling, kind, run

TOKEN = "correct-horse-battery-staple"


@pytest.mark.parametrize(
    "given",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        [f"Basic {TOKEN}"],
        [TOKEN],
        [f"Bearer {TOKEN}x"],
        [f"Bearer {TOKEN[:-1]}"],
        [f"Bearer {TOKEN.upper()}"],
        ["Bearer \xff"],
        [f"Bearer {TOKEN}", f"Bearer {TOKEN}"],
    ],
)
def test_without_the_token_nothing_is_told(given: list[str]) -> None:
    async def scenario() -> None:
        async with calling(create_app(Client(MemoryStore()), token=TOKEN)) as http:
            headers = [("authorization", each.encode("latin-1")) for each in given]
            for path in ("/v1/sagas", "/v1/sagas/x/result", "/openapi.json", "/nowhere", "/healthz/x"):
                response = await http.get(path, headers=headers)  # type: ignore[arg-type]
                assert (response.status_code, kind(response)) == (401, "unauthorized")
                assert response.headers["www-authenticate"].startswith("Bearer")
            response = await http.post("/v1/sagas", json={"type": "echo"}, headers=headers)  # type: ignore[arg-type]
            assert response.status_code == 401
            for path in ("/healthz", "/readyz"):
                assert (await http.get(path, headers=headers)).status_code == 200  # type: ignore[arg-type]

    run(scenario())


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_with_the_token_any_name_will_do(scheme: str) -> None:
    async def scenario() -> None:
        app = create_app(Client(MemoryStore()), token=TOKEN)
        async with calling(app, headers={"authorization": f"{scheme} {TOKEN}", "host": "sagas.example"}) as http:
            assert (await http.get("/v1/sagas")).status_code == 200
            document = (await http.get("/openapi.json")).json()
            assert document["security"] == [{"bearer": []}]
            assert document["paths"]["/healthz"]["get"]["security"] == []

    run(scenario())


@pytest.mark.parametrize("token", ["", "short", "ä" * 20, "with a space in it", "with\nanother line"])
def test_what_can_be_no_token(token: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        create_app(Client(MemoryStore()), token=token)
    assert not token or token not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "comes_in"),
    [
        ("localhost", True),
        ("LocalHost:8233", True),
        ("127.0.0.1:8233", True),
        ("[::1]:8233", True),
        ("[::1]", True),
        ("rebound.example", False),
        ("rebound.example:8233", False),
        ("localhost.rebound.example", False),
        ("127.0.0.1.rebound.example", False),
        ("localhost:8233:8233", False),
        ("localhost@rebound.example", False),
        ("", False),
    ],
)
def test_without_a_token_only_names_of_this_machine(host: str, comes_in: bool) -> None:
    async def scenario() -> None:
        async with calling(create_app(Client(MemoryStore())), headers={"host": host}) as http:
            for path in ("/v1/sagas", "/healthz"):
                response = await http.get(path)
                assert response.status_code == (200 if comes_in else 403)
                assert comes_in or kind(response) == "forbidden"

    run(scenario())


@pytest.mark.parametrize(
    ("headers", "comes_in"),
    [
        ({"origin": "http://localhost:8233"}, True),
        ({"origin": "http://localhost:8233", "sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"origin": "http://localhost:3000"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://[x"}, False),
        ({"origin": "HTTP://LOCALHOST:8233"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
    ],
)
def test_pages_of_other_sites_may_not_ask(headers: dict[str, str], comes_in: bool) -> None:
    async def scenario() -> None:
        async with calling(create_app(Client(MemoryStore())), headers={"host": "localhost:8233", **headers}) as http:
            response = await http.post("/v1/sagas", json={"type": "echo"})
            assert response.status_code == (201 if comes_in else 403)

    run(scenario())


def test_behind_somebody_elses_door_any_name_will_do() -> None:
    async def scenario() -> None:
        app = create_app(Client(MemoryStore()), allowed_hosts=None)
        async with calling(app, headers={"host": "shop.example", "origin": "https://shop.example"}) as http:
            assert (await http.get("/v1/sagas")).status_code == 200

    run(scenario())


def test_which_addresses_only_this_machine_reaches() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.8.9.10", "::1", "[::1]")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.com", "", "localhost.example")))
