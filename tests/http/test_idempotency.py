"""Idempotency-Key: the same request is taken once and answered alike; another one under its key is told apart."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sagas.http.key import id_of, key_of
from sagas.http.path import segment
from sagas.kernel.events import SignalReceived
from sagas.store import redis_durability
from tests.http.calling import Api, hostless, kind, run, serving
from tests.servers import Server

KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}


def forget(server: Server, namespace: str) -> None:
    """What 25 hours do: the store knows no message id any more."""
    with server.client() as client:
        for key in client.scan_iter(f"sg:{{{namespace}.s*}}:m:*", count=10_000):
            client.delete(key)


async def post(api: Api, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    response = await api.http.post(path, json=body, headers=KEY)
    return response.status_code, response.json()


def test_a_start_that_is_repeated_is_the_same_start(debian_server: Server, namespace: str) -> None:
    body = {"type": "nap", "args": [86400], "id": "n"}

    async def scenario() -> None:
        async with serving(debian_server.url, namespace) as api:
            first = await post(api, "/v1/sagas", body)
            assert first[0] == 201
            assert await post(api, "/v1/sagas", body) == first
            # Whatever happened in between: the run has ended, another one has its id, the store has forgotten.
            await api.start("nap", 86400, id="n", on_conflict="terminate_existing")
            assert await post(api, "/v1/sagas", body) == first
            forget(debian_server, namespace)
            assert await post(api, "/v1/sagas", body) == first
            events = (await api.http.get("/v1/sagas/n/history", params={"run_id": first[1]["run_id"]})).json()["events"]
            assert [event["event"] for event in events].count("RunStarted") == 1

    run(scenario())


def test_a_repeat_is_answered_only_when_a_replica_has_the_first(
    debian_server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_durability, "REPLICA_MS", 1)
    starts = (
        ("/v1/sagas", {"type": "echo", "args": [1], "id": "e"}),
        ("/v1/sagas/t/signal-with-start", {"type": "Tally", "args": ["t"], "signal": "add", "signal_args": [5]}),
    )

    async def scenario() -> None:
        async with serving(debian_server.url, namespace) as api:
            for path, body in starts:
                assert (await post(api, path, body))[0] == 201
            await api.result("e")
            assert await api.ask("t", "total") == 5
        forget(debian_server, namespace)
        async with hostless(f"{debian_server.url}?durability=ha", namespace) as api:
            for path, body in starts:
                assert (await post(api, path, body))[0] == 503  # there is no replica
        async with serving(debian_server.url, namespace) as api:
            for path, body in starts:
                assert (await post(api, path, body))[0] == 201
            assert await api.ask("t", "total") == 5

    run(scenario())


def test_repeats_at_the_same_time_start_one_run(debian_redis_url: str, namespace: str) -> None:
    async def scenario() -> None:
        async with serving(debian_redis_url, namespace) as api:
            answers = await asyncio.gather(*(post(api, "/v1/sagas", {"type": "echo", "args": [1]}) for _ in range(20)))
            assert all(answer == answers[0] for answer in answers)
            assert answers[0][1]["id"] == id_of("8e03978e-40d5-43dd-bc93-6894a57f9324")
            await api.result(answers[0][1]["id"])  # a host has taken it: it is listed from then on
            assert len((await api.http.get("/v1/sagas")).json()["sagas"]) == 1

    run(scenario())


def test_another_start_under_the_same_key_is_refused() -> None:
    async def scenario() -> None:
        async with serving() as api:
            for body in ({"type": "echo", "args": [1]}, {"type": "echo", "args": [1], "id": "e"}):
                status, first = await post(api, "/v1/sagas", body)
                assert status == 201
                response = await api.http.post("/v1/sagas", json=body | {"args": [2]}, headers=KEY)
                assert kind(response) == "idempotency-key-reused"
                assert response.json()["run_id"] == first["run_id"]

    run(scenario())


def test_the_order_of_names_and_defaults_that_are_written_out_make_no_other_request() -> None:
    async def scenario() -> None:
        async with serving() as api:
            first = await post(api, "/v1/sagas", {"type": "echo", "args": [{"a": 1, "b": 2}], "id": "e"})
            written_out = {"on_reuse": "allow", "id": "e", "args": [{"b": 2, "a": 1}], "type": "echo"}
            assert await post(api, "/v1/sagas", written_out) == first

    run(scenario())


def test_a_refused_start_is_not_remembered() -> None:
    async def scenario() -> None:
        async with serving() as api:
            await api.start("Tally", "t", id="t")
            body = {"type": "nap", "args": [0], "id": "t"}
            assert (await post(api, "/v1/sagas", body))[0] == 409
            await api.http.post("/v1/sagas/t/signals/close")
            await api.result("t")
            assert (await post(api, "/v1/sagas", body))[0] == 201

    run(scenario())


def test_a_start_that_joined_a_run_joins_it_again() -> None:
    async def scenario() -> None:
        async with serving() as api:
            first = await api.start("Tally", "t", id="t")
            body = {"type": "Tally", "args": ["u"], "id": "t", "on_conflict": "use_existing"}
            joined = (200, first | {"started": False})
            assert await post(api, "/v1/sagas", body) == joined
            await api.http.post("/v1/sagas/t/signals/close")
            await api.result("t")
            assert await post(api, "/v1/sagas", body) == joined  # and no second run is begun

    run(scenario())


def test_a_signal_that_is_repeated_is_taken_once(debian_redis_url: str, namespace: str) -> None:
    async def scenario() -> None:
        async with serving(debian_redis_url, namespace) as api:
            started = await api.start("Tally", "t", id="t")
            answers = await asyncio.gather(*(post(api, "/v1/sagas/t/signals/add", {"args": [5]}) for _ in range(10)))
            assert all(answer == (202, {"id": "t", "run_id": started["run_id"]}) for answer in answers)
            assert await api.ask("t", "total") == 5
            response = await api.http.post("/v1/sagas/t/signals/add", json={"args": [7]}, headers=KEY)
            assert kind(response) == "idempotency-key-reused"
            assert await api.ask("t", "total") == 5
            await api.http.post("/v1/sagas/t/signals/close")
            await api.result("t")
            assert await post(api, "/v1/sagas/t/signals/add", {"args": [5]}) == answers[0]
            events = await api.client.get("t").history()
            assert [event.name for event in events if isinstance(event, SignalReceived)] == ["add", "close"]

    run(scenario())


def test_before_a_host_has_taken_the_first_another_signal_is_not_taken_either(
    debian_redis_url: str, namespace: str
) -> None:
    async def scenario() -> None:
        async with hostless(debian_redis_url, namespace) as api:
            await api.start("Tally", "t", id="t")
            first = await post(api, "/v1/sagas/t/signals/add", {"args": [5]})
            assert await post(api, "/v1/sagas/t/signals/add", {"args": [7]}) == first  # nothing durable tells yet
        async with serving(debian_redis_url, namespace) as api:
            assert await api.ask("t", "total") == 5
            response = await api.http.post("/v1/sagas/t/signals/add", json={"args": [7]}, headers=KEY)
            assert kind(response) == "idempotency-key-reused"

    run(scenario())


@pytest.mark.parametrize(
    ("order", "word"), [("cancel", "reason"), ("terminate", "reason"), ("pause", "by"), ("resume", "by")]
)
def test_an_order_that_is_repeated_is_taken_once(order: str, word: str) -> None:
    async def scenario() -> None:
        async with serving() as api:
            await api.start("nap", 86400, id="n")
            first = await post(api, f"/v1/sagas/n/{order}", {word: "anna"})
            assert first[0] == 202
            while _RECORDED[order] not in await _names(api):
                await asyncio.sleep(0.01)
            assert await post(api, f"/v1/sagas/n/{order}", {word: "anna"}) == first
            response = await api.http.post(f"/v1/sagas/n/{order}", json={word: "bert"}, headers=KEY)
            assert kind(response) == "idempotency-key-reused"
            assert (await _names(api)).count(_RECORDED[order]) == 1

    run(scenario())


_RECORDED = {"cancel": "CancelRequested", "terminate": "RunTerminated", "pause": "Paused", "resume": "Resumed"}


async def _names(api: Api) -> list[str]:
    return [type(event).__name__ for event in await api.client.get("n").history()]


def test_signal_with_start_is_taken_once(debian_server: Server, namespace: str) -> None:
    body = {"type": "Tally", "args": ["t"], "signal": "add", "signal_args": [5]}

    async def scenario() -> None:
        async with serving(debian_server.url, namespace) as api:
            first = await post(api, "/v1/sagas/t/signal-with-start", body)
            assert first[0] == 201
            assert await post(api, "/v1/sagas/t/signal-with-start", body) == first
            second = await api.http.post("/v1/sagas/t/signal-with-start", json=body)
            assert second.status_code == 200
            assert second.json() == first[1] | {"started": False}
            assert await api.ask("t", "total") == 10
            response = await api.http.post(
                "/v1/sagas/t/signal-with-start", json=body | {"signal_args": [6]}, headers=KEY
            )
            assert kind(response) == "idempotency-key-reused"
            forget(debian_server, namespace)
            assert await post(api, "/v1/sagas/t/signal-with-start", body) == first
            assert await api.ask("t", "total") == 10

    run(scenario())


def test_signal_with_start_under_a_used_key_is_told_apart_in_a_run_that_went_on() -> None:
    body = {"type": "Tally", "args": ["t"], "signal": "add", "signal_args": [5]}

    async def scenario() -> None:
        async with serving() as api:
            await api.start("Tally", "t", id="t")
            assert (await post(api, "/v1/sagas/t/signal-with-start", body))[0] == 200
            assert await api.ask("t", "total") == 5
            response = await api.http.post(
                "/v1/sagas/t/signal-with-start", json=body | {"signal_args": [6]}, headers=KEY
            )
            assert kind(response) == "idempotency-key-reused"

    run(scenario())


def test_a_key_belongs_to_one_operation_on_one_saga() -> None:
    async def scenario() -> None:
        async with serving() as api:
            for id in ("t", "u"):
                assert (await post(api, "/v1/sagas", {"type": "Tally", "args": ["x"], "id": id}))[0] == 201
                assert (await post(api, f"/v1/sagas/{id}/signals/add", {"args": [5]}))[0] == 202
                assert (await post(api, f"/v1/sagas/{id}/signals/close"))[0] == 202
                assert (await api.result(id))["result"] == {"name": "x", "counts": [5]}

    run(scenario())


@pytest.mark.parametrize("values", [[""], [" "], ["x" * 256], ["ä"], ['"a'], ["a", "a"], ["a\tb"]])
def test_what_can_be_no_key(values: list[str]) -> None:
    async def scenario() -> None:
        async with serving() as api:
            response = await api.http.post(
                "/v1/sagas",
                json={"type": "echo", "args": [1]},
                headers=[("Idempotency-Key", value.encode("latin-1")) for value in values],  # type: ignore[arg-type]
            )
            assert kind(response) == "invalid-argument"
            assert response.json()["errors"][0]["parameter"] == "Idempotency-Key"
            assert (await api.http.get("/v1/sagas")).json()["sagas"] == []

    run(scenario())


def test_a_key_with_and_without_its_quotes_is_the_same() -> None:
    async def scenario() -> None:
        async with serving() as api:
            answers = [
                (await api.http.post("/v1/sagas", json={"type": "echo", "args": [1]}, headers={"Idempotency-Key": key}))
                for key in ("abc", '"abc"')
            ]
            assert answers[0].json() == answers[1].json()

    run(scenario())


def test_without_a_key_every_request_is_another() -> None:
    keys = [key_of(None, "start", "n", {}) for _ in range(100)]
    assert len({key.run_id for key in keys}) == len({key.message_id for key in keys}) == 100
    assert not any(key.given for key in keys)


def test_ids_of_runs_need_no_escapes() -> None:
    key = key_of("k", "start", "a:b", {"x": 1})
    assert segment(key.run_id) == key.run_id
    assert len(key.mail_id) < 100
