"""Describe, list and history over HTTP."""

from __future__ import annotations

import pytest

from tests.http.calling import kind, run, serving


def test_a_description_says_what_a_run_waits_for() -> None:
    async def scenario() -> None:
        async with serving() as api:
            await api.start("nap", 86400, id="n")
            await api.start("buggy", id="b")
            assert (await api.result("b"))["parked"] == "KeyError: 'a bug'"
            nap = (await api.http.get("/v1/sagas/n")).json()
            assert (nap["status"], nap["type"], nap["closed"]) == ("running", "nap", None)
            assert [wait["kind"] for wait in nap["waiting_for"]] == ["timer"]
            assert (await api.http.get("/v1/sagas/b")).json()["parked"] == "KeyError: 'a bug'"

    run(scenario())


@pytest.mark.parametrize("resource", ["", "/result", "/history"])
def test_what_is_not_there(resource: str) -> None:
    async def scenario() -> None:
        async with serving() as api:
            response = await api.http.get(f"/v1/sagas/nobody{resource}")
            assert kind(response) == "saga-not-found"
            await api.start("echo", 1, id="e")
            response = await api.http.get(f"/v1/sagas/e{resource}", params={"run_id": "another"})
            assert kind(response) == "saga-not-found"
            assert response.json()["run_id"] == "another"

    run(scenario())


def test_a_list_is_filtered_and_says_when_it_is_cut(debian_redis_url: str, namespace: str) -> None:
    async def scenario() -> None:
        async with serving(debian_redis_url, namespace) as api:
            for number in range(3):
                await api.start("echo", number, id=f"e{number}")
                await api.result(f"e{number}")
            await api.start("nap", 86400, id="n'1")
            await api.client.get("n'1").describe()

            async def ids(query: str, limit: int = 100) -> tuple[set[str], bool]:
                found = (await api.http.get("/v1/sagas", params={"query": query, "limit": limit})).json()
                return {row["id"] for row in found["sagas"]}, found["more"]

            assert await ids("") == ({"e0", "e1", "e2", "n'1"}, False)
            assert await ids("status = 'completed' and type = 'echo'") == ({"e0", "e1", "e2"}, False)
            assert await ids("id = 'n''1'") == ({"n'1"}, False)
            assert await ids("status = 'failed'") == (set(), False)
            some, more = await ids("type = 'echo'", 2)
            assert (len(some), more) == (2, True)
            for odd in ("status", "colour = 'red'", "status = 'running' or"):
                response = await api.http.get("/v1/sagas", params={"query": odd})
                assert kind(response) == "invalid-argument"
                assert odd.split()[0] in response.json()["detail"]
            for limit in ("0", "1001", "many"):
                assert kind(await api.http.get("/v1/sagas", params={"limit": limit})) == "invalid-argument"

    run(scenario())


def test_a_history_is_read_page_by_page() -> None:
    async def scenario() -> None:
        async with serving() as api:
            await api.start("pay", 900, id="p")
            await api.result("p")
            whole = (await api.http.get("/v1/sagas/p/history")).json()
            assert whole["next"] is None
            assert [event["position"] for event in whole["events"]] == list(range(len(whole["events"])))
            assert whole["events"][0]["args"] == [900]
            failed = next(event for event in whole["events"] if event["event"] == "StepFailed")
            assert failed["failure"]["cause_type"] == "CardDeclined"
            read, offset = [], 0
            while offset is not None:
                page = (await api.http.get("/v1/sagas/p/history", params={"offset": offset, "limit": 2})).json()
                assert len(page["events"]) <= 2
                read += page["events"]
                offset = page["next"]
            assert read == whole["events"]
            beyond = (await api.http.get("/v1/sagas/p/history", params={"offset": 10**6})).json()
            assert (beyond["events"], beyond["next"]) == ([], None)

    run(scenario())


def test_a_value_nested_beyond_what_can_be_told_is_a_problem_and_no_crash() -> None:
    async def scenario() -> None:
        async with serving() as api:
            await api.start("deep", 450, id="d")
            await api.client.get("d").result()
            response = await api.http.get("/v1/sagas/d/result")
            assert response.status_code == 200 or kind(response) == "unreadable"
            assert (await api.http.get("/v1/sagas/d")).json()["status"] == "completed"

    run(scenario())
