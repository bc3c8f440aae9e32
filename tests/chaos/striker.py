"""The blows: each waits for its moment, and falls while a step stands where its phase says.

Law: nothing here sleeps; a blow waits for requests, commits, leases and processes. What a blow excuses is looked up
before it falls: a request may be made again only where a worker died that may have made it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import msgpack
import psutil

from examples.subscription.driver import subscription_id
from sagas.store.keys import shard_of
from sagas.store.redis_scripts import COMMIT, RENEW
from tests.chaos.histories import settled
from tests.chaos.redis_gate import Call, Side
from tests.chaos.scenario import Phase, Strike, Victim
from tests.chaos.service_gate import Passage, Place, now_ms
from tests.chaos.stage import Stage
from tests.cluster.running import until

FENCED = 3  # as in commit.lua


class Striker:
    """Strikes a stage, and keeps the books of it."""

    def __init__(self, stage: Stage, users: Callable[[], list[str]]) -> None:
        self.blows: list[str] = []  # what was struck, and when
        self.excused: Counter[str] = Counter()  # how often a key may be asked for again
        self.killed: set[int] = set()
        self.late: list[int] = []  # verdicts on what frozen hosts sent when others owned their shards
        self.waits_for = ""
        self._stage = stage
        self._users = users
        self._frozen: _Frozen | None = None

    async def strike(self, strike: Strike) -> None:
        """Wait for the moment, and strike."""
        self.waits_for = f"{strike.after} requests"
        await self._stage.gate.more(strike.after)
        async with self._step_at(strike.phase) as passage:
            match strike.victim:
                case Victim.REDIS:
                    await self._restart_redis(strike.linger)
                case Victim.FROZEN:
                    self._frozen = await self._freeze(passage)
                case victim:
                    await self._kill(victim, passage)
            self.blows.append(f"{strike} ({passage.user}, {now_ms()})")
            await self._linger(strike.linger, passage)
        if self._frozen is not None:
            await self._wake(self._frozen)
            self._frozen = None
        self.waits_for = ""

    def thaw(self) -> None:
        """Let nobody stand still, however this ended: a cluster is not taken down while one of its hosts does."""
        if self._frozen is not None:
            os.kill(self._frozen.pid, signal.SIGCONT)

    @contextlib.asynccontextmanager
    async def _step_at(self, phase: Phase) -> AsyncIterator[Passage]:
        """A step that is just so far, and gets no further within the block."""
        self.waits_for = f"a step that is {phase}"
        passage = await self._stage.gate.hold(Place.BEFORE if phase is Phase.ASKED else Place.BEHIND)
        try:
            if phase in (Phase.ASKED, Phase.DECIDED):
                yield passage
                return
            side = Side.CALL if phase is Phase.REPORTED else Side.REPLY
            async with self._stage.redis.holding(side, _commits(subscription_id(passage.user))) as met:
                passage.release()
                self.waits_for = f"a commit of {passage.user}, from when it is {phase}"
                await met
                yield passage
        finally:
            passage.release()

    async def _linger(self, requests: int, passage: Passage) -> None:
        """Let others go on for a while; no longer than the step's own client has patience."""
        self.waits_for = f"{requests} requests of others"
        others = asyncio.create_task(self._stage.gate.more(requests))
        await asyncio.wait((others, passage.gone), return_when=asyncio.FIRST_COMPLETED)
        others.cancel()

    # --- kill -9

    async def _kill(self, victim: Victim, passage: Passage) -> None:
        self.waits_for = f"the process of the {victim}, for {passage.user}"
        pid = await until(lambda: self._pid_of(victim, passage))
        done = settled(await self._stage.histories(self._users())) if victim is Victim.WORKER else None
        os.kill(pid, signal.SIGKILL)
        self.killed.add(pid)
        if done is not None:
            self.excused.update(self._stage.gate.asked - done.keys())

    def _pid_of(self, victim: Victim, passage: Passage) -> int | None:
        match victim:
            case Victim.HOST:
                owner = self._owner(passage)
                return None if owner is None else owner["pid"]
            case Victim.WORKER:
                return self._worker_of(passage)
            case _:
                ours = psutil.Process().children(recursive=True)
                return next((each.pid for each in ours if _title(each).startswith(f"ray::{victim.capitalize()}")), None)

    def _owner(self, passage: Passage) -> dict[str, Any] | None:
        shard = shard_of(subscription_id(passage.user))
        return next((host for host in self._stage.cluster.hosts() if shard in host["shards"]), None)

    def _worker_of(self, passage: Passage) -> int | None:
        """The one that asked; any, when it has its answer already."""
        alive = [worker["pid"] for worker in self._stage.cluster.workers() if worker["pid"] is not None]
        return next((pid for pid in alive if passage.port in _ports(pid)), alive[0] if alive else None)

    async def _restart_redis(self, linger: int) -> None:
        """Down until so many connections were refused."""
        self._stage.server.kill()
        self.waits_for = f"{linger} connections to be refused"
        await self._stage.redis.refused(linger)
        # On the loop's own thread: the kernel ends the server together with the thread that started it.
        self._stage.server.restart()

    # --- SIGSTOP past the lease

    async def _freeze(self, passage: Passage) -> _Frozen:
        """Stop the step's host."""
        owner = await until(lambda: self._owner(passage))
        shards, stage = owner["shards"], self._stage
        frozen = _Frozen(
            pid=owner["pid"], shards=shards, owners=stage.owners(shards), nonces=frozenset(stage.nonces(shards))
        )
        os.kill(frozen.pid, signal.SIGSTOP)
        return frozen

    async def _wake(self, frozen: _Frozen) -> None:
        """When others own its shards: let the host go on, and see what comes of what it still believes in.

        It may hear that its leases are over only after it has sent its first commit.
        """
        self.waits_for = "others to take the shards over"
        await until(lambda: self._taken_over(frozen))
        self.waits_for = "a late commit"
        sent = asyncio.Event()

        def listen(call: Call) -> None:
            if call.pid == frozen.pid and call.runs(COMMIT) and (verdicts := _verdicts(call, frozen.nonces)):
                self.late += verdicts
                sent.set()

        redis = self._stage.redis
        redis.listen(listen)
        async with redis.holding(Side.REPLY, lambda call: call.pid == frozen.pid and call.runs(RENEW)):
            os.kill(frozen.pid, signal.SIGCONT)
            await sent.wait()

    def _taken_over(self, frozen: _Frozen) -> bool:
        now = self._stage.owners(frozen.shards)
        return all(owner not in ("", before) for owner, before in zip(now, frozen.owners, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frozen:
    """A host that stands still, and what it owned then: its shards, the owner each names, their fence tokens."""

    pid: int
    shards: list[int]
    owners: list[str]
    nonces: frozenset[bytes]


def _commits(saga: str) -> Callable[[Call], bool]:
    """Whether a call is a commit of this saga, perhaps among others."""
    return lambda call: call.runs(COMMIT) and saga.encode() in _texts(_batches(call))


def _verdicts(call: Call, nonces: frozenset[bytes]) -> list[int]:
    """What the server said to the batches under these tokens."""
    answered = zip(_batches(call), call.reply, strict=True)
    return [verdict[0] for batch, verdict in answered if not nonces.isdisjoint(_texts(batch))]


def _batches(call: Call) -> list[Any]:
    """One a shard; what stands where in them is for the store to say."""
    found: list[Any] = msgpack.unpackb(call.words[4], raw=True)
    return found


def _texts(value: Any) -> set[bytes]:
    if isinstance(value, bytes):
        return {value}
    return set().union(*map(_texts, value)) if isinstance(value, list) else set()


def _ports(pid: int) -> set[int]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return {each.laddr.port for each in psutil.Process(pid).net_connections(kind="tcp")}
    return set()


def _title(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""
