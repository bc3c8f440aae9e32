"""A head that is damaged, or written by a newer version: it troubles nobody who asks for others in the same call."""

from __future__ import annotations

import msgpack
import pytest

from sagas import HistoryError, Status
from sagas.client import Client
from sagas.store.port import Store
from tests.conftest import OpenStore
from tests.contract.samples import claimed, committed, head, step, with_store

DAMAGED = b"\xc1"
NEWER = msgpack.packb([99, "r1", "Trip"])
INDEX = (("status:running", 1), ("type:Trip", 1))


async def stored(store: Store, unreadable: bytes) -> None:
    for id, found in (("a", head("r-a")), ("b", unreadable), ("c", head("r-c"))):
        change = step(id, head=found, run_id=f"r-{id}", chunk=b"chunk", index=INDEX)
        await committed(store, await claimed(store, id), 1, change)


@pytest.mark.parametrize("unreadable", [DAMAGED, NEWER])
def test_the_others_are_loaded_with_their_histories(open_store: OpenStore, unreadable: bytes) -> None:
    async def scenario(store: Store) -> None:
        await stored(store, unreadable)
        a, b, c = await store.load(["a", "b", "c"])
        assert (a.chunks, c.chunks) == ((b"chunk",), (b"chunk",))
        assert (b.head, b.chunks) == (unreadable, ())

    with_store(open_store, scenario)


@pytest.mark.parametrize("unreadable", [DAMAGED, NEWER])
def test_it_is_listed_as_parked_with_the_reason(open_store: OpenStore, unreadable: bytes) -> None:
    async def scenario(store: Store) -> None:
        await stored(store, unreadable)
        client = Client(store)
        for query in ("", "type = 'Trip'", "status = 'running'"):
            found = {each.id: each async for each in client.list(query)}
            assert set(found) == {"a", "b", "c"}
            assert await client.count(query) == 3
            assert found["a"].parked is None
            assert found["b"].parked is not None
            assert "cannot be read" in found["b"].parked
            assert found["b"].status is Status.RUNNING
        assert [each.id async for each in client.list("parked != ''")] == ["b"]
        assert [each.id async for each in client.list("parked = '' and type = 'Trip'")] in (["a", "c"], ["c", "a"])

    with_store(open_store, scenario)


@pytest.mark.parametrize("unreadable", [DAMAGED, NEWER])
def test_asking_for_it_says_which_and_why(open_store: OpenStore, unreadable: bytes) -> None:
    async def scenario(store: Store) -> None:
        await stored(store, unreadable)
        handle = Client(store).get("b")
        for asked in (handle.describe, handle.history, handle.result):
            with pytest.raises(HistoryError, match=r"saga 'b': a stored head cannot be read .*run the version"):
                await asked()

    with_store(open_store, scenario)
