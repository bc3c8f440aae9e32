"""Whatever is asked of them, in whatever order, the memory store and a real server give the same answers."""

import asyncio
import uuid
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from sagas.store.keys import shard_of
from sagas.store.memory import MemoryStore
from sagas.store.port import Admission, Batch, Claim, Committed, CommitVerdict, Mail, Status, Store, Transition
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

steps = st.fixed_dictionaries(
    {
        "id": st.sampled_from(IDS),
        "run_id": st.sampled_from(RUNS),
        "ahead": st.sampled_from((0, 0, 0, 0, 1)),  # versions are mostly right
        "chunk": st.sampled_from((b"chunk", b"chunk", None)),
        "status": st.sampled_from(tuple(Status)),
        "timer_ms": st.none() | st.integers(0, 5),
        "busy": st.booleans(),
        "steps": st.sampled_from((None, b"retry")),
        "admitted": st.booleans(),
        "closes": st.booleans(),
        "index": st.lists(st.tuples(st.sampled_from(INDEXES), st.none() | st.integers(-3, 3)), max_size=2),
        "takes": st.integers(0, 3),  # how much unread mail it applies
    }
)
batches = st.fixed_dictionaries(
    {
        "claim": st.integers(0, 3),  # the youngest is 0
        "ahead": st.sampled_from((1, 1, 1, 1, 0, 2)),
        "has_read": st.sampled_from((True, True, False)),
        "steps": st.lists(steps, max_size=4),
        "drops": st.integers(0, 1),
    }
)


def admission(kinds: tuple[str, ...], runs: tuple[str, ...]) -> st.SearchStrategy[Admission]:
    return st.builds(
        Admission,
        id=st.sampled_from(IDS),
        kind=st.sampled_from(kinds),
        message_id=st.integers(0, 30).map("m{}".format),
        mail=st.sampled_from((b"1", b"2", b"3")),
        start_mail=st.just(b"start"),
        run_id=st.sampled_from(runs),
        on_conflict=st.sampled_from(("fail", "use_existing", "terminate_existing")),
        on_reuse=st.sampled_from(("allow", "allow_failed", "reject")),
        terminate_mail=st.just(b"terminate"),
    )


admissions = admission(("start", "start_or_message"), RUNS) | admission(("message", "read"), (*RUNS, "", ""))


class SameAnswers(RuleBasedStateMachine):
    """Every rule asks both stores the same and compares; entry ids and nonces differ, so they go by position."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.namespace = f"test-{uuid.uuid4().hex[:12]}"
        self.server = server
        self.runner = asyncio.Runner()
        self.redis = self.runner.run(RedisStore.connect(server.url, self.namespace, mailbox_limit=12))
        self.memory = MemoryStore(self.namespace, mailbox_limit=12)
        self.claims: dict[int, list[tuple[Claim, Claim]]] = {shard: [] for shard in SHARDS}

    def teardown(self) -> None:
        self.runner.run(self.redis.close())
        self.runner.close()
        check_keys(self.server, self.namespace)

    def both(self, method: str, *arguments: Any) -> tuple[Any, Any]:
        async def ask(store: Store) -> Any:
            return await getattr(store, method)(*arguments)

        return self.runner.run(ask(self.memory)), self.runner.run(ask(self.redis))

    def same(self, method: str, *arguments: Any) -> Any:
        one, other = self.both(method, *arguments)
        assert one == other, (method, arguments)
        return one

    def mail(self, shard: int) -> tuple[list[Mail], list[Mail]]:
        return self.both("read_mail", {shard: "0"}, 0)

    @rule(admission=admissions)
    def enqueue(self, admission: Admission) -> None:
        self.same("enqueue", admission)

    @rule(shard=st.sampled_from(SHARDS), owner=st.sampled_from("ab"))
    def claim(self, shard: int, owner: str) -> None:
        one, other = self.both("claim", shard, owner, TTL_MS)
        assert (one is None) == (other is None)
        if one is not None:
            assert (one.token.counter, one.sequence) == (other.token.counter, other.sequence)
            self.claims[shard].insert(0, (one, other))

    @rule(shard=st.sampled_from(SHARDS), which=st.integers(0, 3), owner=st.sampled_from("ab"), gives_up=st.booleans())
    def keep_or_give_up(self, shard: int, which: int, owner: str, gives_up: bool) -> None:
        for one, other in self.claims[shard][which : which + 1]:
            if gives_up:
                self.runner.run(self.memory.release([one], owner))
                self.runner.run(self.redis.release([other], owner))
            kept = self.runner.run(self.memory.renew([one], owner, TTL_MS))
            assert kept == self.runner.run(self.redis.renew([other], owner, TTL_MS))

    @rule(flush=st.tuples(st.none() | batches, st.none() | batches))
    def commit(self, flush: tuple[Any, Any]) -> None:
        pairs = [
            self.batch(shard, spec) for shard, spec in zip(SHARDS, flush, strict=True) if spec and self.claims[shard]
        ]
        one = self.runner.run(self.memory.commit([mine for mine, _ in pairs]))
        other = self.runner.run(self.redis.commit([theirs for _, theirs in pairs]))
        assert one == other
        again = self.runner.run(self.memory.commit([mine for mine, _ in pairs]))
        assert again == self.runner.run(self.redis.commit([theirs for _, theirs in pairs]))
        for first, second in zip(one, again, strict=True):
            assert second == (first if first.verdict is not CommitVerdict.OK else dup(first))

    def batch(self, shard: int, spec: dict[str, Any]) -> tuple[Batch, Batch]:
        mine, theirs = self.claims[shard][min(spec["claim"], len(self.claims[shard]) - 1)]
        (last,) = self.runner.run(self.memory.commit([Batch(shard=shard, token=mine.token, sequence=0)]))
        mail = self.mail(shard)
        waiting = len(mail[0])
        taken = 0
        lengths: dict[tuple[str, str], int] = {}
        made: tuple[list[Transition], list[Transition]] = ([], [])
        for step in (each for each in spec["steps"] if shard_of(each["id"]) == shard):
            fields = {name: value for name, value in step.items() if name not in {"ahead", "status", "takes"}}
            run = (step["id"], step["run_id"])
            if run not in lengths:
                lengths[run] = len(self.runner.run(self.memory.history(*run)))
            version = lengths[run] + step["ahead"]
            lengths[run] += step["chunk"] is not None
            upto = min(taken + step["takes"], waiting)
            for transitions, letters in zip(made, mail, strict=True):
                fields |= {
                    "version": version,
                    "index": tuple(step["index"]),
                    "head": head(step["run_id"], step["status"], version),
                    "mail": tuple(letter.entry for letter in letters[taken:upto]),
                }
                transitions.append(Transition(**fields))
            taken = upto
        drop = min(taken + spec["drops"], waiting)
        batches_of_both = [
            Batch(
                shard=shard,
                token=claim.token,
                sequence=last.sequence + spec["ahead"],
                read_upto=letters[-1].entry if letters and spec["has_read"] else "0",
                transitions=tuple(transitions),
                discard=tuple(letter.entry for letter in letters[taken:drop]),
            )
            for claim, letters, transitions in zip((mine, theirs), mail, made, strict=True)
        ]
        return batches_of_both[0], batches_of_both[1]

    @rule(shard=st.sampled_from(SHARDS), upto_ms=st.integers(0, 6), limit=st.integers(0, 4))
    def timers(self, shard: int, upto_ms: int, limit: int) -> None:
        self.same("timers", shard, upto_ms, limit)

    @rule(id=st.sampled_from(IDS), run_id=st.sampled_from(RUNS), start=st.integers(-3, 3))
    def history(self, id: str, run_id: str, start: int) -> None:
        self.same("history", id, run_id, start)

    @rule(owner=st.sampled_from("ab"), ttl_ms=st.sampled_from((0, TTL_MS)))
    def members(self, owner: str, ttl_ms: int) -> None:
        self.same("members", owner, ttl_ms)

    @invariant()
    def nothing_differs(self) -> None:
        self.same("load", IDS)
        for id in IDS:
            self.same("admitted", id)
        for index in INDEXES:
            self.same("ids", index)
        for shard in SHARDS:
            self.same("busy", shard)
            one, other = self.mail(shard)
            assert [(mail.id, mail.body) for mail in one] == [(mail.id, mail.body) for mail in other]


def dup(first: Committed) -> Committed:
    return Committed(shard=first.shard, verdict=CommitVerdict.DUP, sequence=first.sequence)


def test_memory_and_redis_give_the_same_answers(server: Server) -> None:
    run_state_machine_as_test(
        lambda: SameAnswers(server),
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
