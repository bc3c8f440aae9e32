"""The store goes away in mid-request: nothing is acknowledged that is not durable, and a repeat is taken once."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import httpx
import pytest

from sagas.client import Client
from sagas.errors import StoreUnavailable
from sagas.http import create_app
from sagas.store.memory import MemoryStore
from sagas.store.port import Admission, Admitted
from sagas.store.redis import RedisStore
from tests.http.calling import calling, kind, run, serving
from tests.servers import Server

KEY = {"Idempotency-Key": "order-17"}


def test_redis_dies_in_mid_request(own_server: Server) -> None:
    async def scenario() -> None:
        app = create_app(own_server.url)
        async with calling(app) as http:
            started = await http.post("/v1/sagas", json={"type": "Tally", "args": ["t"], "id": "t"})
            assert started.status_code == 201
            os.kill(own_server.pid, signal.SIGSTOP)
            requests = [
                asyncio.create_task(http.post("/v1/sagas/t/signals/add", json={"args": [5]}, headers=KEY)),
                asyncio.create_task(http.post("/v1/sagas", json={"type": "echo", "args": [1], "id": "e"}, headers=KEY)),
            ]
            await sent(app.state.service, len(requests))
            own_server.kill()
            for response in await asyncio.gather(*requests):
                assert (response.status_code, kind(response)) == (503, "store-unavailable")
                assert response.headers["retry-after"] == "1"
            assert (await http.get("/readyz")).status_code == 503
            assert (await http.get("/healthz")).status_code == 200
            own_server.restart()
            assert (await http.get("/readyz")).status_code == 200
            run_ids = [await again(http) for _ in range(3)]
            assert run_ids == [run_ids[0]] * 3
        await app.state.service.close()
        async with serving(own_server.url) as api:
            assert await api.ask("t", "total") == 5
            assert (await api.result("e"))["run_id"] == run_ids[0]

    run(scenario())


async def sent(service: Any, count: int) -> None:
    """Until that many calls are on their way to the store, and have no answer."""
    store = (await service.client()).access.store
    assert isinstance(store, RedisStore)

    def on_their_way() -> int:
        lines = [line._open for line in (store._writes, store._reads) if line._open is not None]
        return sum(len(line._waiting) for line in lines)

    while on_their_way() < count:
        await asyncio.sleep(0)


async def again(http: httpx.AsyncClient) -> str:
    """The same two requests; gives the run that was started."""
    added = await http.post("/v1/sagas/t/signals/add", json={"args": [5]}, headers=KEY)
    assert added.status_code == 202
    started = await http.post("/v1/sagas", json={"type": "echo", "args": [1], "id": "e"}, headers=KEY)
    assert started.status_code == 201
    run_id: str = started.json()["run_id"]
    return run_id


class LosesAnswers(MemoryStore):
    """A store that takes every message; whoever sent it hears nothing of that while ``deaf``."""

    deaf = True

    async def enqueue(self, admission: Admission) -> Admitted:
        admitted = await super().enqueue(admission)
        if self.deaf:
            raise StoreUnavailable("the answer was lost")
        return admitted


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/sagas", {"type": "echo", "args": [1]}, 201),
        ("/v1/sagas/t/signals/add", {"args": [5]}, 202),
        ("/v1/sagas/t/signal-with-start", {"type": "Tally", "args": ["t"], "signal": "add", "signal_args": [5]}, 200),
        ("/v1/sagas/u/signal-with-start", {"type": "Tally", "args": ["u"], "signal": "add", "signal_args": [5]}, 201),
        ("/v1/sagas/t/cancel", None, 202),
    ],
)
def test_an_answer_that_was_lost_is_had_by_asking_again(path: str, body: Any, status: int) -> None:
    async def scenario() -> None:
        store = LosesAnswers()
        store.deaf = False
        async with calling(create_app(Client(store))) as http:
            await http.post("/v1/sagas", json={"type": "Tally", "args": ["t"], "id": "t"})
            store.deaf = True
            assert (await http.post(path, json=body, headers=KEY)).status_code == 503
            store.deaf = False
            mail = await written(store)
            answers = [await http.post(path, json=body, headers=KEY) for _ in range(2)]
            assert [answer.status_code for answer in answers] == [status] * 2
            assert answers[0].json() == answers[1].json()
            assert await written(store) == mail

    run(scenario())


def test_a_url_that_is_none_is_for_the_operator_to_see(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with calling(create_app("http://the-user:the-password@the-host:6379")) as http:
            for path in ("/readyz", "/v1/sagas/e"):
                response = await http.get(path)
                assert (response.status_code, kind(response)) == (503, "store-unavailable")
                assert "the-" not in response.text

    run(scenario())
    assert "the-host" in caplog.text
    assert "the-password" not in caplog.text


async def written(store: MemoryStore) -> int:
    return len(await store.read_mail(dict.fromkeys(range(64), "0"), 0))
