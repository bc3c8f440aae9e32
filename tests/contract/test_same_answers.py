"""Whatever is asked of them, in whatever order, the memory store and a real server give the same answers."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, assert_never

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagas.store.head import decode_head, encode_head
from sagas.store.keys import shard_of
from sagas.store.memory import MemoryStore
from sagas.store.port import (
    Admission,
    Batch,
    Claim,
    Committed,
    CommitVerdict,
    Mail,
    Origin,
    Removal,
    Status,
    Store,
    Transition,
)
from sagas.store.redis import RedisStore
from tests.conftest import check_keys
from tests.contract.samples import TTL_MS, head
from tests.servers import Server

# Three instances: two share a shard, one is alone.
NEIGHBOUR = next(f"n{n}" for n in range(9999) if shard_of(f"n{n}") == shard_of("a"))
IDS = ("a", NEIGHBOUR, "b")
SHARDS = (shard_of("a"), shard_of("b"))
RUNS = ("r1", "r2", "r3")
INDEXES = ("x", "y")
OWNERS = ("a", "b")
MAILBOX_LIMIT = 8


@dataclass(frozen=True, kw_only=True)
class Step:
    """A transition, as far as it can be said before it is known what the store holds."""

    id: str
    run_id: str
    status: Status
    ahead: int  # how wrong its version is
    takes: int  # how much of the unread mail it applies
    knows: int  # how much of it it has read, when it ends a run
    fields: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Flush:
    """A commit of every shard that somebody claimed."""

    steps: list[Step]
    claim: int  # the youngest is 0
    ahead: int  # 1 is the right sequence
    drops: int
    sends: int  # how much of the outbox was relayed
    marks: tuple[tuple[str, str, int], ...]
    unmarks: tuple[tuple[str, str], ...]
    epoch: int
    removals: tuple[Removal, ...]


@dataclass(frozen=True)
class Take:
    shard: int
    owner: str


@dataclass(frozen=True)
class Keep:
    """Renew, release or take back a claim, perhaps an old one, perhaps as somebody else."""

    how: Literal["renew", "release", "reclaim"]
    shard: int
    claim: int
    owner: str


@dataclass(frozen=True)
class Ask:
    """Any call that only reads (or that says the same to both)."""

    method: str
    arguments: tuple[object, ...]


origins = st.builds(
    Origin,
    shard=st.sampled_from((5, 6)),
    counter=st.sampled_from((9, 10)),
    sequence=st.sampled_from((99, 100, 101)),
    index=st.integers(0, 2),
)


def admissions(kinds: Sequence[str], runs: Sequence[str]) -> st.SearchStrategy[Admission]:
    return st.builds(
        Admission,
        id=st.sampled_from(IDS),
        kind=st.sampled_from(kinds),
        message_id=st.integers(0, 20).map("m{}".format),
        mail=st.sampled_from((b"1", b"2", b"3")),
        start_mail=st.just(b"start"),
        run_id=st.sampled_from(runs),
        on_conflict=st.sampled_from(("fail", "use_existing", "terminate_existing")),
        on_reuse=st.sampled_from(("allow", "allow_failed", "reject")),
        terminate_mail=st.just(b"terminate"),
        origin=st.none() | origins,
    )


fields = {
    "chunk": st.sampled_from((b"chunk", b"chunk", None)),
    "timer_ms": st.none() | st.integers(0, 5),
    "busy": st.booleans(),
    "steps": st.sampled_from((None, b"retry")),
    "admitted": st.booleans(),
    "closes": st.booleans(),
    "outbox": st.lists(st.sampled_from((b"1", b"2", b"3")), max_size=2).map(tuple),
    "expires_ms": st.none() | st.integers(0, 9),
    "displaces": st.sampled_from(("", *RUNS)),
    "blobs": st.lists(st.tuples(st.sampled_from(("0:args", "1:result")), st.binary(max_size=3)), max_size=2).map(tuple),
    "index": st.lists(st.tuples(st.sampled_from(INDEXES), st.none() | st.integers(-3, 3)), max_size=2).map(tuple),
}
runs = (st.sampled_from(IDS), st.sampled_from(RUNS))
steps = st.builds(
    Step,
    id=st.sampled_from(IDS),
    run_id=st.sampled_from(RUNS),
    status=st.sampled_from(Status),
    ahead=st.sampled_from((0,) * 12 + (1,)),
    takes=st.integers(0, 3),
    knows=st.sampled_from((99, 99, 2, 1, 0)),
    fields=st.fixed_dictionaries(fields),
)
flushes = st.builds(
    Flush,
    steps=st.lists(steps, min_size=1, max_size=4),
    claim=st.sampled_from((0,) * 8 + (1,)),
    ahead=st.sampled_from((1,) * 8 + (0, 2)),
    drops=st.integers(0, 1),
    sends=st.integers(0, 2),
    marks=st.lists(st.tuples(*runs, st.integers(0, 9)), max_size=2).map(tuple),
    unmarks=st.lists(st.tuples(*runs), max_size=1).map(tuple),
    epoch=st.sampled_from((0, 0, 7)),
    removals=st.lists(
        st.builds(
            Removal,
            id=st.sampled_from(IDS),
            run_id=st.sampled_from(RUNS),
            index=st.lists(st.sampled_from(INDEXES), max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
)
asks = (
    st.builds(lambda *of: Ask("timers", of), st.sampled_from(SHARDS), st.integers(0, 6), st.integers(0, 4))
    | st.builds(lambda *of: Ask("history", of), st.sampled_from(IDS), st.sampled_from(RUNS), st.integers(-3, 3))
    | st.builds(lambda *of: Ask("members", of), st.sampled_from(OWNERS), st.sampled_from((0, TTL_MS)))
)
operations = st.one_of(
    admissions(("start", "start_or_message"), RUNS),
    admissions(("start", "start_or_message"), RUNS),
    admissions(("message", "read"), (*RUNS, "", "")),
    flushes,
    flushes,
    flushes,
    st.builds(Take, st.sampled_from(SHARDS), st.sampled_from(OWNERS)),
    st.builds(
        Keep,
        st.sampled_from(("renew", "release", "reclaim")),
        st.sampled_from(SHARDS),
        st.integers(0, 2),
        st.sampled_from(OWNERS),
    ),
    asks,
)


class Both:
    """The two stores. Entry ids and nonces differ between them, so mail and claims go by their place."""

    def __init__(self, memory: Store, redis: Store) -> None:
        self.memory = memory
        self.redis = redis
        self.claims: dict[int, list[tuple[Claim, Claim]]] = {shard: [] for shard in SHARDS}

    async def do(self, operation: Admission | Flush | Take | Keep | Ask) -> None:
        match operation:
            case Admission():
                await self.same("enqueue", operation)
            case Flush():
                await self.flush(operation)
            case Take(shard, owner):
                await self.take(shard, owner)
            case Keep("reclaim", shard, claim, _):
                for mine, theirs in self.claims[shard][claim : claim + 1]:
                    await self.reclaim(shard, mine, theirs)
            case Keep(how, shard, claim, owner):
                for mine, theirs in self.claims[shard][claim : claim + 1]:
                    more = (TTL_MS,) if how == "renew" else ()
                    assert await getattr(self.memory, how)([mine], owner, *more) == await getattr(self.redis, how)(
                        [theirs], owner, *more
                    )
            case Ask(method, arguments):
                await self.same(method, *arguments)
            case _:
                assert_never(operation)

    async def same(self, method: str, *arguments: object) -> None:
        mine = await getattr(self.memory, method)(*arguments)
        assert mine == await getattr(self.redis, method)(*arguments), (method, arguments)

    async def take(self, shard: int, owner: str) -> None:
        mine = await self.memory.claim(shard, owner, TTL_MS)
        self.taken(shard, mine, await self.redis.claim(shard, owner, TTL_MS))

    async def reclaim(self, shard: int, mine: Claim, theirs: Claim) -> None:
        """Nothing went back here, so the counter that is seen may be lower, the claim's own, or higher."""
        seen = self.claims[shard][0][0].token.counter
        self.taken(shard, await self.memory.reclaim(mine, seen), await self.redis.reclaim(theirs, seen))

    def taken(self, shard: int, mine: Claim | None, theirs: Claim | None) -> None:
        if mine is None or theirs is None:
            assert mine is theirs
        else:
            assert (mine.token.counter, mine.sequence) == (theirs.token.counter, theirs.sequence)
            self.claims[shard].insert(0, (mine, theirs))

    async def flush(self, flush: Flush) -> None:
        """Committed twice: the second time says what became of the first."""
        pairs = [await self.batches(shard, flush) for shard in SHARDS if self.claims[shard]]
        mine, theirs = [mine for mine, _ in pairs], [theirs for _, theirs in pairs]
        first = await self.memory.commit(mine)
        assert first == await self.redis.commit(theirs)
        again = await self.memory.commit(mine)
        assert again == await self.redis.commit(theirs)
        assert again == [dup(verdict) if verdict.verdict is CommitVerdict.OK else verdict for verdict in first]

    async def batches(self, shard: int, flush: Flush) -> tuple[Batch, Batch]:
        claims = self.claims[shard][min(flush.claim, len(self.claims[shard]) - 1)]
        (last,) = await self.memory.commit([Batch(shard=shard, token=claims[0].token, sequence=0)])
        mail = await self.mail(shard)
        of_shard = [step for step in flush.steps if shard_of(step.id) == shard]
        versions = await self.versions(of_shard)
        made = []
        for claim, letters in zip(claims, mail, strict=True):
            entries = [letter.entry for letter in letters]
            transitions = [self.transition(step, versions[n], entries) for n, step in enumerate(of_shard)]
            waiting = await self.memory.outbox(shard)
            made.append(
                Batch(
                    shard=shard,
                    token=claim.token,
                    sequence=last.sequence + flush.ahead,
                    transitions=tuple(transitions),
                    discard=tuple(entries[: flush.drops]),
                    sent=tuple(message.entry for message in waiting[: flush.sends]),
                    marks=flush.marks,
                    unmarks=flush.unmarks,
                    epoch=flush.epoch,
                    removals=tuple(each for each in flush.removals if shard_of(each.id) == shard),
                )
            )
        return made[0], made[1]

    async def versions(self, steps: list[Step]) -> list[int]:
        """How long each step finds its history, after those before it."""
        lengths: dict[tuple[str, str], int] = {}
        found = []
        for step in steps:
            run = (step.id, step.run_id)
            length = lengths.get(run, len(await self.memory.history(*run)))
            found.append(length + step.ahead)
            lengths[run] = length + (step.fields["chunk"] is not None)
        return found

    def transition(self, step: Step, version: int, entries: list[str]) -> Transition:
        """Takes its mail out of ``entries``."""
        known = entries[: step.knows]
        taken, entries[: step.takes] = tuple(entries[: step.takes]), ()
        blob = encode_head(
            replace(decode_head(head(step.run_id, step.status, version)), blobs=len(step.fields["blobs"]))
        )
        return Transition(
            id=step.id,
            run_id=step.run_id,
            version=version,
            head=blob,
            mail=taken,
            read_upto=known[-1] if known else "0",
            **step.fields,
        )

    async def mail(self, shard: int) -> tuple[list[Mail], list[Mail]]:
        mine, theirs = await self.memory.read_mail({shard: "0"}, 0), await self.redis.read_mail({shard: "0"}, 0)
        assert [(mail.id, mail.body) for mail in mine] == [(mail.id, mail.body) for mail in theirs]
        return mine, theirs

    async def nothing_differs(self) -> None:
        await asyncio.gather(
            self.same("load", IDS),
            *(self.same("admitted", id) for id in IDS),
            *(self.same("ids", index) for index in INDEXES),
            *(self.same("busy", shard) for shard in SHARDS),
            *(self.same("outbox", shard) for shard in SHARDS),
            *(self.same("outbox", shard, "2-1", 3) for shard in SHARDS),
            *(self.same("marks", shard) for shard in SHARDS),
            *(self.same("timers", shard, 9, 9) for shard in SHARDS),
            *(self.same("expired", shard, 5, 3) for shard in SHARDS),
            *(self.same("blobs", id, run_id) for id in IDS for run_id in RUNS),
            *(self.mail(shard) for shard in SHARDS),
        )


def dup(first: Committed) -> Committed:
    return Committed(shard=first.shard, verdict=CommitVerdict.DUP, sequence=first.sequence)


def test_memory_and_redis_give_the_same_answers(server: Server) -> None:
    @settings(max_examples=50, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(operations, min_size=25, max_size=60))
    def holds(sequence: list[Any]) -> None:
        namespace = f"test-{uuid.uuid4().hex[:12]}"

        async def scenario() -> None:
            memory = MemoryStore(namespace, mailbox_limit=MAILBOX_LIMIT)
            redis = await RedisStore.connect(server.url, namespace, mailbox_limit=MAILBOX_LIMIT)
            try:
                both = Both(memory, redis)
                for shard in SHARDS:
                    await both.take(shard, "a")
                for operation in sequence:
                    await both.do(operation)
                await both.nothing_differs()
            finally:
                await redis.close()

        asyncio.run(scenario())
        check_keys(server, namespace)

    holds()
