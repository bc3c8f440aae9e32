"""What can be asked about instances: heads, histories, timers, what is busy, and indexes page by page."""

import pytest

from sagas.errors import InvalidArgument
from sagas.store.keys import shard_of
from sagas.store.port import Claim, Loaded, Store
from tests.conftest import OpenStore
from tests.contract.samples import TTL_MS, batch, claimed, committed, head, step, with_store


def test_load_answers_in_the_order_asked(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        for id in ("a", "b"):
            claim = await claimed(store, id)
            await committed(store, claim, 1, step(id, chunk=id.encode(), steps=b"retry " + id.encode()))
        assert await store.load(["b", "nobody", "a"]) == [
            Loaded(head=head(), chunks=(b"b",), steps=b"retry b"),
            Loaded(head=None),
            Loaded(head=head(), chunks=(b"a",), steps=b"retry a"),
        ]
        assert await store.load([]) == []

    with_store(open_store, scenario)


def test_heads_answer_in_the_order_asked(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        for id in ("a", "b"):
            await committed(store, await claimed(store, id), 1, step(id, head=head(run_id=id)))
        assert await store.heads(["b", "nobody", "a"]) == [head(run_id="b"), None, head(run_id="a")]
        assert await store.heads([]) == []

    with_store(open_store, scenario)


def test_history_from_an_index(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        await committed(store, claim, 1, *(step("a", version, chunk=b"%d" % version) for version in range(4)))
        assert await store.history("a", "r1") == [b"0", b"1", b"2", b"3"]
        assert await store.history("a", "r1", 2) == [b"2", b"3"]
        assert await store.history("a", "r1", -1) == [b"3"]
        assert await store.history("a", "r1", -9) == [b"0", b"1", b"2", b"3"]
        assert await store.history("a", "r1", 9) == []
        assert await store.history("a", "r2") == []

    with_store(open_store, scenario)


def test_timers_come_earliest_first_and_say_what_is_next(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        ids = [f"i{n}" for n in range(2000) if shard_of(f"i{n}") == claim.shard][:5]
        due = [30, 10, 20, 20, 1_900_000_000_000]
        await committed(store, claim, 1, *(step(id, timer_ms=at) for id, at in zip(ids, due, strict=True)))
        ties = sorted(ids[2:4])
        everything = [(ids[1], 10), (ties[0], 20), (ties[1], 20), (ids[0], 30), (ids[4], 1_900_000_000_000)]
        shard = claim.shard
        assert await store.timers(shard, 9, 10) == ([], 10)
        assert await store.timers(shard, 10, 10) == (everything[:1], 20)
        assert await store.timers(shard, 1000, 2) == (everything[:2], 20)
        assert await store.timers(shard, 1000, 3) == (everything[:3], 30)
        assert await store.timers(shard, 1000, 10) == (everything[:4], 1_900_000_000_000)
        assert await store.timers(shard, 1_900_000_000_000, 10) == (everything, None)
        assert await store.timers(shard, 1_900_000_000_000, 0) == ([], 10)
        assert await store.timers((shard + 1) % 64, 1000, 10) == ([], None)

    with_store(open_store, scenario)


def test_pages_name_every_id_of_every_shard(open_store: OpenStore) -> None:
    """Over many shards, and over one shard that is larger than a page."""

    async def scenario(store: Store) -> None:
        spread = [f"spread-{n}" for n in range(1500)]
        crowd = [f"crowd-{n}" for n in range(200_000) if shard_of(f"crowd-{n}") == 7][:2500]
        claims: dict[int, Claim | None] = {shard: await store.claim(shard, "a", TTL_MS) for shard in range(64)}
        for shard, claim in claims.items():
            assert claim is not None
            ids = [id for id in spread + crowd if shard_of(id) == shard]
            steps = [step(id, index=(("all", 5), ("odd", n if n % 2 else None))) for n, id in enumerate(ids)]
            await store.commit([batch(claim, 1, *steps)])
        assert sorted(await every_page(store, "all")) == sorted(spread + crowd)
        assert await every_page(store, "none") == []

    with_store(open_store, scenario)


async def every_page(store: Store, index: str) -> set[str] | list[str]:
    found: list[str] = []
    page, cursor = await store.ids(index)
    found += page
    while cursor:
        page, cursor = await store.ids(index, cursor)
        found += page
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("cursor", ["nonsense", "1:x", "-1", "1:"])
def test_what_is_no_cursor_is_refused(open_store: OpenStore, cursor: str) -> None:
    async def scenario(store: Store) -> None:
        with pytest.raises(InvalidArgument, match="cursor"):
            await store.ids("x", cursor)

    with_store(open_store, scenario)
