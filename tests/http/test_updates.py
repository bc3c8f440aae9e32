"""Updates and callbacks over HTTP."""

from __future__ import annotations

from tests.http.calling import kind, run, serving


def test_an_update_is_answered_with_what_its_handler_returns() -> None:
    async def scenario() -> None:
        async with serving() as api:
            await api.start("Tally", "t", id="t")
            for count, total in ((1, 1), (2, 3)):
                response = await api.http.post("/v1/sagas/t/updates/add_up", json={"args": [count]})
                assert (response.status_code, response.json()) == (200, {"value": total})
            for name, args, problem in (
                ("add_up", [-1], "update-rejected"),
                ("add_up", ["x"], "update-rejected"),
                ("nothing", [], "update-rejected"),
                ("add_up", [501], "update-failed"),
            ):
                response = await api.http.post(f"/v1/sagas/t/updates/{name}", json={"args": args})
                assert (response.status_code, kind(response)) == (422, problem)
                assert response.json()["name"] == name
            assert response.json()["cause_type"] == "CardDeclined"
            assert kind(await api.http.post("/v1/sagas/nobody/updates/add_up")) == "saga-not-found"
            await api.http.post("/v1/sagas/t/signals/close")
            assert (await api.result("t"))["result"]["counts"] == [1, 2]
            assert kind(await api.http.post("/v1/sagas/t/updates/add_up", json={"args": [1]})) == "saga-closed"

    run(scenario())


def test_a_key_names_an_update_for_ever(debian_redis_url: str, namespace: str) -> None:
    async def scenario() -> None:
        async with serving(debian_redis_url, namespace) as api:
            await api.start("Tally", "t", id="t")
            key = {"idempotency-key": "k1"}
            for args in ([1], [1], [7]):
                response = await api.http.post("/v1/sagas/t/updates/add_up", json={"args": args}, headers=key)
                assert (response.status_code, response.json()) == (200, {"value": 1})
            await api.http.post("/v1/sagas/t/signals/close")
            await api.result("t")
            response = await api.http.post("/v1/sagas/t/updates/add_up", json={"args": [1]}, headers=key)
            assert response.json() == {"value": 1}

    run(scenario())


def test_an_update_that_takes_long_is_followed_up_with_its_key() -> None:
    async def scenario() -> None:
        async with serving() as api:
            await api.start("Tally", "t", id="t")
            key, wait = {"idempotency-key": "k1"}, {"wait": 0.05}
            response = await api.http.post("/v1/sagas/t/updates/rest", json={"args": [0.5]}, headers=key, params=wait)
            assert (response.status_code, response.json()) == (202, {"id": "t"})
            response = await api.http.post("/v1/sagas/t/updates/rest", json={"args": [0.5]}, headers=key)
            assert (response.status_code, response.json()) == (200, {"value": None})

    run(scenario())


def test_a_callback_is_completed_once() -> None:
    async def scenario() -> None:
        async with serving() as api:
            started = await api.start("Approval", id="a")
            token = await api.ask("a", "token")
            waits = (await api.http.get("/v1/sagas/a")).json()["waiting_for"]
            assert [wait["kind"] for wait in waits] == ["callback"]
            path, key = f"/v1/callbacks/{token}/complete", {"idempotency-key": "k1"}
            for _ in range(2):
                response = await api.http.post(path, json={"value": {"ok": True}}, headers=key)
                assert (response.status_code, response.json()) == (202, {"id": "a", "run_id": started["run_id"]})
            assert (await api.result("a"))["result"] == {"ok": True}
            assert (await api.http.post(path, json={"value": {"ok": True}}, headers=key)).status_code == 202
            assert kind(await api.http.post(path)) == "callback-done"
            response = await api.http.post(f"/v1/callbacks/{token}/fail", json={"error": "no"})
            assert (response.status_code, kind(response)) == (409, "callback-done")
            response = await api.http.post("/v1/callbacks/nonsense/complete")
            assert (response.status_code, kind(response)) == (422, "invalid-argument")

    run(scenario())


def test_a_callback_may_fail() -> None:
    async def scenario() -> None:
        async with serving() as api:
            await api.start("Approval", id="a")
            token = await api.ask("a", "token")
            response = await api.http.post(f"/v1/callbacks/{token}/fail", json={})
            assert kind(response) == "invalid-argument"
            response = await api.http.post(f"/v1/callbacks/{token}/fail", json={"error": "no approval"})
            assert response.status_code == 202
            ended = await api.result("a")
            assert (ended["status"], ended["error"]["cause_type"]) == ("failed", "ActivityFailed")
            assert "no approval" in ended["error"]["message"]

    run(scenario())
