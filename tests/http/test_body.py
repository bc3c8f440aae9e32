"""Request bodies: what is refused, how early, and that everything else comes out as it was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagas.client import Client
from sagas.http import create_app
from sagas.http.body import DEEPEST, parse
from sagas.http.problem import Refused
from sagas.http.service import Limits
from sagas.store.memory import MemoryStore
from tests.http.calling import calling, kind, run

JSON = {"content-type": "application/json"}
SMALL = Limits(body_bytes=1000)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_what_is_json_comes_out_as_it_was_sent(value: Any) -> None:
    assert parse(json.dumps(value).encode()) == value


@given(st.binary(max_size=50) | st.text(alphabet='[]{}",:0123456789.eE-\\u tfn', max_size=50).map(str.encode))
def test_any_bytes_are_a_value_or_refused(data: bytes) -> None:
    try:
        value = parse(data)
    except Refused:
        return
    json.dumps(value, allow_nan=False)  # whatever was taken is JSON


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"",
        b"nul",
        b"NaN",
        b"[Infinity]",
        b'{"a": -Infinity}',
        b"1e999",
        b'{"a": 1, "a": 2}',
        b'{"x": {"a": 1, "\\u0061": 2}}',
        b'"\xff"',
        '"ä"'.encode("latin-1"),
        "[1]".encode("utf-16"),
        b"\xef\xbb\xbf[]",
        b"1" * 5000,
        b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1),
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=range(18),
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse(data)
    assert refused.value.problem.kind.name == "malformed-request"


def test_the_deepest_that_is_taken() -> None:
    data = b"[" * DEEPEST + b"]" * DEEPEST
    assert json.dumps(parse(data)).encode() == data
    assert parse(b'{"a":' * DEEPEST + b"1" + b"}" * DEEPEST)["a"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/jsonp"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
def test_a_body_of_another_type_is_refused(headers: dict[str, str]) -> None:
    async def scenario() -> None:
        async with calling(create_app(Client(MemoryStore()))) as http:
            response = await http.post("/v1/sagas", content=b'{"type": "echo"}', headers=headers)
            assert (response.status_code, kind(response)) == (415, "unsupported-media-type")

    run(scenario())


@pytest.mark.parametrize(
    "type_", ["application/json", "Application/JSON; Charset=UTF-8", "application/json;charset=utf8"]
)
def test_json_by_any_of_its_names(type_: str) -> None:
    async def scenario() -> None:
        async with calling(create_app(Client(MemoryStore()))) as http:
            response = await http.post("/v1/sagas", content=b'{"type": "echo"}', headers={"content-type": type_})
            assert response.status_code == 201

    run(scenario())


def test_a_body_that_says_it_is_too_long_is_not_read() -> None:
    async def scenario() -> None:
        async def never() -> AsyncIterator[bytes]:
            raise AssertionError("read")
            yield b""

        async with calling(create_app(Client(MemoryStore()), limits=SMALL)) as http:
            response = await http.post("/v1/sagas", content=never(), headers=JSON | {"content-length": "1001"})
            assert (response.status_code, kind(response)) == (413, "content-too-large")
            assert response.json()["limit"] == 1000

    run(scenario())


def test_a_body_without_a_length_is_read_up_to_the_limit() -> None:
    async def scenario() -> None:
        read = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal read
            while True:
                read += 400
                yield b" " * 400

        async with calling(create_app(Client(MemoryStore()), limits=SMALL)) as http:
            response = await http.post("/v1/sagas", content=endless(), headers=JSON)
            assert (response.status_code, kind(response)) == (413, "content-too-large")
            assert read == 1200

    run(scenario())


def test_a_body_at_the_limit_is_taken() -> None:
    async def scenario() -> None:
        body = b'{"type": "echo"}'.ljust(1000)

        async def chunks() -> AsyncIterator[bytes]:
            for place in range(0, 1000, 7):
                yield body[place : place + 7]

        async with calling(create_app(Client(MemoryStore()), limits=SMALL)) as http:
            assert (await http.post("/v1/sagas", content=body, headers=JSON)).status_code == 201
            assert (await http.post("/v1/sagas", content=chunks(), headers=JSON)).status_code == 201

    run(scenario())


def test_a_body_that_does_not_come_is_not_waited_for_forever() -> None:
    async def scenario() -> None:
        async def stuck() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.Event().wait()

        async with calling(create_app(Client(MemoryStore()), limits=Limits(body_s=0.05))) as http:
            response = await http.post("/v1/sagas", content=stuck(), headers=JSON)
            assert (response.status_code, kind(response)) == (408, "request-timeout")

    run(scenario())


@pytest.mark.parametrize("length", ["-1", "1.5", "x", "", "٣"])
def test_a_length_that_is_no_number(length: str) -> None:
    async def scenario() -> None:
        async with calling(create_app(Client(MemoryStore()))) as http:
            headers = [("content-type", b"application/json"), ("content-length", length.encode())]
            response = await http.post("/v1/sagas", content=b"{}", headers=headers)  # type: ignore[arg-type]
            assert kind(response) == "malformed-request"

    run(scenario())
