"""When a write counts as durable: the modes, where a URL names one, and the wait for a replica in ``ha``.

Law: the server's own settings make ``strict`` (AOF always) and ``fast`` (AOF everysec) what they are, and the engine
writes its last batches again after a failover in every mode; ``ha`` alone changes what a store does: nothing is
acknowledged before a replica has it. A write that no replica confirmed stays written; sent again it is DUP or KNOWN,
and waits again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast, get_args

from sagas.errors import InvalidArgument, StoreUnavailable
from sagas.server.url import without_option
from sagas.store.keys import REPLICATED_CHANNEL
from sagas.store.redis_line import Line, Reply
from sagas.store.redis_scripts import Script

Durability = Literal["strict", "fast", "ha"]

REPLICA_MS = 1000
"""How long a write waits for its replica. The connection carries nothing else meanwhile; leases have their own."""


# WAIT waits for what its own connection wrote last. DUP and KNOWN write nothing, and may come over another connection
# than the write they speak of, so something that replicas are sent goes before it, and stands behind that write.
_MARK = ("PUBLISH", REPLICATED_CHANNEL, b"")


def durability_of(url: str, said: Durability | None) -> tuple[str, Durability]:
    """The URL without its option ``durability``, and the mode: what was ``said``, else the option, else "strict".

    Raises: InvalidArgument for a mode that there is not.
    """
    plain, option = without_option(url, "durability")
    named = said or option or "strict"
    if named not in get_args(Durability):
        raise InvalidArgument(f"durability {named!r}: use one of {', '.join(get_args(Durability))}")
    return plain, cast(Durability, named)


async def run_replicated(script: Script, line: Line, keys: Sequence[str], arguments: Sequence[object]) -> Reply:
    """As ``script.run``, and a replica has what it wrote. Raises StoreUnavailable, too, when none has it in time."""
    following = (_MARK, ("WAIT", 1, REPLICA_MS))
    reply, _, replicas = await script.run_before(line, keys, arguments, *following)
    if replicas < 1:
        raise StoreUnavailable(
            f"Redis at {line.where} has no replica that confirmed the write within {REPLICA_MS} ms, and durability=ha "
            "asks for one: bring a replica back, or use durability=strict"
        )
    return reply
