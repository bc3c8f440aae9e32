"""Mailboxes: order, waiting, and deletion of exactly what was applied."""

import asyncio

from sagas.store.keys import shard_of
from sagas.store.port import CommitVerdict, Store
from tests.conftest import OpenStore
from tests.contract.samples import (
    DEADLINE_S,
    bodies,
    claimed,
    committed,
    enqueued,
    message,
    start,
    step,
    unread,
    with_store,
)

LONG_MS = 600_000
OTHER = "b"  # in another shard than "a"


def test_mail_keeps_its_order_and_says_whose_it_is(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        neighbour = next(f"i{n}" for n in range(2000) if shard_of(f"i{n}") == shard_of("a"))
        await enqueued(store, start("a"), start(neighbour), message("a", b"1"), message(neighbour, b"2"))
        mail = await unread(store, "a")
        assert [(each.id, each.body) for each in mail] == [
            ("a", b"start"),
            (neighbour, b"start"),
            ("a", b"1"),
            (neighbour, b"2"),
        ]
        assert {each.shard for each in mail} == {shard_of("a")}
        entries = [tuple(map(int, each.entry.split("-"))) for each in mail]
        assert entries == sorted(set(entries))

    with_store(open_store, scenario)


def test_reading_goes_on_after_an_entry(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        await enqueued(store, start("a"), *(message("a", b"%d" % n) for n in range(5)))
        read: list[bytes] = []
        after = "0"
        while mail := await store.read_mail({shard_of("a"): after}, block_ms=0, limit=2):
            assert len(mail) <= 2
            read += bodies(mail)
            after = mail[-1].entry
        assert read == [b"start", b"0", b"1", b"2", b"3", b"4"]

    with_store(open_store, scenario)


def test_several_shards_share_the_limit(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        for id in ("a", OTHER):
            await enqueued(store, start(id), *(message(id) for _ in range(9)))
        mail = await store.read_mail({shard_of("a"): "0", shard_of(OTHER): "0"}, block_ms=0, limit=6)
        assert [each.id for each in mail] == ["a"] * 3 + [OTHER] * 3

    with_store(open_store, scenario)


def test_only_the_shards_asked_for_are_read(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        await enqueued(store, start("a"), start(OTHER))
        assert [each.id for each in await unread(store, OTHER)] == [OTHER]
        assert await store.read_mail({}, block_ms=1) == []

    with_store(open_store, scenario)


def test_a_reader_waits_for_the_first_mail(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        reading = asyncio.create_task(store.read_mail({shard_of("a"): "0", shard_of(OTHER): "0"}, LONG_MS))
        await store.enqueue(start(OTHER))
        async with asyncio.timeout(DEADLINE_S):
            assert bodies(await reading) == [b"start"]

    with_store(open_store, scenario)


def test_an_empty_mailbox_gives_up_in_time(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        async with asyncio.timeout(DEADLINE_S):
            assert await store.read_mail({shard_of("a"): "0"}, block_ms=10) == []

    with_store(open_store, scenario)


def test_readers_of_one_store_do_not_hinder_each_other(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        one = asyncio.create_task(store.read_mail({shard_of("a"): "0"}, LONG_MS))
        other = asyncio.create_task(store.read_mail({shard_of(OTHER): "0"}, LONG_MS))
        async with asyncio.timeout(DEADLINE_S):
            await store.enqueue(start(OTHER, mail=b"other"))
            assert bodies(await other) == [b"other"]
            await store.enqueue(start("a", mail=b"one"))
            assert bodies(await one) == [b"one"]

    with_store(open_store, scenario)


def test_a_cancelled_reader_costs_nobody_mail(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        for _ in range(3):
            reading = asyncio.create_task(store.read_mail({shard_of("a"): "0"}, LONG_MS))
            await store.head("a")
            reading.cancel()
            await asyncio.wait([reading])
            assert reading.cancelled()
        await store.enqueue(start("a"))
        assert bodies(await unread(store, "a")) == [b"start"]

    with_store(open_store, scenario)


def test_closing_ends_a_read_that_waits(open_store: OpenStore) -> None:
    async def run() -> None:
        async with open_store() as store:
            reading = asyncio.create_task(store.read_mail({shard_of("a"): "0"}, LONG_MS))
            resting = asyncio.create_task(store.read_mail({}, LONG_MS))
            await store.enqueue(start(OTHER))
        async with asyncio.timeout(DEADLINE_S):
            assert await reading == []
            assert await resting == []

    asyncio.run(run())


def test_mail_survives_closing_the_store(open_store: OpenStore) -> None:
    async def write() -> None:
        async with open_store() as store:
            await store.enqueue(start("a"))

    async def read() -> list[bytes]:
        async with open_store() as store:
            return bodies(await unread(store, "a"))

    asyncio.run(write())
    assert asyncio.run(read()) == [b"start"]


def test_a_commit_deletes_exactly_what_it_names(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        await enqueued(store, start("a"), *(message("a", b"%d" % n) for n in range(4)))
        mail = await unread(store, "a")
        gone = {"mail": (mail[0].entry, mail[2].entry)}
        await committed(store, claim, 1, step("a", **gone), discard=(mail[4].entry, "1-1"))
        assert bodies(await unread(store, "a")) == [b"0", b"2"]

    with_store(open_store, scenario)


def test_a_refused_commit_deletes_nothing(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        await store.enqueue(start("a"))
        (mail,) = await unread(store, "a")
        refused = await committed(store, claim, 1, step("a", 7, mail=(mail.entry,)), discard=(mail.entry,))
        assert refused.verdict is CommitVerdict.CONFLICT
        assert await unread(store, "a") == [mail]

    with_store(open_store, scenario)


def test_entries_never_repeat_after_everything_was_deleted(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        await store.enqueue(start("a"))
        (first,) = await unread(store, "a")
        await committed(store, claim, 1, discard=(first.entry,))
        await store.enqueue(message("a"))
        (second,) = await unread(store, "a", after=first.entry)
        assert second.entry != first.entry

    with_store(open_store, scenario)
