"""Signals, queries and orders over HTTP."""

from __future__ import annotations

import pytest

from tests.http.calling import kind, run, serving


def test_signals_and_queries_reach_the_run(debian_redis_url: str, namespace: str) -> None:
    async def scenario() -> None:
        async with serving(debian_redis_url, namespace) as api:
            started = await api.start("Tally", "t", id="t")
            for count in (1, 2):
                response = await api.http.post("/v1/sagas/t/signals/add", json={"args": [count]})
                assert response.status_code == 202
                assert response.json() == {"id": "t", "run_id": started["run_id"]}
            assert await api.ask("t", "total") == 3
            assert await api.ask("t", "at", 1) == 2
            assert (await api.http.post("/v1/sagas/t/signals/close")).status_code == 202
            assert (await api.result("t"))["result"] == {"name": "t", "counts": [1, 2]}
            assert await api.ask("t", "total") == 3  # of an ended run, its last state

    run(scenario())


def test_a_query_that_fails_says_how() -> None:
    async def scenario() -> None:
        async with serving() as api:
            await api.start("Tally", "t", id="t")
            for name, args, cause in (("colour", [], "UnknownQuery"), ("at", [7], "IndexError")):
                response = await api.http.post(f"/v1/sagas/t/queries/{name}", json={"args": args})
                assert kind(response) == "query-failed"
                assert response.json()["cause_type"] == cause
            response = await api.http.post("/v1/sagas/nobody/queries/total")
            assert kind(response) == "saga-not-found"

    run(scenario())


def test_a_paused_run_records_and_goes_on_when_resumed() -> None:
    async def scenario() -> None:
        async with serving() as api:
            await api.start("Tally", "t", id="t")
            assert (await api.http.post("/v1/sagas/t/pause", json={"by": "anna"})).status_code == 202
            await api.http.post("/v1/sagas/t/signals/close")
            assert (await api.http.get("/v1/sagas/t/result", params={"wait": 0.05})).status_code == 202
            assert (await api.http.get("/v1/sagas/t")).json()["paused"] is True
            assert (await api.http.post("/v1/sagas/t/resume", json={"by": "bert"})).status_code == 202
            assert (await api.result("t"))["status"] == "completed"

    run(scenario())


def test_an_ended_or_unknown_saga_takes_no_messages() -> None:
    async def scenario() -> None:
        async with serving() as api:
            await api.start("echo", 1, id="e")
            await api.result("e")
            for order in ("signals/wake", "cancel", "terminate", "pause", "resume"):
                response = await api.http.post(f"/v1/sagas/e/{order}")
                assert kind(response) == "saga-closed"
                assert (response.status_code, response.json()["saga_status"]) == (409, "completed")
                response = await api.http.post(f"/v1/sagas/nobody/{order}")
                assert kind(response) == "saga-not-found"
                assert response.json()["id"] == "nobody"

    run(scenario())


def test_a_message_may_name_its_run() -> None:
    async def scenario() -> None:
        async with serving() as api:
            first = await api.start("Tally", "t", id="t")
            await api.start("Tally", "t", id="t", on_conflict="terminate_existing")
            await api.ask("t", "total")
            run_id = {"run_id": first["run_id"]}
            response = await api.http.post("/v1/sagas/t/signals/add", json={"args": [1]}, params=run_id)
            assert kind(response) == "saga-closed"
            for odd in ("a:b", "", "x" * 101, "é"):
                response = await api.http.post("/v1/sagas/t/signals/add", json={"args": [1]}, params={"run_id": odd})
                assert kind(response) == "invalid-argument"
            assert await api.ask("t", "total") == 0

    run(scenario())


def test_arguments_that_cannot_travel_are_refused() -> None:
    async def scenario() -> None:
        async with serving() as api:
            body = b'{"type": "echo", "args": ["\\ud800"]}'
            response = await api.http.post("/v1/sagas", content=body, headers={"content-type": "application/json"})
            assert kind(response) == "invalid-argument"
            assert "args[0]" in response.json()["detail"]
            for type in ("", "x" * 256, "a\nb"):
                response = await api.http.post("/v1/sagas", json={"type": type})
                assert kind(response) == "invalid-argument"
            response = await api.http.post("/v1/sagas", json={"type": "echo", "attributes": {"a": None}})
            assert kind(response) == "invalid-argument"
            assert response.json()["errors"][0]["pointer"].startswith("#/attributes/a")
            for many in (
                {"type": "echo", "attributes": {f"a{n}": [] for n in range(101)}},
                {f"a{n}": n for n in range(101)},
            ):
                response = await api.http.post("/v1/sagas", json=many)
                assert kind(response) == "invalid-argument"
                assert len(response.json()["errors"]) == 1

    run(scenario())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/sagas/t/queries/total", {}),
        ("/v1/sagas/t/signal-with-start", {"type": "Tally", "args": ["t"], "signal": "add", "signal_args": [1]}),
    ],
)
def test_where_no_run_can_be_named_naming_one_is_refused(path: str, body: dict[str, object]) -> None:
    async def scenario() -> None:
        async with serving() as api:
            started = await api.start("Tally", "t", id="t")
            response = await api.http.post(path, json=body, params={"run_id": started["run_id"]})
            assert (response.status_code, kind(response)) == (422, "invalid-argument")
            assert response.json()["errors"][0]["parameter"] == "run_id"
            assert await api.ask("t", "total") == 0

    run(scenario())
