"""Who owns what: fair shares of the shards, handed over when hosts come, leave or fall silent. Time is set by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import pytest

from sagas.engine.leases import Leases
from sagas.errors import StoreUnavailable
from sagas.store.memory import MemoryStore
from sagas.store.port import SHARDS, Batch, Claim, CommitVerdict

TTL_MS = 3000


class Clock:
    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


class Node:
    """An owner that holds shards and does nothing with them."""

    def __init__(self, store: MemoryStore, name: str) -> None:
        self.held: dict[int, Claim] = {}
        self.lost: list[int] = []
        self.leases = Leases(store, self, name, TTL_MS, lambda: False)

    def claims(self) -> Iterable[Claim]:
        return list(self.held.values())

    def leaving(self) -> bool:
        return False

    async def take(self, claim: Claim) -> None:
        assert claim.shard not in self.held
        self.held[claim.shard] = claim

    async def give_up(self, shards: set[int]) -> list[Claim]:
        return [self.held.pop(shard) for shard in shards]

    def not_renewed(self, claim: Claim) -> None:
        self.lost.append(claim.shard)
        del self.held[claim.shard]


class World:
    def __init__(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(clock=self.clock)
        self.nodes: list[Node] = []

    async def join(self) -> Node:
        node = Node(self.store, f"node-{len(self.nodes)}")
        self.nodes.append(node)
        await node.leases.balance()
        return node

    async def rounds(self, count: int = 4, nodes: Iterable[Node] | None = None) -> None:
        for _ in range(count):
            self.clock.ms += TTL_MS // 3
            for node in self.nodes if nodes is None else nodes:
                await node.leases.balance()
            self.check()

    def check(self) -> None:
        """No shard has two owners who both may write."""
        owners: dict[int, int] = {}
        for node in self.nodes:
            for shard, claim in node.held.items():
                if self.store._shards[shard].token == claim.token:
                    owners[shard] = owners.get(shard, 0) + 1
        assert all(count == 1 for count in owners.values())

    def shares(self) -> list[int]:
        return [len(node.held) for node in self.nodes]


def play(scenario: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario(World())

    asyncio.run(main())


def test_one_host_owns_all() -> None:
    async def scenario(world: World) -> None:
        await world.join()
        assert world.shares() == [SHARDS]

    play(scenario)


def test_two_then_three_hosts_share_fairly_and_nothing_is_left_over() -> None:
    async def scenario(world: World) -> None:
        await world.join()
        await world.join()
        await world.rounds()
        assert world.shares() == [32, 32]
        await world.join()
        await world.rounds()
        assert sorted(world.shares()) == [20, 22, 22]
        assert {shard for node in world.nodes for shard in node.held} == set(range(SHARDS))
        assert [node.lost for node in world.nodes] == [[], [], []]

    play(scenario)


def test_more_hosts_than_shards_is_no_quarrel() -> None:
    async def scenario(world: World) -> None:
        for _ in range(SHARDS + 3):
            await world.join()
        await world.rounds(3)
        assert sum(world.shares()) == SHARDS
        assert max(world.shares()) == 1

    play(scenario)


def test_what_rests_at_rest_stays_where_it_is() -> None:
    async def scenario(world: World) -> None:
        for _ in range(3):
            await world.join()
        await world.rounds(6)
        before = [dict(node.held) for node in world.nodes]
        await world.rounds(6)
        assert [dict(node.held) for node in world.nodes] == before

    play(scenario)


def test_a_host_that_leaves_hands_over_at_once() -> None:
    async def scenario(world: World) -> None:
        first, second = await world.join(), await world.join()
        await world.rounds()
        await first.leases.leave()
        first.held.clear()
        await second.leases.balance()  # no time has passed
        assert len(second.held) == SHARDS

    play(scenario)


def test_a_host_that_falls_silent_is_taken_over_when_its_leases_end_and_is_fenced() -> None:
    async def scenario(world: World) -> None:
        silent, other = await world.join(), await world.join()
        await world.rounds()
        before = dict(silent.held)
        world.clock.ms += TTL_MS // 2
        await other.leases.balance()
        assert len(other.held) == 32
        world.clock.ms += TTL_MS
        await other.leases.balance()
        assert len(other.held) == SHARDS
        some = next(iter(before.values()))
        (verdict,) = await world.store.commit([Batch(shard=some.shard, token=some.token, sequence=some.sequence + 1)])
        assert verdict.verdict is CommitVerdict.FENCED
        await silent.leases.balance()  # it wakes up again
        assert set(silent.lost) == set(before)
        await world.rounds()
        assert world.shares() == [32, 32]

    play(scenario)


def test_a_lease_that_ran_out_and_that_nobody_took_is_renewed() -> None:
    async def scenario(world: World) -> None:
        node = await world.join()
        before = dict(node.held)
        world.clock.ms += 10 * TTL_MS
        await node.leases.balance()
        assert node.held == before
        assert node.lost == []

    play(scenario)


def test_a_claim_whose_reply_was_lost_is_claimed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        original, failed = world.store.claim, []

        async def flaky(shard: int, owner: str, ttl_ms: int) -> Claim | None:
            claim = await original(shard, owner, ttl_ms)
            if not failed:
                failed.append(shard)
                raise StoreUnavailable("the reply was lost")
            return claim

        monkeypatch.setattr(world.store, "claim", flaky)
        with pytest.raises(StoreUnavailable):
            await world.join()
        await world.rounds(1)
        assert world.shares() == [SHARDS]
        assert world.store._shards[failed[0]].token == world.nodes[0].held[failed[0]].token

    play(scenario)
