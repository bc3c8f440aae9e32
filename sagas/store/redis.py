"""The store on Redis 7 or Valkey: the port's calls, each one command or one script.

Law: this module says which command answers which call, and nothing else: the wire of commits and admissions, the
connections and the meaning of errors have modules of their own (``redis_*.py``). Calls that write go over one
connection and calls that read over another, so that a long history never stands in front of a commit; where writes
wait for a replica (``ha``), they have a connection of their own, so that leases never wait with them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sagas.store import redis_admission, redis_commit, redis_scripts
from sagas.store.head import readable_head
from sagas.store.keys import SCHEMA, Keys, shard_of
from sagas.store.mailbox import MAILBOX_LIMIT, place_of
from sagas.store.port import (
    Admission,
    Admitted,
    Batch,
    Claim,
    Committed,
    Listener,
    Loaded,
    Mail,
    Origin,
    Outgoing,
    Subscription,
    Token,
)
from sagas.store.redis_durability import Durability, durability_of, run_replicated
from sagas.store.redis_line import Address, Line, Reply
from sagas.store.redis_mail import MailReader
from sagas.store.redis_pages import page_of
from sagas.store.redis_scripts import Script
from sagas.store.redis_wakeups import Wakeups


class RedisStore:
    """The port on one server (redis://, rediss:// or unix://). Belongs to the event loop it was connected on."""

    def __init__(self, address: Address, namespace: str, mailbox_limit: int, durability: Durability) -> None:
        self.namespace = namespace
        self._keys = Keys(namespace)
        self._mailbox_limit = mailbox_limit
        self._replicated = durability == "ha"
        self._commits = Line(address)
        self._writes = Line(address)
        self._reads = Line(address)
        self._mail = MailReader(address, self._keys)
        self._wakeups = Wakeups(address)

    @classmethod
    async def connect(
        cls,
        url: str,
        namespace: str = "default",
        *,
        mailbox_limit: int = MAILBOX_LIMIT,
        durability: Durability | None = None,
    ) -> RedisStore:
        """A store whose server answered. ``durability`` None: what the URL says (``?durability=ha``), else "strict".

        Raises: InvalidArgument (URL, mode or namespace), StoreUnavailable.
        """
        url, durability = durability_of(url, durability)
        store = cls(Address(url), namespace, mailbox_limit, durability)
        try:
            await store._writes.call("PING")
        except BaseException:
            await store.close()
            raise
        return store

    # --- the client's side ---

    async def enqueue(self, admission: Admission) -> Admitted:
        keys = redis_admission.keys_of(admission, self._keys)
        arguments = redis_admission.arguments_of(admission, self._mailbox_limit)
        return redis_admission.admitted_of(await self._durably(redis_scripts.ENQUEUE, keys, arguments))

    async def head(self, id: str) -> bytes | None:
        head: bytes | None = await self._reads.call("GET", self._keys.head(id))
        return head

    async def heads(self, ids: Sequence[str]) -> list[bytes | None]:
        if not ids:
            return []
        found: list[bytes | None] = await self._reads.call("MGET", *(self._keys.head(id) for id in ids))
        return found

    async def history(self, id: str, run_id: str, start: int = 0) -> list[bytes]:
        chunks: list[bytes] = await self._reads.call("LRANGE", self._keys.history(id, run_id), start, -1)
        return chunks

    async def blobs(self, id: str, run_id: str) -> dict[str, bytes]:
        return _blobs(await self._reads.call("HGETALL", self._keys.blobs(id, run_id)))

    async def ids(self, index: str, cursor: str = "") -> tuple[list[str], str]:
        """A page, shard by shard.

        An id that is in the index all the while is named at least once; a shard with more than
        a page of ids may name one twice.
        """
        return await page_of(self._reads, self._keys, index, cursor)

    async def admitted(self, id: str) -> str | None:
        run_id: bytes | None = await self._reads.call("HGET", self._keys.admitted(shard_of(id)), id)
        return None if run_id is None else run_id.decode()

    async def standing(self, id: str) -> tuple[str | None, bytes | None]:
        admitted = ("HGET", self._keys.admitted(shard_of(id)), id)
        run_id, head = await self._reads.calls([admitted, ("GET", self._keys.head(id))])
        return None if run_id is None else run_id.decode(), head

    # --- notices ---

    async def publish(self, channel: str, payload: bytes) -> None:
        await self._writes.call("PUBLISH", self._keys.channel(channel), payload)

    async def subscribe(self, channel: str, listener: Listener) -> Subscription:
        return await self._wakeups.subscribe(self._keys.channel(channel), listener)

    def on_missed(self, listener: Callable[[], None]) -> None:
        self._wakeups.missed.append(listener)

    def notice_channel(self, id: str) -> str:
        return self._keys.notices(shard_of(id))

    # --- the owner's side ---

    async def claim(self, shard: int, owner: str, ttl_ms: int) -> Claim | None:
        nonce = uuid.uuid4().hex
        keys = (self._keys.epoch(shard), self._keys.lease(shard))
        reply = await redis_scripts.CLAIM.run(self._writes, keys, (owner, ttl_ms, nonce, SCHEMA))
        if reply is None:
            return None
        counter, sequence = reply
        token = Token(counter=counter, nonce=nonce)
        return Claim(shard=shard, token=token, sequence=sequence, owner=owner, ttl_ms=ttl_ms)

    async def reclaim(self, claim: Claim, seen_counter: int) -> Claim | None:
        keys = (self._keys.epoch(claim.shard), self._keys.lease(claim.shard))
        token = claim.token
        arguments = (claim.owner, claim.ttl_ms, token.nonce, SCHEMA, seen_counter, token.counter, claim.sequence)
        reply = await redis_scripts.RECLAIM.run(self._writes, keys, arguments)
        if reply is None:
            return None
        counter, sequence = reply
        return replace(claim, token=replace(token, counter=counter), sequence=sequence)

    async def renew(self, claims: Sequence[Claim], owner: str, ttl_ms: int) -> list[int]:
        if not claims:
            return []
        reply = await redis_scripts.RENEW.run(self._writes, self._leases(claims), (owner, ttl_ms, *_tokens(claims)))
        return [claim.shard for claim, renewed in zip(claims, reply, strict=True) if renewed]

    async def release(self, claims: Sequence[Claim], owner: str) -> None:
        if claims:
            await redis_scripts.RELEASE.run(self._writes, self._leases(claims), (owner, *_tokens(claims)))

    async def members(self, owner: str, ttl_ms: int) -> list[str]:
        reply = await redis_scripts.MEMBERS.run(self._writes, (self._keys.hosts(),), (owner, ttl_ms))
        return sorted(member.decode() for member in reply)

    async def commit(self, batches: Sequence[Batch]) -> list[Committed]:
        if not batches:
            return []
        route = (self._keys.epoch(batches[0].shard),)
        packed = redis_commit.pack(batches, self._keys)
        return redis_commit.unpack(batches, await self._durably(redis_scripts.COMMIT, route, (packed,)))

    async def read_mail(self, after: Mapping[int, str], block_ms: int, limit: int = 1000) -> list[Mail]:
        return await self._mail.read(after, block_ms, limit)

    async def load(self, ids: Sequence[str]) -> list[Loaded]:
        """Heads and steps in one command, then the histories in one write: the owner alone writes between them.

        A head that cannot be read names no run: it is loaded without a history, for whoever decodes it to say so.
        """
        if not ids:
            return []
        blobs = await self._reads.call(
            "MGET", *(self._keys.head(id) for id in ids), *(self._keys.steps(id) for id in ids)
        )
        heads, steps = blobs[: len(ids)], blobs[len(ids) :]
        runs = [readable_head(head) for head in heads]
        named = [(id, run) for id, run in zip(ids, runs, strict=True) if run is not None]
        heavy = [(id, run.run_id) for id, run in named if run.blobs]
        replies = await self._reads.calls(
            [
                *(("LRANGE", self._keys.history(id, run.run_id), 0, -1) for id, run in named),
                *(("HGETALL", self._keys.blobs(id, run_id)) for id, run_id in heavy),
            ]
        )
        histories = iter(replies[: len(named)])
        payloads = {id: _blobs(reply) for (id, _), reply in zip(heavy, replies[len(named) :], strict=True)}
        return [
            Loaded(
                head=head,
                chunks=() if run is None else tuple(next(histories)),
                steps=retries,
                blobs=payloads.get(id, {}),
            )
            for id, head, run, retries in zip(ids, heads, runs, steps, strict=True)
        ]

    async def timers(self, shard: int, upto_ms: int, limit: int) -> tuple[list[tuple[str, int]], int | None]:
        return await self._upto(self._keys.timers(shard), upto_ms, limit)

    async def _upto(self, key: str, upto_ms: int, limit: int) -> tuple[list[tuple[str, int]], int | None]:
        due, later = await self._reads.calls(
            [
                ("ZRANGEBYSCORE", key, "-inf", upto_ms, "WITHSCORES", "LIMIT", 0, limit + 1),
                ("ZRANGEBYSCORE", key, f"({upto_ms}", "+inf", "WITHSCORES", "LIMIT", 0, 1),
            ]
        )
        timers = [(id.decode(), int(float(at))) for id, at in zip(due[::2], due[1::2], strict=True)]
        if len(timers) > limit:
            return timers[:limit], timers[limit][1]
        return timers, int(float(later[1])) if later else None

    async def expired(self, shard: int, upto_ms: int, limit: int) -> tuple[list[tuple[str, str]], int | None]:
        due, following = await self._upto(self._keys.expiries(shard), upto_ms, limit)
        return [_run_in(run) for run, _ in due], following

    async def busy(self, shard: int) -> list[str]:
        return sorted(id.decode() for id in await self._reads.call("SMEMBERS", self._keys.busy(shard)))

    async def outbox(self, shard: int, after: str = "0", limit: int = 1000) -> list[Outgoing]:
        found = await self._reads.call("XRANGE", self._keys.outbox(shard), f"({after}", "+", "COUNT", limit)
        return [_outgoing(shard, entry.decode(), int(fields[1]), fields[3]) for entry, fields in found]

    async def marks(self, shard: int) -> list[tuple[str, str, int]]:
        flat = await self._reads.call("HGETALL", self._keys.marks(shard))
        runs = (run.decode().rpartition(":") for run in flat[::2])
        return sorted((id, run_id, int(at)) for (id, _, run_id), at in zip(runs, flat[1::2], strict=True))

    async def attended(self, ids: Sequence[str]) -> list[tuple[int | None, bool]]:
        if not ids:
            return []
        timers = [("ZSCORE", self._keys.timers(shard_of(id)), id) for id in ids]
        busy = [("SISMEMBER", self._keys.busy(shard_of(id)), id) for id in ids]
        replies = await self._reads.calls([*timers, *busy])
        return [
            (None if timer is None else int(float(timer)), bool(member))
            for timer, member in zip(replies[: len(ids)], replies[len(ids) :], strict=True)
        ]

    async def close(self) -> None:
        """Ends reads that block and closes every connection; calls on their way raise StoreUnavailable."""
        for connection in (self._mail, self._wakeups, self._reads, self._writes, self._commits):
            await connection.close()

    async def _durably(self, script: Script, keys: Sequence[str], arguments: Sequence[object]) -> Reply:
        if self._replicated:
            return await run_replicated(script, self._commits, keys, arguments)
        return await script.run(self._writes, keys, arguments)

    def _leases(self, claims: Sequence[Claim]) -> list[str]:
        return [key for claim in claims for key in (self._keys.epoch(claim.shard), self._keys.lease(claim.shard))]


def _tokens(claims: Sequence[Claim]) -> list[object]:
    return [part for claim in claims for part in (claim.token.counter, claim.token.nonce)]


def _run_in(member: str) -> tuple[str, str]:
    id, _, run_id = member.rpartition(":")
    return id, run_id


def _blobs(flat: Sequence[bytes]) -> dict[str, bytes]:
    return {name.decode(): data for name, data in zip(flat[::2], flat[1::2], strict=True)}


def _outgoing(shard: int, entry: str, counter: int, body: bytes) -> Outgoing:
    sequence, index = place_of(entry)
    return Outgoing(entry=entry, origin=Origin(shard=shard, counter=counter, sequence=sequence, index=index), body=body)
