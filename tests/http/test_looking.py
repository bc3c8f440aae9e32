"""Describe, list and history over HTTP."""

from __future__ import annotations

import asyncio

import pytest

from sagas.client import Client
from sagas.http import create_app
from sagas.http.service import Limits
from sagas.kernel.events import Activated, RunStarted, encode_chunk
from sagas.store.memory import MemoryStore
from sagas.store.port import Listener, Subscription
from tests.contract.samples import claimed, committed, step
from tests.http.calling import calling, kind, run, serving


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


class TakenAtTheEnd(MemoryStore):
    """Its second look at a head lasts until it is given up; just then a host takes the run."""

    looks = 0

    async def head(self, id: str) -> bytes | None:
        self.looks += 1
        if self.looks == 2:
            try:
                await asyncio.Event().wait()
            finally:
                admitted = await self.admitted(id)
                assert admitted is not None
                claim = await claimed(self, id)
                await committed(self, claim, 1, step(id, run_id=admitted, admitted=True))
        return await super().head(id)


def test_a_run_that_is_taken_just_as_the_wait_ends_is_described() -> None:
    async def scenario() -> None:
        async with calling(create_app(Client(TakenAtTheEnd()), limits=Limits(taken_s=0.01))) as http:
            await http.post("/v1/sagas", json={"type": "echo", "id": "e"})
            response = await http.get("/v1/sagas/e")
            assert (response.status_code, response.json()["type"]) == (200, "Trip")

    run(scenario())


class NeverConfirms(MemoryStore):
    """Subscribing lasts for ever."""

    async def subscribe(self, channel: str, listener: Listener) -> Subscription:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


@pytest.mark.parametrize("resource", ["", "/result", "/result?wait=0.01"])
def test_a_store_that_falls_silent_is_no_reason_to_hang(resource: str) -> None:
    async def scenario() -> None:
        limits = Limits(answer_s=0.1, taken_s=1.0)
        async with calling(create_app(Client(NeverConfirms()), limits=limits)) as http:
            await http.post("/v1/sagas", json={"type": "echo", "id": "e"})
            response = await http.get(f"/v1/sagas/e{resource}")
            assert (response.status_code, kind(response)) == (503, "store-unavailable")

    run(scenario())


def test_a_page_is_read_no_further_than_it_goes() -> None:
    """So that what is damaged behind it is met by whoever asks for that."""

    async def scenario() -> None:
        store = MemoryStore()
        claim = await claimed(store, "e")
        chunks = [
            encode_chunk([RunStarted("e", "r1", "T", b""), Activated()], 1),
            encode_chunk([Activated()], 2),
            b"damaged",
        ]
        for version, chunk in enumerate(chunks):
            await committed(store, claim, version + 1, step("e", version, chunk=chunk))
        async with calling(create_app(Client(store))) as http:

            async def positions(offset: int, limit: int) -> tuple[list[int], int | None]:
                page = (await http.get("/v1/sagas/e/history", params={"offset": offset, "limit": limit})).json()
                return [event["position"] for event in page["events"]], page["next"]

            assert await positions(0, 1) == ([0], 1)
            assert await positions(1, 1) == ([1], 2)
            assert kind(await http.get("/v1/sagas/e/history", params={"offset": 2})) == "unreadable"

    run(scenario())
