"""Every key this library has in Redis: its name, type, members, score and time to live, all in this module.

Law: no other module spells a key. All keys of a shard share the hash tag ``{namespace.s17}``, so that one script may
touch them on Redis Cluster; ``sg:`` stands outside the tag, so that an ACL can say ``~sg:*``. Lua builds keys of
instances from the shard's prefix and the names given here, by plain concatenation. Nothing but the memory of message
ids has a time to live: an instance's data ends by a commit, never by a clock.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from sagas.errors import InvalidArgument
from sagas.store.port import SHARDS

_NAMESPACE = re.compile(r"[A-Za-z0-9._-]{1,100}")
_LOOKS_LIKE_SHARD = re.compile(r"\.s\d+$")


def shard_of(id: str) -> int:
    """The shard an instance lives in for ever: ``crc32(utf-8 id) % SHARDS``."""
    return zlib.crc32(id.encode()) % SHARDS


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyKind:
    """What one sort of key holds. ``name`` is a pattern of what follows the prefix, ``members`` says what is in it."""

    name: str
    type: str
    members: str
    score: str = ""
    ttl: str = ""  # "" = none


SHARD_KEYS: tuple[KeyKind, ...] = (
    KeyKind(
        name="ep",
        type="hash",
        members="c token counter, n token nonce, s sequence of the last batch, a what s was at the claim, v schema",
    ),
    KeyKind(name="lease", type="hash", members="o owner, t ttl in ms, e when it ends by the server's clock; no fence"),
    KeyKind(name="in", type="stream", members="the mailbox: i instance id, b body; deleted by exact id in a commit"),
    KeyKind(
        name="ob",
        type="stream",
        members="the outbox: c counter of the origin, b body; its sequence and index are the entry's id",
    ),
    KeyKind(name="src", type="hash", members="source shard -> last origin admitted and its answer (enqueue.lua)"),
    KeyKind(name="x", type="hash", members="<id>:<run> -> position up to which the run's history is exported"),
    KeyKind(name="ad", type="hash", members="instance id -> run admitted and not applied yet"),
    KeyKind(name="t", type="zset", members="instance id, one entry an instance", score="its earliest timer in ms"),
    KeyKind(name="busy", type="set", members="ids of instances with steps in flight"),
    KeyKind(name="i:<id>", type="string", members="the head (head.py)"),
    KeyKind(name="h:<id>:<run>", type="list", members="the history of a run: one chunk a transition; LLEN = version"),
    KeyKind(name="b:<id>:<run>", type="hash", members="payloads too large for the history: event:field -> bytes"),
    KeyKind(name="u:<id>", type="set", members="the runs before that of the head, as long as they are kept"),
    KeyKind(name="r", type="zset", members="<id>:<run> of ended runs", score="when they may be removed, in ms"),
    KeyKind(name="p:<id>", type="string", members="retry state of open steps, opaque"),
    KeyKind(name="v:<index>", type="zset", members="instance id", score="as the transition says, mostly a time in ms"),
    KeyKind(
        name="m:<id>:<message>",
        type="string",
        members="the run a message id was accepted for (':' and '%' in the id are %-escaped)",
        ttl="remember_ms of the admission",
    ),
)

NAMESPACE_KEYS: tuple[KeyKind, ...] = (
    KeyKind(name="hosts", type="zset", members="owners alive", score="when that ends, in ms of the server's clock"),
)

SCHEMA = 1
"""The layout of all this; ``ep`` carries it, and start-up refuses another."""

REPLICATED_CHANNEL = "sg:replicated"
"""Nobody listens to it: what is published on it is something that replicas are sent (redis_durability.py)."""


class Keys:
    """The key names of one namespace. Shared and immutable; ``prefixes[shard]`` is what Lua gets."""

    __slots__ = ("_prefix", "namespace", "prefixes")

    def __init__(self, namespace: str) -> None:
        if not _NAMESPACE.fullmatch(namespace) or _LOOKS_LIKE_SHARD.search(namespace):
            raise InvalidArgument(
                f"namespace {namespace!r}: use 1 to 100 letters, digits, '.', '_' or '-', not ending like '.s17'"
            )
        self.namespace = namespace
        self._prefix = f"sg:{{{namespace}}}:"
        self.prefixes = tuple(f"sg:{{{namespace}.s{shard}}}:" for shard in range(SHARDS))

    # --- keys of the namespace ---

    def hosts(self) -> str:
        return self._prefix + "hosts"

    def channel(self, name: str) -> str:
        """The pub/sub channel behind a channel name of the port (pub/sub knows no databases, so it is prefixed)."""
        return self._prefix + name

    def notices(self, shard: int) -> str:
        """The channel *name* of a shard's notices; ``channel`` makes it the one in Redis."""
        return f"notices:{shard}"

    # --- keys of a shard ---

    def epoch(self, shard: int) -> str:
        return self.prefixes[shard] + "ep"

    def lease(self, shard: int) -> str:
        return self.prefixes[shard] + "lease"

    def mailbox(self, shard: int) -> str:
        return self.prefixes[shard] + "in"

    def outbox(self, shard: int) -> str:
        return self.prefixes[shard] + "ob"

    def sources(self, shard: int) -> str:
        return self.prefixes[shard] + "src"

    def marks(self, shard: int) -> str:
        return self.prefixes[shard] + "x"

    def admitted(self, shard: int) -> str:
        return self.prefixes[shard] + "ad"

    def timers(self, shard: int) -> str:
        return self.prefixes[shard] + "t"

    def busy(self, shard: int) -> str:
        return self.prefixes[shard] + "busy"

    def expiries(self, shard: int) -> str:
        return self.prefixes[shard] + "r"

    def index(self, shard: int, name: str) -> str:
        return f"{self.prefixes[shard]}v:{name}"

    # --- keys of an instance ---

    def head(self, id: str) -> str:
        return f"{self.prefixes[shard_of(id)]}i:{id}"

    def steps(self, id: str) -> str:
        return f"{self.prefixes[shard_of(id)]}p:{id}"

    def history(self, id: str, run_id: str) -> str:
        """Run ids hold no ':' (they are ours), so the last one parts id and run."""
        return f"{self.prefixes[shard_of(id)]}h:{id}:{run_id}"

    def blobs(self, id: str, run_id: str) -> str:
        return f"{self.prefixes[shard_of(id)]}b:{id}:{run_id}"

    def earlier_runs(self, id: str) -> str:
        return f"{self.prefixes[shard_of(id)]}u:{id}"

    def message(self, id: str, message_id: str) -> str:
        """A message id may be the user's own and hold ':', so the instance id is escaped to keep the two apart."""
        return f"{self.prefixes[shard_of(id)]}m:{_escaped(id)}:{message_id}"

    def kind_of(self, key: str) -> KeyKind | None:
        """What sort of key of this namespace ``key`` is, or None when this library has no such key."""
        if key.startswith(self._prefix):
            return next((kind for kind in NAMESPACE_KEYS if kind.name == key[len(self._prefix) :]), None)
        shard, brace, name = key.removeprefix(f"sg:{{{self.namespace}.s").partition("}:")
        if not brace or not shard.isdecimal() or int(shard) >= SHARDS:
            return None
        return next((kind for kind in SHARD_KEYS if _names(kind, name)), None)


def _escaped(id: str) -> str:
    return id.replace("%", "%25").replace(":", "%3A") if "%" in id or ":" in id else id


def _names(kind: KeyKind, name: str) -> bool:
    family, colon, rest = kind.name.partition(":")
    if not colon:
        return name == kind.name
    return name.startswith(family + ":") and name.count(":") > rest.count(":")
