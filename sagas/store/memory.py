"""The store in one process: the contract of Redis without Redis, for tests, virtual time and ``embedded()``.

Law: every call is atomic, because nothing inside it awaits; what it decides, ``memory_admission.py`` and
``memory_commit.py`` decide as the Lua scripts do, and one contract suite holds both to it. Waiting is by events.
Calls that Redis would take a round trip for give the loop one turn, so that batches gather here as they do there.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sagas.errors import InvalidArgument
from sagas.store.head import readable_head
from sagas.store.keys import Keys, shard_of
from sagas.store.mailbox import MAILBOX_LIMIT, entries_of, place_of
from sagas.store.memory_admission import admit
from sagas.store.memory_commit import commit
from sagas.store.memory_shard import MemoryShard
from sagas.store.port import (
    SHARDS,
    Admission,
    Admitted,
    Batch,
    Claim,
    Committed,
    CommitVerdict,
    Listener,
    Loaded,
    Mail,
    Outgoing,
    Subscription,
    Token,
)

logger = logging.getLogger(__name__)

PAGE = 1000
_CURSOR = re.compile(r"(?P<shard>\d+):(?P<score>-?\d+):(?P<id>.*)", re.DOTALL)


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class MemoryStore:
    """The port in memory.

    Any number of owners and clients of one event loop may share it, also one after another: ``close`` ends the reads
    that wait and keeps everything. ``clock`` returns milliseconds of the epoch; leases, message ids and mailbox
    entries go by it, and waiting goes by the event loop's own clock.
    """

    def __init__(
        self,
        namespace: str = "default",
        clock: Callable[[], int] = _wall_clock_ms,
        *,
        mailbox_limit: int = MAILBOX_LIMIT,
    ) -> None:
        self.namespace = namespace
        self._keys = Keys(namespace)
        self._clock = clock
        self._mailbox_limit = mailbox_limit
        self._shards = tuple(MemoryShard(shard) for shard in range(SHARDS))
        self._members: dict[str, int] = {}
        self._listeners: dict[str, list[Listener]] = {}
        self._reads: dict[asyncio.Future[None], Mapping[int, str]] = {}

    # --- the client's side ---

    async def enqueue(self, admission: Admission) -> Admitted:
        shard = shard_of(admission.id)
        answer = admit(self._shards[shard], admission, self._clock(), self._mailbox_limit)
        self._wake(shard)
        await asyncio.sleep(0)
        return answer

    async def head(self, id: str) -> bytes | None:
        return self._shard(id).heads.get(id)

    async def heads(self, ids: Sequence[str]) -> list[bytes | None]:
        return [self._shard(id).heads.get(id) for id in ids]

    async def history(self, id: str, run_id: str, start: int = 0) -> list[bytes]:
        return self._shard(id).histories.get((id, run_id), [])[start:]

    async def blobs(self, id: str, run_id: str) -> dict[str, bytes]:
        return dict(self._shard(id).blobs.get((id, run_id), {}))

    async def ids(self, index: str, cursor: str = "") -> tuple[list[str], str]:
        """A page, shard by shard. An id that is in the index all the while is named once."""
        shard, place = _parsed(cursor)
        found: list[str] = []
        while shard < SHARDS and len(found) < PAGE:
            page = self._shards[shard].indexes[index].after(place, PAGE - len(found))
            found += (id for _, id in page)
            if len(found) == PAGE:
                return found, f"{shard}:{page[-1][0]}:{page[-1][1]}"
            shard, place = shard + 1, None
        return found, ""

    async def admitted(self, id: str) -> str | None:
        return self._shard(id).admitted.get(id)

    async def standing(self, id: str) -> tuple[str | None, bytes | None]:
        return await self.admitted(id), await self.head(id)

    # --- notices ---

    async def publish(self, channel: str, payload: bytes) -> None:
        # Not called from here: a listener must never run inside somebody's commit.
        loop = asyncio.get_running_loop()
        for listener in self._listeners.get(channel, ()):
            loop.call_soon(_tell, listener, payload)

    async def subscribe(self, channel: str, listener: Listener) -> Subscription:
        listeners = self._listeners.setdefault(channel, [])
        listeners.append(listener)
        return _Heard(listeners, listener)

    def on_missed(self, listener: Callable[[], None]) -> None:
        """Nothing is ever missed here."""

    def notice_channel(self, id: str) -> str:
        return self._keys.notices(shard_of(id))

    # --- the owner's side ---

    async def claim(self, shard: int, owner: str, ttl_ms: int) -> Claim | None:
        state, now_ms = self._shards[shard], self._clock()
        if state.lease is not None and state.lease[0] != owner and state.lease[1] > now_ms:
            return None
        state.take(Token(counter=state.token.counter + 1, nonce=uuid.uuid4().hex), owner, now_ms + ttl_ms)
        return Claim(shard=shard, token=state.token, sequence=state.sequence, owner=owner, ttl_ms=ttl_ms)

    async def reclaim(self, claim: Claim, seen_counter: int) -> Claim | None:
        state = self._shards[claim.shard]
        token = Token(counter=max(seen_counter, claim.token.counter) + 1, nonce=claim.token.nonce)
        ours = state.token.nonce == claim.token.nonce or state.sequence == claim.sequence
        if state.token != token and not (ours and state.token.counter == seen_counter):
            return None
        state.take(token, claim.owner, self._clock() + claim.ttl_ms)
        return replace(claim, token=token, sequence=state.sequence)

    async def renew(self, claims: Sequence[Claim], owner: str, ttl_ms: int) -> list[int]:
        kept = [claim.shard for claim in claims if self._holds(claim, owner)]
        for shard in kept:
            self._shards[shard].lease = (owner, self._clock() + ttl_ms)
        return kept

    async def release(self, claims: Sequence[Claim], owner: str) -> None:
        for claim in claims:
            if self._holds(claim, owner):
                self._shards[claim.shard].lease = None

    async def members(self, owner: str, ttl_ms: int) -> list[str]:
        now_ms = self._clock()
        self._members[owner] = now_ms + ttl_ms
        self._members = {member: until_ms for member, until_ms in self._members.items() if until_ms > now_ms}
        return sorted(self._members)

    async def commit(self, batches: Sequence[Batch]) -> list[Committed]:
        entries = [entries_of(batch) for batch in batches]
        verdicts: list[Committed] = []
        for batch, gone in zip(batches, entries, strict=True):
            verdicts.append(commit(self._shards[batch.shard], batch, gone))
            if verdicts[-1].verdict is CommitVerdict.OK:
                await self._notify(batch)
        await asyncio.sleep(0)
        return verdicts

    async def read_mail(self, after: Mapping[int, str], block_ms: int, limit: int = 1000) -> list[Mail]:
        if block_ms > 0 and not self._unread(after, 1):
            await self._mail_or_timeout(after, block_ms)
        else:
            await asyncio.sleep(0)
        return self._unread(after, limit)

    async def load(self, ids: Sequence[str]) -> list[Loaded]:
        return [self._loaded(id) for id in ids]

    async def timers(self, shard: int, upto_ms: int, limit: int) -> tuple[list[tuple[str, int]], int | None]:
        return self._shards[shard].timers.upto(upto_ms, limit)

    async def expired(self, shard: int, upto_ms: int, limit: int) -> tuple[list[tuple[str, str]], int | None]:
        due, following = self._shards[shard].expiries.upto(upto_ms, limit)
        parts = (run.rpartition(":") for run, _ in due)
        return [(id, run_id) for id, _, run_id in parts], following

    async def busy(self, shard: int) -> list[str]:
        return sorted(self._shards[shard].busy)

    async def attended(self, ids: Sequence[str]) -> list[tuple[int | None, bool]]:
        return [(self._shard(id).timers.score(id), id in self._shard(id).busy) for id in ids]

    async def outbox(self, shard: int, after: str = "0", limit: int = 1000) -> list[Outgoing]:
        waiting = self._shards[shard].outbox.values()
        past = place_of(after)
        return [message for message in waiting if place_of(message.entry) > past][:limit]

    async def marks(self, shard: int) -> list[tuple[str, str, int]]:
        return sorted((id, run_id, position) for (id, run_id), position in self._shards[shard].marks.items())

    async def close(self) -> None:
        """End every read that waits; what is stored stays, and the store may be used again."""
        for waiting in self._reads:
            _end(waiting)

    # --- inside ---

    def _shard(self, id: str) -> MemoryShard:
        return self._shards[shard_of(id)]

    def _holds(self, claim: Claim, owner: str) -> bool:
        state = self._shards[claim.shard]
        return state.token == claim.token and state.lease is not None and state.lease[0] == owner

    def _loaded(self, id: str) -> Loaded:
        shard = self._shard(id)
        head = shard.heads.get(id)
        current = readable_head(head)
        if current is None:
            return Loaded(head=head, steps=shard.steps.get(id))
        run = (id, current.run_id)
        return Loaded(
            head=head,
            chunks=tuple(shard.histories.get(run, ())),
            steps=shard.steps.get(id),
            blobs=dict(shard.blobs.get(run, {})) if current.blobs else {},
        )

    async def _notify(self, batch: Batch) -> None:
        told = [step.notice for step in batch.transitions] + [removal.notice for removal in batch.removals]
        for notice in filter(None, told):
            await self.publish(self._keys.notices(batch.shard), notice)

    def _unread(self, after: Mapping[int, str], limit: int) -> list[Mail]:
        share = max(limit // max(len(after), 1), 1)
        filled = ((box, entry) for shard, entry in after.items() if (box := self._shards[shard].mailbox))
        return [mail for box, entry in filled for mail in box.after(entry, share)][:limit]

    async def _mail_or_timeout(self, after: Mapping[int, str], block_ms: int) -> None:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[None] = loop.create_future()
        self._reads[waiting] = after
        timeout = loop.call_later(block_ms / 1000, _end, waiting)
        try:
            await waiting
        finally:
            timeout.cancel()
            del self._reads[waiting]

    def _wake(self, shard: int) -> None:
        for waiting, after in self._reads.items():
            if shard in after:
                _end(waiting)


class _Heard:
    """One listener on one channel (the port's Subscription)."""

    __slots__ = ("_listener", "_listeners")

    def __init__(self, listeners: list[Listener], listener: Listener) -> None:
        self._listeners = listeners
        self._listener = listener

    async def close(self) -> None:
        if self._listener in self._listeners:
            self._listeners.remove(self._listener)


def _tell(listener: Listener, payload: bytes) -> None:
    try:
        listener(payload)
    except Exception:
        logger.exception("a listener on a channel raised; the others go on")


def _end(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _parsed(cursor: str) -> tuple[int, tuple[int, str] | None]:
    if not cursor:
        return 0, None
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidArgument(f"{cursor!r} is no cursor: pass on what the page before gave, or '' to begin")
    return int(found["shard"]), (int(found["score"]), found["id"])
