"""Large payloads and long histories: they work up to their limits, and say so on the way."""

from __future__ import annotations

import logging

import pytest

import sagas
from sagas import PayloadError, SagaParked, activity, limits, saga, signal
from sagas.engine import extent
from sagas.limits import LIMITS, Limits
from tests.conformance.world import World
from tests.payloads.codecs import Know, Xor, know

__all__ = ["know"]

LARGE = 300_000


@activity
async def double(text: str) -> str:
    return text * 2


@activity
async def tick(n: int) -> int:
    return n


@saga
class Album:
    def __init__(self, cover: str) -> None:
        self.pages = [cover]
        self.done = False

    async def run(self) -> str:
        await sagas.wait_until(lambda: self.done)
        return "".join([await double(page) for page in self.pages])

    @signal
    def add(self, page: str) -> None:
        self.pages.append(page)

    @signal
    def finish(self) -> None:
        self.done = True


@saga
async def long(rounds: int) -> int:
    for n in range(rounds):
        await tick(n)
    return rounds


@saga
async def relay(text: str, legs: int) -> str:
    if legs:
        sagas.continue_as_new(text, legs - 1)
    return text


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
def test_large_payloads_lie_beside_the_history_and_go_with_it(everywhere: World, know: Know, sealed: bool) -> None:
    async def scenario() -> None:
        know(*([Xor("key")] if sealed else []))
        h = await everywhere.client.start(Album, "a" * LARGE, id="album-1")
        await h.signal(Album.add, "b" * LARGE)
        await h.signal(Album.add, "small")
        await everywhere.until_waiting(h, "message")
        await h.signal(Album.finish)
        expected = "a" * 2 * LARGE + "b" * 2 * LARGE + "small" * 2
        assert await h.result() == expected
        store, run_id = everywhere.client.access.store, str(h.run_id)
        assert sum(map(len, await store.history("album-1", run_id))) < 10_000
        assert len(await store.blobs("album-1", run_id)) == 7  # two of the run, two arguments, three results
        assert await h.result() == expected
        assert sagas.payloads.decode((await h.history())[-1].result) == expected  # type: ignore[attr-defined]
        await h.delete()
        assert await store.blobs("album-1", run_id) == {}

    everywhere.run(scenario)


def test_a_large_payload_survives_another_host(durable: World) -> None:
    async def scenario() -> None:
        h = await durable.client.start(Album, "a" * LARGE, id="album-2")
        await durable.until_waiting(h, "message")
        await durable.reopen(Album, double)
        h = durable.again(h)
        await h.signal(Album.finish)
        assert await h.result() == "a" * 2 * LARGE

    durable.run(scenario)


def test_a_fork_and_a_chain_take_large_payloads_with_them(timed: World, know: Know) -> None:
    async def scenario() -> None:
        know(Xor("key"))
        h = await timed.client.start(Album, "a" * LARGE, id="album-3")
        await h.signal(Album.add, "b" * LARGE)
        await timed.until_waiting(h, "message")
        fork = await h.fork(event=len(await h.history()) - 1, id="album-4")
        await h.terminate()
        with pytest.raises(sagas.SagaTerminated):
            await h.result()
        await h.delete()
        await fork.signal(Album.finish)
        assert await fork.result() == "a" * 2 * LARGE + "b" * 2 * LARGE
        store = timed.client.access.store
        assert sum(map(len, await store.history("album-4", str(fork.run_id)))) < 10_000
        chain = await timed.client.start(relay, "c" * LARGE, 2, id="relay-1")
        assert await chain.result() == "c" * LARGE
        await timed.env.advance(days=1)
        for run_id in (chain.run_id, f"{chain.run_id}~1", f"{chain.run_id}~2"):
            assert 0 < sum(map(len, await store.history("relay-1", str(run_id)))) < 10_000

    timed.run(scenario)


def test_what_is_too_large_is_refused_where_it_is_made(timed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(limits, "LIMITS", Limits(payload_bytes=1000))
        with pytest.raises(PayloadError, match="too large"):
            await timed.client.start(Album, "a" * 1000)
        h = await timed.client.start(Album, "a" * 600)
        with pytest.raises(PayloadError, match="too large"):
            await h.signal(Album.add, "b" * 1000)
        await h.signal(Album.finish)
        with pytest.raises(sagas.SagaError, match="too large"):
            await h.result()

    timed.run(scenario)


def test_a_history_warns_parks_and_goes_on_when_it_is_told_to(
    timed: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(limits, "LIMITS", Limits(history_events=60))
        monkeypatch.setattr(extent, "_warned", set())
        caplog.set_level(logging.WARNING, logger="sagas.engine")
        h = await timed.client.start(long, 40, id="long-1")
        for times in (1, 2):
            with pytest.raises(SagaParked, match="continue_as_new"):
                await h.result()
            assert 60 * times <= (await h.describe()).history_length < 60 * times + 5
            await h.resume()
        assert await h.result() == 40
        said = [record for record in caplog.records if "continue_as_new" in record.getMessage()]
        assert len(said) == 1
        other = await timed.client.start(long, 40, id="long-2")
        with pytest.raises(SagaParked):
            await other.result()
        await other.cancel()
        with pytest.raises(sagas.SagaCancelled):
            await other.result()

    timed.run(scenario)


def test_the_limits_are_what_the_documents_say() -> None:
    assert Limits() == LIMITS
    assert (LIMITS.payload_bytes, LIMITS.blob_bytes) == (16 * 2**20, 256 * 2**10)
    assert (LIMITS.history_events, LIMITS.history_bytes) == (50_000, 50 * 2**20)
