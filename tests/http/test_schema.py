"""``/openapi.json`` is right by itself; that answers fit it is checked with every answer (``calling.py``)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator

from sagas.client import Client
from sagas.http import create_app
from sagas.store.memory import MemoryStore
from tests.http.calling import PROBLEM, calling, run

OPERATIONS = {
    "start", "signalWithStart", "signal", "cancel", "terminate", "pause", "resume", "query", "list", "describe",
    "result", "history", "healthz", "readyz", "update", "completeCallback", "failCallback",
}  # fmt: skip


def document() -> dict[str, Any]:
    async def scenario() -> dict[str, Any]:
        async with calling(create_app(Client(MemoryStore()))) as http:
            found: dict[str, Any] = (await http.get("/openapi.json")).json()
            return found

    return run(scenario())


def operations(found: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in found["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def test_it_is_a_document_whose_parts_are_all_there() -> None:
    found = document()
    assert found["openapi"].startswith("3.1")
    for schema in found["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    names = re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(found))
    assert set(names) == found["components"]["schemas"].keys()
    assert "HTTPValidationError" not in names


def test_every_operation_has_a_name_its_parameters_and_its_problems() -> None:
    found = list(operations(document()))
    assert {operation["operationId"] for _, _, operation in found} == OPERATIONS
    assert len(found) == len(OPERATIONS)
    for path, method, operation in found:
        parameters = operation.get("parameters", [])
        in_path = {each["name"] for each in parameters if each["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        keyed = {each["name"] for each in parameters if each["in"] == "header"} == {"Idempotency-Key"}
        assert keyed == (method == "post" and "/queries/" not in path)
        problems = {status for status, each in operation["responses"].items() if PROBLEM in each["content"]}
        assert {"403", "500"} <= problems
        assert path == "/healthz" or "503" in problems
        if path.startswith("/v1"):
            assert {"401", "422"} <= problems
        if method == "post":
            assert {"400", "408", "413", "415"} <= problems
            assert list(operation["requestBody"]["content"]) == ["application/json"]
        if "{id}" in path and not path.endswith("with-start"):
            assert "404" in problems
        for status, each in operation["responses"].items():
            assert int(status) < 400 or list(each["content"]) == [PROBLEM]
            (media,) = each["content"].values()
            assert media["schema"], (path, status)


def test_nothing_is_loaded_from_elsewhere() -> None:
    assert "http" not in re.sub(r'"(type|in)": "http', "", json.dumps(document()).replace("Authorization", ""))
