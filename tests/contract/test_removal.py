"""Ended runs are taken out by a commit: all of them, nothing else, and never one that goes on."""

from dataclasses import replace

from sagas.store.head import decode_head, encode_head
from sagas.store.keys import shard_of
from sagas.store.port import Claim, CommitVerdict, Loaded, Removal, Status, Store
from tests.conftest import OpenStore
from tests.contract.samples import batch, claimed, closing, committed, enqueued, head, start, step, with_store

INDEX = (("type:Trip", 1), ("status:completed", 1))
NAMES = ("type:Trip", "status:completed")


async def ended(store: Store, id: str = "a", **changes: object) -> Claim:
    """One run that has left a trace in every key."""
    claim = await claimed(store, id)
    await committed(
        store,
        claim,
        1,
        step(id, timer_ms=500, busy=True, steps=b"retry", blobs=(("0:args", b"large"),), head=head("r1")),
        marks=((id, "r1", 0),),
    )
    await committed(store, claim, 2, closing(id, 1, index=INDEX, expires_ms=9_000, steps=b"retry", **changes))
    return claim


async def nothing_left(store: Store, id: str, *runs: str) -> None:
    shard = shard_of(id)
    assert await store.load([id]) == [Loaded(head=None)]
    for run_id in runs:
        assert await store.history(id, run_id) == []
        assert await store.blobs(id, run_id) == {}
    for name in NAMES:
        assert id not in (await store.ids(name))[0]
    assert await store.attended([id]) == [(None, False)]
    assert await store.marks(shard) == []
    assert await store.expired(shard, 10**15, 10) == ([], None)


def test_the_run_of_the_head_goes_with_its_instance(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await ended(store)
        await committed(store, claim, 3, removals=(Removal(id="a", run_id="r1", index=NAMES),))
        await nothing_left(store, "a", "r1")
        (again,) = await enqueued(store, start("a", "r2", on_reuse="reject"))
        assert again.verdict.value == "ok", "the id is free"

    with_store(open_store, scenario)


def test_earlier_runs_go_with_it(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await ended(store)
        later = step("a", run_id="r2", displaces="r1")
        await committed(store, claim, 3, later, closing("a", 1, "r2", displaces="", expires_ms=9_500))
        await committed(store, claim, 4, removals=(Removal(id="a", run_id="r2", index=NAMES),))
        await nothing_left(store, "a", "r1", "r2")

    with_store(open_store, scenario)


def test_an_earlier_run_goes_alone(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await ended(store)
        await committed(store, claim, 3, step("a", run_id="r2", displaces="r1", timer_ms=70))
        await committed(store, claim, 4, removals=(Removal(id="a", run_id="r1", index=NAMES),))
        assert await store.history("a", "r1") == []
        assert await store.blobs("a", "r1") == {}
        assert await store.load(["a"]) == [Loaded(head=head("r2"), chunks=(b"r2/0",))]
        assert await store.timers(claim.shard, 70, 10) == ([("a", 70)], None)
        assert (await store.ids("type:Trip"))[0] == ["a"], "its indexes are those of the run that is there now"
        await committed(store, claim, 5, closing("a", 1, "r2"))
        await committed(store, claim, 6, removals=(Removal(id="a", run_id="r2", index=NAMES),))
        await nothing_left(store, "a", "r1", "r2")

    with_store(open_store, scenario)


def test_a_run_that_goes_on_stays(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        await committed(store, claim, 1, step("a", timer_ms=70, index=INDEX))
        await committed(store, claim, 2, removals=(Removal(id="a", run_id="r1", index=NAMES),))
        assert await store.load(["a"]) == [Loaded(head=head(), chunks=(b"r1/0",))]
        assert (await store.ids("type:Trip"))[0] == ["a"]
        assert await store.timers(claim.shard, 70, 10) == ([("a", 70)], None)

    with_store(open_store, scenario)


def test_a_removal_comes_after_the_end_in_one_batch_and_may_come_twice(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        gone = Removal(id="a", run_id="r1", index=NAMES)
        end = closing("a", index=INDEX, expires_ms=1, blobs=(("0:args", b"large"),))
        both = batch(claim, 1, end, removals=(gone,), marks=(("a", "r1", 0),))
        verdicts = await store.commit([both, batch(claim, 2, removals=(gone, gone))])
        assert [each.verdict for each in verdicts] == [CommitVerdict.OK, CommitVerdict.OK]
        await nothing_left(store, "a", "r1")

    with_store(open_store, scenario)


def test_a_head_that_cannot_be_read_is_never_removed(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        await committed(store, claim, 1, step("a", head=b"\xc1"))
        await committed(store, claim, 2, removals=(Removal(id="a", run_id="r1"),))
        assert await store.head("a") == b"\xc1"
        assert await store.history("a", "r1") == [b"r1/0"]

    with_store(open_store, scenario)


def test_a_start_that_waits_survives_the_removal_of_what_was_before(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await ended(store)
        await enqueued(store, start("a", "r2"))
        await committed(store, claim, 3, removals=(Removal(id="a", run_id="r1", index=NAMES),))
        assert await store.standing("a") == ("r2", None)

    with_store(open_store, scenario)


def test_what_expired_comes_earliest_first_and_never_more_than_asked_for(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        assert await store.expired(claim.shard, 10, 10) == ([], None)
        ends = [closing("a", run_id=f"r{n}", expires_ms=100 + n) for n in (3, 1, 2, 4)]
        await committed(store, claim, 1, *ends)
        assert await store.expired(claim.shard, 100, 10) == ([], 101)
        assert await store.expired(claim.shard, 103, 2) == ([("a", "r1"), ("a", "r2")], 103)
        assert await store.expired(claim.shard, 103, 10) == ([("a", "r1"), ("a", "r2"), ("a", "r3")], 104)

    with_store(open_store, scenario)


def test_large_payloads_are_loaded_with_the_run_that_has_some(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        heavy = head("r1", Status.RUNNING, 1)
        large = bytes(range(256)) * 4096
        await committed(store, claim, 1, step("a", head=heavy, blobs=(("0:args", large), ("2:result", b"x"))))
        assert await store.blobs("a", "r1") == {"0:args": large, "2:result": b"x"}
        assert (await store.load(["a"]))[0].blobs == {}, "its head says nothing of them"
        told = encode_head(replace(decode_head(heavy), blobs=2, version=2))
        await committed(store, claim, 2, step("a", 1, head=told))
        assert (await store.load(["nobody", "a"]))[1].blobs == {"0:args": large, "2:result": b"x"}

    with_store(open_store, scenario)
