"""The port to what is durable: every call the engine and the client make on a store, and its verdicts.

Law: a store keeps bytes and decides nothing about sagas. What it does decide, atomically, is *who may write*
(fence token), *in which order* (batch sequence, history length) and *whether an admission is allowed* (conflict
and reuse policies), because those need one atomic look at several keys. The memory and the Redis store run the same
contract suite (tests/contract/). Times are integer milliseconds of the Unix epoch.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from sagas.value import value

SHARDS = 64
"""Shards of a namespace, fixed for its life: an id's shard is ``crc32(utf-8 id) % SHARDS``."""


# --- what an instance looks like from outside ---------------------------------------------------------------


class Status(enum.IntEnum):
    """How a run stands, as the store sees it; the numbers are on disk and never change."""

    RUNNING = 0
    COMPLETED = 1
    FAILED = 2
    CANCELLED = 3
    TIMED_OUT = 4
    TERMINATED = 5


@value(frozen=True, slots=True, kw_only=True)
class Head:
    """The small blob every instance has: enough to admit messages, describe and list without its history.

    On disk a msgpack array ``[status, run_id, type, ...]``; the admission script reads the first two items only,
    so their places are fixed for ever (``head.py`` owns the encoding).
    """

    status: Status
    run_id: str
    type: str
    version: int  # chunks in the history of the current run
    events: int  # events in them
    started_ms: int
    closed_ms: int  # 0 while running
    compensation: str = "none"
    parked: str = ""  # the reason, "" when not parked
    parked_timer_ms: int = 0  # the timer a parked or paused instance took out of the timer set
    paused: bool = False
    waiting: tuple[tuple[str, str, int], ...] = ()  # (kind, what, since or due ms): what it waits for
    attributes: Mapping[str, object] = field(default_factory=dict)
    lifts: int = 0  # messages it has applied that move a parked run: resumes and cancels
    blobs: int = 0  # payloads of this run that lie beside its history
    attempt: int = 1  # which try of its arguments the run is
    letters: int = 0  # dead letters that nobody has had applied again


# --- messages from instance to instance ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Origin:
    """Where a message was sent from. Those of one source shard are ordered for ever, across its owners."""

    shard: int
    counter: int  # of the token its batch was first written with
    sequence: int  # of that batch
    index: int  # its place among the batch's messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message that waits in a shard's outbox until the commit that names ``entry`` in ``sent``."""

    entry: str  # "sequence-index" of its origin, so that a batch written again makes the same entries again
    origin: Origin
    body: bytes


# --- admission: the client's side ---------------------------------------------------------------------------

OnConflict = Literal["fail", "use_existing", "terminate_existing"]
OnReuse = Literal["allow", "allow_failed", "reject"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """One message at the door of an instance's shard. ``mail`` is opaque to the store.

    kind "start": creates run ``run_id`` if the policies allow. "message": needs an instance that runs (or is
    admitted). "read": needs an instance, ended or not. "start_or_message": signal-with-start: ``mail`` goes to
    the running instance, else ``start_mail`` then ``mail`` are admitted as a start.

    ``origin``: a relay sends it for another instance. The shard keeps the last origin of each source for ever and
    answers KNOWN, writing nothing, for one that is not newer; the last one gets the refusal again that it got. Every
    answer but OVERLOADED moves it on. So a relay sends one source's messages to one shard in order, one at a time:
    the next when it has the answer, and after a refusal when that is committed with ``sent``.
    """

    id: str
    kind: Literal["start", "message", "read", "start_or_message"]
    message_id: str
    mail: bytes
    start_mail: bytes = b""
    run_id: str = ""  # start: the run to create; message: only this run ("" = the current one)
    on_conflict: OnConflict = "fail"
    on_reuse: OnReuse = "allow"
    terminate_mail: bytes = b""  # what to put before the start when on_conflict="terminate_existing" meets a live run
    remember_ms: int = 90_000_000  # how long message_id is remembered (25 h)
    origin: Origin | None = None


class AdmissionVerdict(enum.Enum):
    """What the door said; every one but OK, KNOWN and EXISTING means that nothing was written (but an origin)."""

    OK = "ok"
    KNOWN = "known"  # this message id was accepted before: success, nothing written again
    EXISTING = "existing"  # on_conflict="use_existing" met a live run (``run_id``)
    ALREADY_STARTED = "already_started"  # ``run_id``, ``status`` say which run stands in the way
    NOT_FOUND = "not_found"
    CLOSED = "closed"
    OVERLOADED = "overloaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    verdict: AdmissionVerdict
    run_id: str = ""  # the run the message went to, or that stands in the way
    status: Status = Status.RUNNING


# --- commit: the owner's side -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A fence token: compared for equality, because a rewound store can hand out a counter twice."""

    counter: int
    nonce: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A shard taken: every commit carries ``token``; ``sequence`` is the last batch that was written by then."""

    shard: int
    token: Token
    sequence: int
    owner: str = ""
    ttl_ms: int = 0  # of the lease


@value(frozen=True, slots=True, kw_only=True)
class Transition:
    """One step of one instance from one durable state to the next: written whole, or not at all."""

    id: str
    run_id: str
    version: int  # chunks in this run's history before this transition; must equal what is stored
    chunk: bytes | None  # appended to the history; None when only retry state changes
    head: bytes
    timer_ms: int | None  # the instance's earliest timer; None removes its entry
    busy: bool  # it has steps in flight: whoever takes the shard over must look at it
    steps: bytes | None  # retry state of open steps; None removes the key
    mail: tuple[str, ...] = ()  # mailbox entries this transition applied: deleted by exact id
    admitted: bool = False  # it applies the admission of ``run_id``: forget the admission
    closes: bool = False  # the run ends here: refused as UNREAD when mail for this id waits that it does not know
    read_upto: str = "0"  # closes: it knows the mail up to here, and up to the last entry of its own ``mail``
    index: tuple[tuple[str, int | None], ...] = ()  # (index name, score) to add; None removes the id from it
    notice: bytes = b""  # published on the shard's notice channel (a run closed or parked); b"" = nothing
    outbox: tuple[bytes, ...] = ()  # messages for other instances, opaque: put into the shard's outbox in this order
    expires_ms: int | None = None  # the run has ended, and may be removed from then on; None: kept until it is deleted
    displaces: str = ""  # the run of this id that its head was of until now: kept as an earlier one
    blobs: tuple[tuple[str, bytes], ...] = ()  # (name, payload) that the chunk refers to, put beside the history


@value(frozen=True, slots=True, kw_only=True)
class Removal:
    """An ended run is taken out. With the run that the head is of goes the instance: earlier runs, indexes, all of it.

    A head that is of another run by now stays, and one whose run goes on keeps everything.
    """

    id: str
    run_id: str
    index: tuple[str, ...] = ()  # the indexes its head stands in
    notice: bytes = b""  # as of a transition


@value(frozen=True, slots=True, kw_only=True)
class Batch:
    """The transitions of one shard in one flush: all or nothing."""

    shard: int
    token: Token
    sequence: int  # one more than the last written batch; may be empty of transitions (a fence check)
    transitions: tuple[Transition, ...] = ()
    discard: tuple[str, ...] = ()  # mailbox entries to delete without a transition (answered queries, repeats)
    sent: tuple[str, ...] = ()  # outbox entries that were relayed: deleted by exact id
    marks: tuple[tuple[str, str, int], ...] = ()  # (id, run_id, position): the run's history is exported up to there
    unmarks: tuple[tuple[str, str], ...] = ()  # (id, run_id): marks to remove, also those of this batch
    removals: tuple[Removal, ...] = ()  # after the transitions
    epoch: int = 0  # the counter its messages' origins carry; 0: the token's. Written again, a batch keeps its first


class CommitVerdict(enum.Enum):
    """What became of a batch. Only OK wrote; DUP was written before; the rest wrote nothing."""

    OK = "ok"
    DUP = "dup"  # sequence <= the last one: an earlier send arrived
    GAP = "gap"  # sequence > last + 1: the store lost batches (``sequence`` is the last it has)
    FENCED = "fenced"  # another token owns the shard
    UNREAD = "unread"  # a closing transition has newer mail; ``ids`` names the instances
    CONFLICT = "conflict"  # a history is not as long as its transition says; ``ids`` names the instances


@value(frozen=True, slots=True, kw_only=True)
class Committed:
    shard: int
    verdict: CommitVerdict
    sequence: int = 0  # the last sequence the store holds; FENCED: that it held when the present token was claimed
    ids: tuple[str, ...] = ()
    counter: int = 0  # FENCED: the counter of the token that owns the shard


@value(frozen=True, slots=True, kw_only=True)
class Mail:
    shard: int
    entry: str  # the mailbox entry id, "ms-seq": ordered within the shard
    id: str  # the instance
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """An instance as the store has it. ``chunks`` are those of the head's current run, oldest first."""

    head: bytes | None
    chunks: tuple[bytes, ...] = ()
    steps: bytes | None = None
    blobs: Mapping[str, bytes] = field(default_factory=dict)  # all of the run, by name


Listener = Callable[[bytes], None]
"""Called on the event loop with each payload published on a channel; must return at once."""


class Subscription(Protocol):
    async def close(self) -> None: ...


class Store(Protocol):
    """All methods raise StoreUnavailable when the store cannot be reached or refuses writes.

    After StoreUnavailable from ``enqueue`` or ``commit`` the caller does not know whether it was written; resending the
    same message id, or the same (token, sequence), is safe and gets the truth.
    """

    namespace: str

    # the client's side
    async def enqueue(self, admission: Admission) -> Admitted: ...
    async def head(self, id: str) -> bytes | None: ...
    async def heads(self, ids: Sequence[str]) -> list[bytes | None]:
        """As ``head``, of many instances in one round trip a shard."""
        ...

    async def history(self, id: str, run_id: str, start: int = 0) -> list[bytes]:
        """Chunks of one run from index ``start`` (negative counts from the end, as in LRANGE)."""
        ...

    async def blobs(self, id: str, run_id: str) -> dict[str, bytes]:
        """The payloads that lie beside the history of a run, by the names under which it refers to them."""
        ...

    async def ids(self, index: str, cursor: str = "") -> tuple[list[str], str]:
        """A page of ids of one index name over all shards, and the next cursor ("" at the end)."""
        ...

    async def admitted(self, id: str) -> str | None:
        """The run admitted for ``id`` and not applied yet, or None."""
        ...

    async def standing(self, id: str) -> tuple[str | None, bytes | None]:
        """``admitted`` and ``head``, in one round trip and looked at in this order.

        An admission ends in the very commit that writes the head: an id with neither is unknown.
        """
        ...

    # notices and replies: best effort, for those who wait
    async def publish(self, channel: str, payload: bytes) -> None: ...
    async def subscribe(self, channel: str, listener: Listener) -> Subscription: ...
    def on_missed(self, listener: Callable[[], None]) -> None:
        """Call this whenever channels are heard again after a break: what was published meanwhile was not heard."""
        ...

    def notice_channel(self, id: str) -> str:
        """The channel on which the notices of this id's shard arrive."""
        ...

    # the owner's side
    async def claim(self, shard: int, owner: str, ttl_ms: int) -> Claim | None:
        """Take a shard whose lease is free, expired or already ``owner``'s: a new token; None when it is held."""
        ...

    async def renew(self, claims: Sequence[Claim], owner: str, ttl_ms: int) -> list[int]:
        """Extend leases; returns the shards that are still this owner's (owner *and* token agree)."""
        ...

    async def release(self, claims: Sequence[Claim], owner: str) -> None: ...
    async def reclaim(self, claim: Claim, seen_counter: int) -> Claim | None:
        """Take back, for the same owner and time, a shard that went back to before ``claim`` (a failover).

        Compare and set: only while the counter is still the lower one that FENCED named, and nobody has written since
        ``claim`` was made; else None. The new counter is higher than both. Asked again it gives the same answer.
        """
        ...

    async def members(self, owner: str, ttl_ms: int) -> list[str]:
        """Report ``owner`` alive for ``ttl_ms`` (0: leaving) and list the owners that are alive, sorted."""
        ...

    async def commit(self, batches: Sequence[Batch]) -> list[Committed]: ...
    async def read_mail(self, after: Mapping[int, str], block_ms: int, limit: int = 1000) -> list[Mail]:
        """Mail of the shards in ``after`` past the given entry ids, in entry order a shard.

        Waits up to ``block_ms`` for the first; an empty list after that time is normal.
        """
        ...

    async def load(self, ids: Sequence[str]) -> list[Loaded]: ...
    async def timers(self, shard: int, upto_ms: int, limit: int) -> tuple[list[tuple[str, int]], int | None]:
        """Up to ``limit`` (id, due) with due <= ``upto_ms``, earliest first, and the next due time after those."""
        ...

    async def expired(self, shard: int, upto_ms: int, limit: int) -> tuple[list[tuple[str, str]], int | None]:
        """Up to ``limit`` (id, run_id) that expired by ``upto_ms``, earliest first, and when the next one does."""
        ...

    async def busy(self, shard: int) -> list[str]: ...
    async def outbox(self, shard: int, after: str = "0", limit: int = 1000) -> list[Outgoing]:
        """Messages that wait to be relayed, past the entry ``after``, in the order of their origins."""
        ...

    async def marks(self, shard: int) -> list[tuple[str, str, int]]:
        """Every (id, run_id, position) marked in this shard, sorted."""
        ...

    async def attended(self, ids: Sequence[str]) -> list[tuple[int | None, bool]]:
        """Of each id: its entry in the timer set (ms, None without one), and whether it is among the busy."""
        ...

    async def close(self) -> None: ...
