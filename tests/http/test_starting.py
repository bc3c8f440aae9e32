"""Starting sagas over HTTP, and how their ends are told."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.http.calling import hostless, kind, run, serving

ORDER = {
    "when": "2024-02-29T12:00:00+01:00",
    "day": "2024-02-29",
    "price": "1.10",
    "number": "00000000-0000-0000-0000-000000000007",
    "size": "l",
    "tags": ["a", "b"],
    "place": [1, 2],
    "patience": 90,
}


def test_a_saga_runs_and_its_result_is_waited_for(debian_redis_url: str, namespace: str) -> None:
    async def scenario() -> None:
        async with serving(debian_redis_url, namespace) as api:
            response = await api.http.post("/v1/sagas", json={"type": "pay", "args": [500], "attributes": {"eu": True}})
            assert response.status_code == 201
            started = response.json()
            assert response.headers["location"] == f"/v1/sagas/{started['id']}"
            assert started["started"] is True
            ended = await api.result(started["id"])
            assert (ended["status"], ended["result"]) == ("completed", {"paid": 500})
            assert ended["run_id"] == started["run_id"]
            described = (await api.http.get(response.headers["location"])).json()
            assert described["attributes"] == {"eu": True}
            assert described["closed"] is not None

    run(scenario())


def test_json_becomes_what_the_annotations_say() -> None:
    async def scenario() -> None:
        async with serving() as api:
            started = await api.start("typed", ORDER, [1, "one"])
            assert (await api.result(started["id"]))["result"] == [
                "datetime", "date", "Decimal", "UUID", "Size", "set", "Place", "timedelta", "tuple",
            ]  # fmt: skip
            # The API knows no code: what does not fit is seen by the host, and told.
            parked = await api.result((await api.start("pay", "many"))["id"])
            assert parked["status"] == "running"
            assert "expected int, found str" in parked["parked"]

    run(scenario())


def test_values_without_a_form_in_json_come_as_text_numbers_and_lists() -> None:
    async def scenario() -> None:
        async with serving() as api:
            started = await api.start("values")
            assert (await api.result(started["id"]))["result"] == {
                "bytes": "AP8=",
                "when": "2024-02-29T12:00:00+01:00",
                "price": "1.10",
                "number": "00000000-0000-0000-0000-000000000007",
                "set": [1, 2],
                "tuple": [1, "two"],
                "patience": 90.0,
                "nan": "nan",
                "huge": 2**70,
                "keys": {"1": "one"},
            }

    run(scenario())


def test_a_run_that_did_not_complete_is_an_answer() -> None:
    async def scenario() -> None:
        async with serving() as api:
            failed = await api.result((await api.start("pay", 900))["id"])
            assert failed["status"] == "failed"
            assert failed["error"] == {"cause_type": "CardDeclined", "message": "no money", "undo_errors": []}
            parked = await api.result((await api.start("buggy"))["id"])
            assert (parked["status"], parked["parked"]) == ("running", "KeyError: 'a bug'")
            for order, status in (("cancel", "cancelled"), ("terminate", "terminated")):
                id = (await api.start("nap", 86400))["id"]
                response = await api.http.post(f"/v1/sagas/{id}/{order}", json={"reason": "enough"})
                assert response.status_code == 202
                ended = await api.result(id)
                assert (ended["status"], ended["reason"], ended["result"]) == (status, "enough", None)

    run(scenario())


def test_a_long_poll_answers_when_the_run_ends_or_its_time_is_over() -> None:
    async def scenario() -> None:
        async with serving() as api:
            started = await api.start("Tally", "t", id="t")
            for wait in (0, 0.05):
                response = await api.http.get("/v1/sagas/t/result", params={"wait": wait})
                assert response.status_code == 202
                assert response.json()["status"] == "running"
            polling = asyncio.create_task(api.result("t"))
            await api.http.post("/v1/sagas/t/signals/close")
            assert (await polling)["result"] == {"name": "t", "counts": []}
            assert (await polling)["run_id"] == started["run_id"]
            for wait in ("-1", "61", "nan", "inf", "soon"):
                response = await api.http.get("/v1/sagas/t/result", params={"wait": wait})
                assert kind(response) == "invalid-argument"
                assert response.json()["errors"][0]["parameter"] == "wait"

    run(scenario())


def test_a_long_poll_ends_when_the_server_stops() -> None:
    async def scenario() -> None:
        async with serving() as api:
            await api.start("nap", 86400, id="n")
            polling = asyncio.create_task(api.http.get("/v1/sagas/n/result", params={"wait": 60}))
            while not api.client.access._changed:  # it listens: the poll is on its way
                await asyncio.sleep(0)
            api.app.state.service.stopping.set()
            assert (await polling).status_code == 202
            assert not api.client.access._changed

    run(scenario())


def test_policies_for_an_id_that_is_taken() -> None:
    async def scenario() -> None:
        async with serving() as api:
            first = await api.start("nap", 86400, id="n")
            again = {"type": "nap", "args": [86400], "id": "n"}
            refused = await api.http.post("/v1/sagas", json=again)
            assert refused.status_code == 409
            assert kind(refused) == "saga-already-started"
            assert refused.json()["run_id"] == first["run_id"]
            assert refused.json()["saga_status"] == "running"
            joined = await api.http.post("/v1/sagas", json=again | {"on_conflict": "use_existing"})
            assert joined.status_code == 200
            assert joined.json() == first | {"started": False}
            second = await api.start("nap", 0, id="n", on_conflict="terminate_existing")
            assert second["run_id"] != first["run_id"]
            assert (await api.result("n"))["result"] == "rested"
            old = await api.http.get("/v1/sagas/n/result", params={"run_id": first["run_id"]})
            assert old.json()["status"] == "terminated"
            described = await api.http.get("/v1/sagas/n", params={"run_id": first["run_id"]})
            assert described.json()["status"] == "terminated"
            refused = await api.http.post("/v1/sagas", json=again | {"on_reuse": "reject"})
            assert refused.json()["saga_status"] == "completed"

    run(scenario())


@pytest.mark.parametrize("id", ["a/b", "50% + 1?", "zwölf #12", "/", "a%2Fb"])
def test_an_id_may_be_any_text(id: str) -> None:
    async def scenario() -> None:
        async with serving() as api:
            response = await api.http.post("/v1/sagas", json={"type": "echo", "args": [1], "id": id})
            assert response.json()["id"] == id
            where = response.headers["location"]
            assert where.count("/") == 3
            assert (await api.http.get(f"{where}/result", params={"wait": 30})).json()["result"] == 1
            assert (await api.http.get(where)).json()["id"] == id
            assert (await api.http.get(f"{where}/history")).json()["events"][0]["id"] == id

    run(scenario())


@pytest.mark.parametrize("id", ["", "x" * 513, "a\nb", "a\x00b", "\ud800"])
def test_what_can_be_no_id(id: str) -> None:
    async def scenario() -> None:
        async with serving() as api:
            body = json.dumps({"type": "echo", "args": [1], "id": id})
            response = await api.http.post("/v1/sagas", content=body, headers={"content-type": "application/json"})
            assert kind(response) == "invalid-argument"

    run(scenario())


def test_without_a_host_everything_is_accepted_and_says_what_it_waits_for(
    debian_redis_url: str, namespace: str
) -> None:
    async def scenario() -> None:
        async with hostless(debian_redis_url, namespace) as api:
            started = await api.start("nap", 1, id="n")
            described = (await api.http.get("/v1/sagas/n")).json()
            assert (described["status"], described["type"], described["started"]) == ("running", None, None)
            assert described["run_id"] == started["run_id"]
            assert [wait["kind"] for wait in described["waiting_for"]] == ["host"]
            assert (await api.http.get("/v1/sagas/n/history")).json()["events"] == []
            assert (await api.http.get("/v1/sagas/n/result", params={"wait": 0.01})).status_code == 202
            assert (await api.http.post("/v1/sagas/n/signals/wake")).status_code == 202
            assert (await api.http.get("/v1/sagas")).json() == {"sagas": [], "more": False}
        async with serving(debian_redis_url, namespace) as api:
            assert (await api.result("n"))["result"] == "rested"

    run(scenario())


def test_a_run_may_begin_later() -> None:
    async def scenario() -> None:
        async with serving() as api:
            started = await api.http.post("/v1/sagas", json={"type": "pay", "args": [500], "start_delay": 3600})
            described = (await api.http.get(started.headers["location"])).json()
            assert (described["status"], [wait["kind"] for wait in described["waiting_for"]]) == ("running", ["timer"])
            soon = await api.http.post("/v1/sagas", json={"type": "pay", "args": [5], "start_delay": 0.01})
            assert (await api.result(soon.json()["id"]))["result"] == {"paid": 5}
            for refused in (-1, "1h"):
                order = {"type": "pay", "args": [5], "start_delay": refused}
                assert (await api.http.post("/v1/sagas", json=order)).status_code in (400, 422)

    run(scenario())
