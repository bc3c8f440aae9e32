"""Whatever user code hands over, by whatever way: with a codec none of it reaches Redis in the clear, ever."""

from __future__ import annotations

import asyncio

import pytest

import sagas
from sagas import (
    Client,
    QueryFailed,
    Rejected,
    Retry,
    SagaFailed,
    SagaParked,
    UpdateFailed,
    UpdateRejected,
    activity,
    compensating,
    query,
    saga,
    signal,
    update,
)
from tests.payloads.codecs import Know, Xor, know
from tests.servers import Server

__all__ = ["know"]

SECRET = "Ada-4711"
tried: list[object] = []


class Refused(Rejected): ...


@activity(retry=Retry(initial=0.01, max_attempts=2))
async def shaky(word: str) -> str:
    tried.append(sagas.step().heartbeat_details)
    if sagas.step().attempt == 1:
        sagas.heartbeat(f"{word} details")
        raise OSError(f"{word} is not there")
    return f"{word} result"


@activity
async def refuse(word: str) -> None:
    raise Refused(f"{word} refused")


@activity
async def reserve(word: str) -> str:
    return f"{word} reserved"


@reserve.compensation(retry=Retry(initial=0.01, max_attempts=1))
async def give_back(result: str | None, word: str) -> None:
    raise OSError(f"{word} undo")


@saga
async def inner(word: str) -> str:
    if word.startswith("fail"):
        raise OSError(f"{word} child")
    return f"{word} of a child"


@saga
class Everything:
    def __init__(self, word: str) -> None:
        self.word = word
        self.token = ""
        self.go = False

    async def run(self) -> str:
        answer = sagas.callback(str)
        self.token = answer.token
        said = [await shaky(self.word), await answer, await sagas.child(inner, self.word)]
        try:
            await sagas.child(inner, f"fail {self.word}")
        except SagaFailed as error:
            said.append(error.message)
        await sagas.wait_until(lambda: self.go)
        return " ".join(said)

    @signal
    def letter(self, word: str) -> None:
        raise OSError(f"{word} in a dead letter")

    @signal
    def finish(self) -> None:
        self.go = True

    @update
    async def change(self, word: str) -> str:
        if word.startswith("fail"):
            raise OSError(word)
        return f"{word} changed"

    @change.validator
    def check(self, word: str) -> None:
        if word.startswith("reject"):
            raise OSError(word)

    @query
    def asked(self, word: str) -> str:
        if word.startswith("fail"):
            raise OSError(word)
        return self.token


@saga
async def stuck(word: str) -> None:
    async with compensating():
        await reserve(word)
        await refuse(word)


@saga(park_on=(OSError,))
async def parks(word: str) -> None:
    raise OSError(f"{word} parks")


async def everything(client: Client) -> str:
    h = await client.start(Everything, SECRET, id="all-1")
    await h.signal(Everything.letter, SECRET)
    while not (token := await h.query(Everything.asked, SECRET)):
        await asyncio.sleep(0.01)
    with pytest.raises(QueryFailed, match=SECRET):
        await h.query(Everything.asked, f"fail {SECRET}")
    assert await h.update(Everything.change, SECRET) == f"{SECRET} changed"
    with pytest.raises(UpdateRejected, match=SECRET):
        await h.update(Everything.change, f"reject {SECRET}")
    with pytest.raises(UpdateFailed, match=SECRET):
        await h.update(Everything.change, f"fail {SECRET}")
    await client.complete(token, f"{SECRET} called back")
    await h.signal(Everything.finish)
    result = await h.result()
    s = await client.start(stuck, SECRET, id="stuck-1")
    with pytest.raises(SagaParked, match=f"{SECRET} undo"):
        await s.result()
    p = await client.start(parks, SECRET, id="parks-1")
    with pytest.raises(SagaParked, match=f"{SECRET} parks"):
        await p.result()
    return result


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "in the clear"])
def test_no_way_leads_around_the_codec(own_server: Server, namespace: str, know: Know, sealed: bool) -> None:
    async def scenario() -> str:
        async with sagas.embedded(own_server.url, namespace=namespace) as client:
            return await asyncio.wait_for(everything(client), 60)

    know(*([Xor("key")] if sealed else []))
    tried.clear()
    result = asyncio.run(scenario())
    expected = f"{SECRET} result {SECRET} called back {SECRET} of a child fail {SECRET} child"
    assert result == expected
    assert tried == [None, f"{SECRET} details"]
    written = own_server.written()
    assert b"all-1" in written, "what is looked at is what was written"
    at = written.find(SECRET.encode())
    assert (at >= 0) is not sealed, written[max(0, at - 300) : at + 100]
