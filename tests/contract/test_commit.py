"""What a commit answers, and that it writes whole shards or nothing."""

import asyncio

import pytest

from sagas.errors import InvalidArgument
from sagas.store.keys import shard_of
from sagas.store.port import Committed, CommitVerdict, Loaded, Status, Store, Token
from tests.conftest import OpenStore
from tests.contract.samples import (
    batch,
    claimed,
    closing,
    committed,
    enqueued,
    head,
    message,
    start,
    step,
    unread,
    with_store,
)

OTHER = "b"  # an id of another shard than "a"'s


async def loaded(store: Store, id: str) -> Loaded:
    (found,) = await store.load([id])
    return found


def test_ok_writes_every_part(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        await store.enqueue(start("a"))
        (mail,) = await unread(store, "a")
        verdict = await committed(
            store,
            claim,
            1,
            step("a", timer_ms=500, busy=True, steps=b"retry", mail=(mail.entry,), admitted=True, index=(("x", 7),)),
        )
        assert verdict == Committed(shard=claim.shard, verdict=CommitVerdict.OK, sequence=1)
        assert await loaded(store, "a") == Loaded(head=head(), chunks=(b"r1/0",), steps=b"retry")
        assert await store.timers(claim.shard, 500, 10) == ([("a", 500)], None)
        assert await store.busy(claim.shard) == ["a"]
        assert await store.ids("x") == (["a"], "")
        assert await store.admitted("a") is None
        assert await unread(store, "a") == []

    with_store(open_store, scenario)


def test_later_steps_take_back_what_earlier_ones_set(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        await committed(store, claim, 1, step("a", timer_ms=500, busy=True, steps=b"retry", index=(("x", 7),)))
        await committed(store, claim, 2, step("a", 1, index=(("x", None),)))
        assert await loaded(store, "a") == Loaded(head=head(version=2), chunks=(b"r1/0", b"r1/1"))
        assert await store.timers(claim.shard, 1000, 10) == ([], None)
        assert await store.busy(claim.shard) == []
        assert await store.ids("x") == ([], "")

    with_store(open_store, scenario)


def test_several_transitions_of_one_instance_in_a_batch(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        verdict = await committed(
            store,
            claim,
            1,
            step("a", 0, timer_ms=500, busy=True, steps=b"retry", index=(("x", 7), ("y", 1))),
            step("a", 1, index=(("x", None), ("y", 2))),
            step("a", 2, chunk=None, timer_ms=900, head=head(version=2)),
        )
        assert verdict.verdict is CommitVerdict.OK
        assert await loaded(store, "a") == Loaded(head=head(version=2), chunks=(b"r1/0", b"r1/1"))
        assert await store.timers(claim.shard, 1000, 10) == ([("a", 900)], None)
        assert await store.busy(claim.shard) == []
        assert await store.ids("x") == ([], "")
        assert await store.ids("y") == (["a"], "")

    with_store(open_store, scenario)


def test_a_run_that_continues_as_new_in_one_batch(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        await committed(store, claim, 1, closing("a", 0, "r1"), step("a", 0, "r2"))
        assert await loaded(store, "a") == Loaded(head=head("r2"), chunks=(b"r2/0",))
        assert await store.history("a", "r1") == [b"r1/0"]

    with_store(open_store, scenario)


def test_no_chunk_leaves_the_history_alone(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        await committed(store, claim, 1, step("a"))
        verdict = await committed(store, claim, 2, step("a", 1, chunk=None, steps=b"retry", head=head()))
        assert verdict.verdict is CommitVerdict.OK
        assert await loaded(store, "a") == Loaded(head=head(), chunks=(b"r1/0",), steps=b"retry")

    with_store(open_store, scenario)


def test_an_empty_batch_is_a_fence_check_that_uses_up_its_sequence(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        assert (await committed(store, claim, 1)).verdict is CommitVerdict.OK
        assert (await committed(store, claim, 1)).verdict is CommitVerdict.DUP
        assert (await claimed(store, "a")).sequence == 1

    with_store(open_store, scenario)


def test_dup_says_success_and_writes_nothing(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        await committed(store, claim, 1, step("a"))
        again = await committed(store, claim, 1, step("a"))
        assert (again.verdict, again.sequence) == (CommitVerdict.DUP, 1)
        assert await store.history("a", "r1") == [b"r1/0"]

    with_store(open_store, scenario)


def test_gap_says_the_last_sequence(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        await committed(store, claim, 1, step("a"))
        gap = await committed(store, claim, 3, step("a", 1))
        assert (gap.verdict, gap.sequence) == (CommitVerdict.GAP, 1)
        assert await store.history("a", "r1") == [b"r1/0"]

    with_store(open_store, scenario)


def test_fenced_by_the_next_claim(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        zombie = await claimed(store, "a", "zombie")
        await committed(store, zombie, 1, step("a"))
        await store.release([zombie], "zombie")
        heir = await claimed(store, "a", "heir")
        fenced = await committed(store, zombie, 2, step("a", 1))
        assert (fenced.verdict, fenced.sequence, fenced.counter) == (CommitVerdict.FENCED, 1, heir.token.counter)
        assert await store.history("a", "r1") == [b"r1/0"]
        assert (await committed(store, heir, heir.sequence + 1, step("a", 1))).verdict is CommitVerdict.OK

    with_store(open_store, scenario)


@pytest.mark.parametrize("change", [{"counter": 2}, {"nonce": "another"}])
def test_a_token_must_be_equal_in_both_parts(open_store: OpenStore, change: dict[str, object]) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        parts = {"counter": claim.token.counter, "nonce": claim.token.nonce}
        (fenced,) = await store.commit([batch(claim, 1, step("a"), token=Token(**(parts | change)))])
        assert fenced.verdict is CommitVerdict.FENCED
        assert await store.head("a") is None

    with_store(open_store, scenario)


def test_a_shard_that_nobody_claimed_is_fenced(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        (fenced,) = await store.commit([batch(claim, 1, shard=shard_of(OTHER))])
        assert (fenced.verdict, fenced.counter) == (CommitVerdict.FENCED, 0)

    with_store(open_store, scenario)


def test_conflict_names_the_instances_and_writes_nothing(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        ids = [f"i{n}" for n in range(2000) if shard_of(f"i{n}") == claim.shard][:3]
        steps = [step(ids[0]), step(ids[1], 4), step(ids[2]), step(ids[2])]
        conflict = await committed(store, claim, 1, *steps)
        assert (conflict.verdict, conflict.ids, conflict.sequence) == (CommitVerdict.CONFLICT, (ids[1], ids[2]), 0)
        assert await store.load(ids) == [Loaded(head=None)] * 3
        assert (await committed(store, claim, 1, step(ids[0]))).verdict is CommitVerdict.OK

    with_store(open_store, scenario)


def test_unread_refuses_to_close_over_newer_mail(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        await store.enqueue(start("a"))
        (first,) = await unread(store, "a")
        await store.enqueue(message("a"))
        refused = await committed(
            store, claim, 1, closing("a", mail=(first.entry,), admitted=True, read_upto=first.entry)
        )
        assert (refused.verdict, refused.ids, refused.sequence) == (CommitVerdict.UNREAD, ("a",), 0)
        assert await store.admitted("a") == "r1"
        entries = tuple(mail.entry for mail in await unread(store, "a"))
        assert len(entries) == 2
        done = await committed(store, claim, 1, closing("a", mail=entries, admitted=True, read_upto=entries[-1]))
        assert done.verdict is CommitVerdict.OK

    with_store(open_store, scenario)


def test_unread_looks_only_at_mail_of_closing_instances(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        neighbour = next(f"i{n}" for n in range(2000) if shard_of(f"i{n}") == claim.shard)
        await store.enqueue(start(neighbour))
        assert (await committed(store, claim, 1, step("a"), closing("a", 1))).verdict is CommitVerdict.OK

    with_store(open_store, scenario)


def test_each_end_is_judged_by_the_mail_it_knows(open_store: OpenStore) -> None:
    """The one that ended first knows less; mail of the other that came between is no reason to refuse."""

    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        neighbour = next(f"i{n}" for n in range(2000) if shard_of(f"i{n}") == claim.shard)
        await enqueued(store, start("a"), start(neighbour))
        first, second = (mail.entry for mail in await unread(store, "a"))
        one = closing("a", mail=(first,), read_upto=first)
        other = closing(neighbour, mail=(second,), read_upto=second)
        assert (await committed(store, claim, 1, one, other)).verdict is CommitVerdict.OK

    with_store(open_store, scenario)


def test_of_several_ends_those_are_named_that_have_mail_they_do_not_know(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        ids = ["a", *(f"i{n}" for n in range(4000) if shard_of(f"i{n}") == claim.shard)][:3]
        await enqueued(store, *map(start, ids), message(ids[0]), message(ids[2]))
        entries = [mail.entry for mail in await unread(store, "a")]
        steps = [
            closing(ids[0], mail=(entries[0],), read_upto=entries[2]),
            closing(ids[1], mail=(entries[1],), read_upto=entries[1]),
            closing(ids[2], mail=(entries[2],), read_upto=entries[4]),
        ]
        refused = await committed(store, claim, 1, *steps, discard=tuple(entries[3:]))
        assert (refused.verdict, refused.ids) == (CommitVerdict.UNREAD, (ids[0],))
        assert len(await unread(store, "a")) == 5

    with_store(open_store, scenario)


def test_mail_that_an_end_itself_applied_is_known_to_it(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        await enqueued(store, start("a"), *(message("a") for _ in range(12)))
        entries = tuple(mail.entry for mail in await unread(store, "a"))
        late = await committed(store, claim, 1, closing("a", mail=entries[:12], read_upto=entries[0]))
        assert late.verdict is CommitVerdict.UNREAD
        done = await committed(store, claim, 1, closing("a", mail=(entries[12], entries[0]), read_upto="0"))
        assert done.verdict is CommitVerdict.OK

    with_store(open_store, scenario)


def test_unread_finds_mail_behind_a_long_queue(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        neighbour = next(f"i{n}" for n in range(2000) if shard_of(f"i{n}") == claim.shard)
        await store.enqueue(start(neighbour))
        await asyncio.gather(*(store.enqueue(message(neighbour)) for _ in range(600)))
        await store.enqueue(start("a"))
        assert (await committed(store, claim, 1, closing("a"))).verdict is CommitVerdict.UNREAD

    with_store(open_store, scenario)


def test_each_shard_has_its_own_verdict(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        one, other = await claimed(store, "a"), await claimed(store, OTHER)
        assert one.shard != other.shard
        verdicts = await store.commit([batch(one, 1, step("a", 5)), batch(other, 1, step(OTHER))])
        assert [each.verdict for each in verdicts] == [CommitVerdict.CONFLICT, CommitVerdict.OK]
        assert [each.shard for each in verdicts] == [one.shard, other.shard]
        assert await store.head("a") is None
        assert await store.head(OTHER) == head()

    with_store(open_store, scenario)


def test_two_batches_of_one_shard_in_one_flush(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        verdicts = await store.commit([batch(claim, 1, step("a")), batch(claim, 2, step("a", 1))])
        assert [each.verdict for each in verdicts] == [CommitVerdict.OK] * 2
        assert await store.history("a", "r1") == [b"r1/0", b"r1/1"]

    with_store(open_store, scenario)


def test_a_newer_admission_outlives_the_commit_of_an_older_one(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        await store.enqueue(start("a", "r1"))
        await store.enqueue(start("a", "r2", on_conflict="terminate_existing", terminate_mail=b"terminate"))
        await committed(store, claim, 1, step("a", 0, "r1", admitted=True))
        assert await store.admitted("a") == "r2"
        await committed(store, claim, 2, closing("a", 1, "r1", Status.TERMINATED, read_upto="99999999999999-0"))
        await committed(store, claim, 3, step("a", 0, "r2", admitted=True))
        assert await store.admitted("a") is None

    with_store(open_store, scenario)


def test_a_large_flush(open_store: OpenStore) -> None:
    """More of everything than fits the arguments of one Redis command in a script."""

    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        ids = [f"i{n}" for n in range(400_000) if shard_of(f"i{n}") == claim.shard][:5000]
        steps = [step(id, timer_ms=n, busy=True, steps=b"retry", index=(("x", n),)) for n, id in enumerate(ids)]
        assert (await committed(store, claim, 1, *steps)).verdict is CommitVerdict.OK
        assert len(await store.busy(claim.shard)) == 5000
        assert (await store.timers(claim.shard, 9999, 3)) == ([(ids[0], 0), (ids[1], 1), (ids[2], 2)], 3)
        away = [step(id, 1, index=(("x", None),)) for id in ids]
        gone = tuple(f"1-{n}" for n in range(5000))
        assert (await committed(store, claim, 2, *away, discard=gone)).verdict is CommitVerdict.OK
        assert await store.busy(claim.shard) == []
        assert await store.ids("x") == ([], "")

    with_store(open_store, scenario)


@pytest.mark.parametrize(
    "wrong", [{"discard": ("nonsense",)}, {"sent": ("+",)}, {"discard": ("1-1,2-2 ",)}, {"discard": ("9" * 20,)}]
)
def test_what_is_no_entry_id_is_refused_before_anything_is_sent(
    open_store: OpenStore, wrong: dict[str, object]
) -> None:
    async def scenario(store: Store) -> None:
        one, other = await claimed(store, "a"), await claimed(store, OTHER)
        with pytest.raises(InvalidArgument, match="entry ids"):
            await store.commit([batch(other, 1, step(OTHER)), batch(one, 1, step("a"), **wrong)])
        assert await store.head(OTHER) is None

    with_store(open_store, scenario)


def test_an_end_must_know_an_entry_id(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        with pytest.raises(InvalidArgument, match="entry ids"):
            await committed(store, claim, 1, closing("a", read_upto="+"))
        assert await store.head("a") is None

    with_store(open_store, scenario)


def test_binary_chunks_and_strange_ids_arrive_unchanged(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        for id in ("ü:%25 {x}", "a b\nc", "%", ":", "日本"):
            claim = await claimed(store, id)
            chunk = bytes(range(256)) * 300
            verdict = await committed(store, claim, claim.sequence + 1, step(id, chunk=chunk, steps=b"\x00\xff"))
            assert verdict.verdict is CommitVerdict.OK
            assert await loaded(store, id) == Loaded(head=head(), chunks=(chunk,), steps=b"\x00\xff")

    with_store(open_store, scenario)


def test_no_batches_no_verdicts(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        assert await store.commit([]) == []

    with_store(open_store, scenario)
