"""Leases and members: who has a shard, for how long, and who is alive."""

from dataclasses import replace
from typing import Any

from sagas.store.port import Claim, CommitVerdict, Store, Token
from tests.conftest import OpenStore
from tests.contract.samples import TTL_MS, committed, eventually, with_store


async def taken(store: Store, shard: int, owner: str, ttl_ms: int = TTL_MS) -> Claim:
    claim = await store.claim(shard, owner, ttl_ms)
    assert claim is not None
    return claim


def test_a_free_shard_is_taken_once(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await taken(store, 3, "a")
        assert (claim.shard, claim.sequence, claim.token.counter) == (3, 0, 1)
        assert await store.claim(3, "b", TTL_MS) is None
        assert await store.claim(4, "b", TTL_MS) is not None

    with_store(open_store, scenario)


def test_an_owner_that_claims_again_gets_a_fresh_token(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        first, second = await taken(store, 3, "a"), await taken(store, 3, "a")
        assert second.token.counter == first.token.counter + 1
        assert second.token.nonce != first.token.nonce
        assert (await committed(store, first, 1)).verdict is CommitVerdict.FENCED
        assert (await committed(store, second, 1)).verdict is CommitVerdict.OK

    with_store(open_store, scenario)


def test_a_claim_goes_on_from_the_last_sequence(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await taken(store, 3, "a")
        for sequence in (1, 2, 3):
            await committed(store, claim, sequence)
        await store.release([claim], "a")
        assert (await taken(store, 3, "b")).sequence == 3

    with_store(open_store, scenario)


def test_an_expired_lease_is_free(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        await taken(store, 3, "a", ttl_ms=20)
        assert await eventually(lambda: store.claim(3, "b", 20))

    with_store(open_store, scenario)


def test_renew_extends_what_is_still_held(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        short = await taken(store, 3, "a", ttl_ms=20)
        kept = await taken(store, 4, "a")
        assert await eventually(lambda: store.claim(3, "b", TTL_MS))
        assert await store.renew([short, kept], "a", TTL_MS) == [4]
        assert await store.renew([kept], "b", TTL_MS) == []
        assert await store.renew([], "a", TTL_MS) == []

    with_store(open_store, scenario)


def test_renew_needs_the_token_as_well(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        old = await taken(store, 3, "a")
        new = await taken(store, 3, "a")
        forged = Claim(shard=3, token=Token(counter=new.token.counter, nonce="forged"), sequence=0)
        assert await store.renew([old], "a", TTL_MS) == []
        assert await store.renew([forged], "a", TTL_MS) == []
        assert await store.renew([new], "a", TTL_MS) == [3]

    with_store(open_store, scenario)


def test_a_late_renewal_counts_while_nobody_took_the_shard(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await taken(store, 3, "a", ttl_ms=0)
        assert await store.renew([claim], "a", TTL_MS) == [3]
        assert await store.claim(3, "b", TTL_MS) is None

    with_store(open_store, scenario)


def test_release_frees_the_shard_at_once(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await taken(store, 3, "a")
        await store.release([claim], "a")
        assert await store.renew([claim], "a", TTL_MS) == []
        assert await store.claim(3, "b", TTL_MS) is not None

    with_store(open_store, scenario)


def test_release_of_what_another_has_does_nothing(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        old = await taken(store, 3, "a")
        new = await taken(store, 3, "a")
        await store.release([old], "a")
        await store.release([new], "b")
        await store.release([], "b")
        assert await store.claim(3, "b", TTL_MS) is None
        assert await store.renew([new], "a", TTL_MS) == [3]

    with_store(open_store, scenario)


# --- back after a failover: a claim from a future that the store does not know


def from_the_future(claim: Claim, **changes: Any) -> Claim:
    later = Token(counter=claim.token.counter + 4, nonce="future")
    return replace(claim, **{"token": later, "owner": "future"} | changes)


def test_a_shard_that_went_back_is_reclaimed(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        old = await taken(store, 3, "a")
        await committed(store, old, 1)
        lost = from_the_future(old, sequence=1)
        back = await store.reclaim(lost, old.token.counter)
        assert back is not None
        assert (back.token, back.sequence) == (Token(counter=lost.token.counter + 1, nonce="future"), 1)
        assert (await committed(store, old, 2)).verdict is CommitVerdict.FENCED
        assert (await committed(store, lost, 2)).verdict is CommitVerdict.FENCED
        assert (await committed(store, back, 2)).verdict is CommitVerdict.OK
        assert await store.renew([back], "future", TTL_MS) == [3]
        assert await store.claim(3, "b", TTL_MS) is None

    with_store(open_store, scenario)


def test_a_reclaim_whose_reply_was_lost_is_asked_again(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        old = await taken(store, 3, "a")
        lost = from_the_future(old)
        assert await store.reclaim(lost, old.token.counter) == await store.reclaim(lost, old.token.counter) is not None

    with_store(open_store, scenario)


def test_a_shard_of_nobody_is_reclaimed(open_store: OpenStore) -> None:
    """The store lost everything."""

    async def scenario(store: Store) -> None:
        lost = Claim(shard=3, token=Token(counter=7, nonce="n"), sequence=0, owner="a", ttl_ms=TTL_MS)
        back = await store.reclaim(lost, 0)
        assert back is not None
        assert back.token.counter == 8

    with_store(open_store, scenario)


def test_a_reclaim_comes_too_late(open_store: OpenStore) -> None:
    """Another has claimed since FENCED named the counter, or somebody has written since the claim."""

    async def scenario(store: Store) -> None:
        old = await taken(store, 3, "a")
        seen = old.token.counter
        new = await taken(store, 3, "a")
        assert await store.reclaim(from_the_future(old), seen) is None
        await committed(store, new, 1)
        assert await store.reclaim(from_the_future(old), new.token.counter) is None
        assert (await committed(store, new, 2)).verdict is CommitVerdict.OK

    with_store(open_store, scenario)


def test_fenced_says_where_the_present_reign_began(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        old = await taken(store, 3, "a")
        await committed(store, old, 1)
        new = await taken(store, 3, "a")
        await committed(store, new, 2)
        await committed(store, new, 3)
        assert (await committed(store, old, 2)).sequence == 1

    with_store(open_store, scenario)


def test_members_come_go_and_run_out(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        assert await store.members("b", TTL_MS) == ["b"]
        assert await store.members("a", TTL_MS) == ["a", "b"]
        assert await store.members("b", 0) == ["a"]
        await store.members("short", 20)

        async def run_out() -> bool:
            return await store.members("a", TTL_MS) == ["a"]

        await eventually(run_out)

    with_store(open_store, scenario)
