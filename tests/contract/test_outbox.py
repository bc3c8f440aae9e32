"""Messages from instance to instance: written with the commit, relayed in order, applied once whoever repeats them."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from sagas.store.keys import shard_of
from sagas.store.port import (
    Admission,
    AdmissionVerdict,
    Admitted,
    Claim,
    CommitVerdict,
    Origin,
    Outgoing,
    Status,
    Store,
)
from tests.conftest import OpenStore
from tests.contract.samples import (
    applied,
    bodies,
    claimed,
    closing,
    committed,
    message,
    start,
    step,
    unread,
    with_store,
)

V = AdmissionVerdict
SOURCE, TARGET = "a", "b"  # in different shards
HERE = shard_of(SOURCE)


def origin(sequence: int, index: int = 0, counter: int = 1, shard: int = HERE) -> Origin:
    return Origin(shard=shard, counter=counter, sequence=sequence, index=index)


def relayed(of: Origin, id: str = TARGET, **changes: Any) -> Admission:
    """As its message id is forgotten at once, the origin alone tells a repeat."""
    return message(id, **{"origin": of, "remember_ms": 0} | changes)


async def sent(store: Store, claim: Claim, sequence: int, *bodies: bytes) -> None:
    verdict = await committed(store, claim, sequence, step(SOURCE, sequence - 1, outbox=bodies))
    assert verdict.verdict is CommitVerdict.OK


# --- the outbox ---


def test_messages_stand_in_order_with_their_origins(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, SOURCE)
        neighbour = next(f"i{n}" for n in range(2000) if shard_of(f"i{n}") == HERE)
        await committed(store, claim, 1, step(SOURCE, outbox=(b"1", b"2")), step(neighbour), step(SOURCE, 1))
        await committed(store, claim, 2, step(SOURCE, 2), step(neighbour, 1, outbox=(b"\x00\xff",)))
        counter = claim.token.counter
        assert await store.outbox(HERE) == [
            Outgoing(entry="1-0", origin=origin(1, 0, counter), body=b"1"),
            Outgoing(entry="1-1", origin=origin(1, 1, counter), body=b"2"),
            Outgoing(entry="2-0", origin=origin(2, 0, counter), body=b"\x00\xff"),
        ]
        assert await store.outbox(shard_of(TARGET)) == []

    with_store(open_store, scenario)


def test_an_outbox_is_read_on_from_an_entry(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, SOURCE)
        for sequence in range(1, 13):
            await sent(store, claim, sequence, b"x", b"y")
        read: list[Origin] = []
        after = "0"
        while page := await store.outbox(HERE, after, 5):
            assert len(page) <= 5
            read += (each.origin for each in page)
            after = page[-1].entry
        assert read == [origin(sequence, index) for sequence in range(1, 13) for index in (0, 1)]

    with_store(open_store, scenario)


def test_a_commit_deletes_exactly_what_was_sent(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, SOURCE)
        await sent(store, claim, 1, b"1", b"2", b"3")
        assert (await committed(store, claim, 2, sent=("1-0", "1-2", "9-9"))).verdict is CommitVerdict.OK
        assert [each.body for each in await store.outbox(HERE)] == [b"2"]
        refused = await committed(store, claim, 9, sent=("1-1",))
        assert refused.verdict is CommitVerdict.GAP
        assert len(await store.outbox(HERE)) == 1

    with_store(open_store, scenario)


def test_a_batch_sent_again_sends_no_message_again(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, SOURCE)
        await sent(store, claim, 1, b"1")
        assert (await committed(store, claim, 1, step(SOURCE, outbox=(b"1",)))).verdict is CommitVerdict.DUP
        assert len(await store.outbox(HERE)) == 1

    with_store(open_store, scenario)


def test_origins_grow_over_owners_and_a_batch_written_again_keeps_its_own(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        old = await claimed(store, SOURCE)
        await sent(store, old, 1, b"1")
        new = await claimed(store, SOURCE)
        await sent(store, new, 2, b"2")
        await committed(store, new, 3, step(SOURCE, 2, outbox=(b"3",)), epoch=77)
        origins = [each.origin for each in await store.outbox(HERE)]
        assert origins == [origin(1, 0, 1), origin(2, 0, 2), origin(3, 0, 77)]
        assert origins == sorted(origins)

    with_store(open_store, scenario)


# --- the door of the target ---


@pytest.mark.parametrize("older", [origin(5, 1), origin(5, 0), origin(4, 9), origin(9, 9, counter=0)])
def test_what_is_not_newer_is_known_and_writes_nothing(open_store: OpenStore, older: Origin) -> None:
    async def scenario(store: Store) -> None:
        await store.enqueue(start(TARGET))
        assert (await store.enqueue(relayed(origin(5, 1)))).verdict is V.OK
        assert (await store.enqueue(relayed(older, body=b"again"))).verdict is V.KNOWN
        assert bodies(await unread(store, TARGET)) == [b"start", b"hello"]

    with_store(open_store, scenario)


@pytest.mark.parametrize("newer", [origin(5, 2), origin(6, 0), origin(10, 0), origin(1, 0, counter=2)])
def test_what_is_newer_is_accepted(open_store: OpenStore, newer: Origin) -> None:
    async def scenario(store: Store) -> None:
        await store.enqueue(start(TARGET))
        for each in (origin(5, 1), newer):
            assert (await store.enqueue(relayed(each))).verdict is V.OK
        assert len(await unread(store, TARGET)) == 3

    with_store(open_store, scenario)


def test_sources_and_targets_are_apart(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        for id in (TARGET, "c"):
            await store.enqueue(start(id))
        assert shard_of("c") != shard_of(TARGET)
        for each in (relayed(origin(5)), relayed(origin(1, shard=60)), relayed(origin(1), "c")):
            assert (await store.enqueue(each)).verdict is V.OK
        assert (await store.enqueue(message(TARGET))).verdict is V.OK  # a client has no origin

    with_store(open_store, scenario)


def test_a_repeated_start_names_its_run(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        child = start(TARGET, "r7", origin=origin(5), remember_ms=0)
        assert (await store.enqueue(child)).verdict is V.OK
        assert await store.enqueue(child) == Admitted(verdict=V.KNOWN, run_id="r7")

    with_store(open_store, scenario)


async def ended(store: Store) -> None:
    claim = await applied(store, TARGET, start(TARGET))
    await committed(store, claim, 2, closing(TARGET, 1, status=Status.FAILED))


async def live(store: Store) -> None:
    await applied(store, TARGET, start(TARGET))


async def nobody(store: Store) -> None:
    """The target never was."""


REFUSED = {
    "not found": (nobody, {}, V.NOT_FOUND),
    "closed": (ended, {}, V.CLOSED),
    "already started": (live, {"kind": "start", "run_id": "r2"}, V.ALREADY_STARTED),
}


@pytest.mark.parametrize(("before", "more", "verdict"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_is_said_again_word_for_word(
    open_store: OpenStore, before: Any, more: dict[str, Any], verdict: AdmissionVerdict
) -> None:
    async def scenario(store: Store) -> None:
        await before(store)
        first = await store.enqueue(relayed(origin(5), **more))
        assert first.verdict is verdict
        await store.enqueue(start(TARGET, "r9", on_conflict="terminate_existing", terminate_mail=b"terminate"))
        old = len(await unread(store, TARGET))
        assert await store.enqueue(relayed(origin(5), **more)) == first
        assert (await store.enqueue(relayed(origin(4)))).verdict is V.KNOWN
        assert len(await unread(store, TARGET)) == old
        assert (await store.enqueue(relayed(origin(6)))).verdict is V.OK
        assert (await store.enqueue(relayed(origin(5), **more))).verdict is V.KNOWN

    with_store(open_store, scenario)


def test_a_full_mailbox_moves_nothing(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        await store.enqueue(start(TARGET))
        await store.enqueue(message(TARGET))
        assert (await store.enqueue(relayed(origin(5)))).verdict is V.OVERLOADED
        claim = await claimed(store, TARGET)
        first, *_ = await unread(store, TARGET)
        await committed(store, claim, 1, step(TARGET, mail=(first.entry,), admitted=True))
        assert (await store.enqueue(relayed(origin(5)))).verdict is V.OK
        assert (await store.enqueue(relayed(origin(5)))).verdict is V.KNOWN

    with_store(open_store, scenario, mailbox_limit=2)


# --- a relay as the port asks for it, that dies anywhere, beside one that was frozen


class Relay:
    """Brings a source's messages to one target. ``crash`` decides before each call whether it dies there."""

    def __init__(self, store: Store, claim: Claim, sequence: int, dice: random.Random) -> None:
        self.store = store
        self.claim = claim
        self.sequence = sequence
        self.dice = dice
        self.recorded: dict[bytes, V] = {}

    async def run(self) -> bool:
        """Whether it brought everything."""
        done: list[str] = []
        for each in await self.store.outbox(HERE):
            if self.dice.random() < 0.3:
                return False
            answer = await self.store.enqueue(relayed(each.origin, body=each.body, id=each.body.decode()[0]))
            if self.dice.random() < 0.2:
                return False
            self.recorded[each.body] = answer.verdict
            done.append(each.entry)
            if answer.verdict not in (V.OK, V.KNOWN):
                await self.record(done)
        await self.record(done)
        return True

    async def record(self, done: list[str]) -> None:
        self.sequence += 1
        verdict = await committed(self.store, self.claim, self.sequence, sent=tuple(done))
        assert verdict.verdict is CommitVerdict.OK
        done.clear()


@pytest.mark.parametrize("seed", range(4))
def test_relays_that_die_and_repeat_apply_every_message_once_and_in_order(open_store: OpenStore, seed: int) -> None:
    """Messages to "b" are accepted; those to "c" refused, as it starts only when their refusal is recorded."""

    async def scenario(store: Store) -> None:
        dice = random.Random(seed)
        claim = await claimed(store, SOURCE)
        await store.enqueue(start("b"))
        bodies_sent = [f"{dice.choice('bbc')}{n}".encode() for n in range(8)]
        await sent(store, claim, 1, *bodies_sent)
        frozen = await store.outbox(HERE)
        relay = Relay(store, claim, 1, dice)
        while not await relay.run():
            for each in dice.choices(frozen, k=2):  # a zombie repeats what has been sent so far
                if each.body in relay.recorded:
                    again = await store.enqueue(relayed(each.origin, body=each.body, id=each.body.decode()[0]))
                    assert again.verdict is not V.OK
        await store.enqueue(start("c"))
        for each in frozen:
            assert (await store.enqueue(relayed(each.origin, id=each.body.decode()[0]))).verdict is not V.OK
        assert bodies(await unread(store, "b")) == [b"start", *(body for body in bodies_sent if body[:1] == b"b")]
        assert bodies(await unread(store, "c")) == [b"start"]
        refused = {body for body, verdict in relay.recorded.items() if verdict is V.NOT_FOUND}
        assert refused == {body for body in bodies_sent if body[:1] == b"c"}
        assert await store.outbox(HERE) == []

    with_store(open_store, scenario)


# --- how far a run's history is exported


def test_marks_are_kept_until_they_are_removed(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, SOURCE)
        assert await store.marks(HERE) == []
        await committed(store, claim, 1, marks=(("a:b", "r1", 7), ("a", "r2", 2**40), ("a", "r1", 1)))
        await committed(store, claim, 2, marks=(("a", "r1", 3), ("c", "r1", 1)), unmarks=(("c", "r1"), ("d", "r1")))
        assert await store.marks(HERE) == [("a", "r1", 3), ("a", "r2", 2**40), ("a:b", "r1", 7)]
        refused = await committed(
            store, replace(claim, token=replace(claim.token, nonce="x")), 3, unmarks=(("a", "r1"),)
        )
        assert refused.verdict is CommitVerdict.FENCED
        await committed(store, claim, 3, unmarks=(("a", "r1"), ("a", "r2")))
        assert await store.marks(HERE) == [("a:b", "r1", 7)]

    with_store(open_store, scenario)
