"""The batches the store acknowledged lately: what a host writes again after a failover that took the store back.

Law: a batch stays for ``KEEP_S`` after its acknowledgement at least, and as long as nothing is acknowledged after it
(a store that is away trims nothing). Only when all of them together cost more than ``LIMIT_BYTES`` do the oldest go
sooner.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from sagas.engine.shard import Shard
from sagas.store.port import Batch, Token

KEEP_S = 3.0
LIMIT_BYTES = 64 * 2**20
_OBJECTS_BYTES = 600  # what a transition costs beside its bytes, about


@dataclass(frozen=True, slots=True)
class _Kept:
    shard: Shard
    batch: Batch
    at_s: float
    cost: int


class Tail:
    """The tail of every shard of a host, in the order of acknowledgement."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._kept: deque[_Kept] = deque()
        self._limit = limit_bytes
        self._cost = 0

    def keep(self, shard: Shard, batch: Batch, now_s: float) -> None:
        """The store has acknowledged ``batch``."""
        kept = _Kept(shard, batch, now_s, _cost(batch))
        self._kept.append(kept)
        self._cost += kept.cost
        while self._cost > self._limit:
            self._drop_oldest()

    def trim(self, now_s: float) -> None:
        """Drop what is older than ``KEEP_S``."""
        while self._kept and self._kept[0].at_s < now_s - KEEP_S:
            self._drop_oldest()

    def since(self, shard: Shard, sequence: int) -> list[Batch]:
        """What is left of the batches of ``shard`` past ``sequence``, in order."""
        return [each.batch for each in self._kept if each.shard is shard and each.batch.sequence > sequence]

    def renew(self, shard: Shard, now_s: float) -> None:
        """What is left of ``shard`` was written again: it may be lost again as if it were new."""
        others = [each for each in self._kept if each.shard is not shard]
        again = [replace(each, at_s=now_s) for each in self._kept if each.shard is shard]
        self._kept = deque([*others, *again])

    def shards(self) -> list[Shard]:
        """Those with a tail."""
        return list({id(each.shard): each.shard for each in self._kept}.values())

    def forget(self, shard: Shard) -> None:
        """It is another host's; nothing of it will be written again."""
        self._kept = deque(each for each in self._kept if each.shard is not shard)
        self._cost = sum(each.cost for each in self._kept)

    def _drop_oldest(self) -> None:
        self._cost -= self._kept.popleft().cost


def written_again(batch: Batch, token: Token) -> Batch:
    """An acknowledged batch for a store that has lost it.

    Its messages keep their origins, so that whoever had them before knows them, and its ends stand: they were told to
    callers, whatever mail has come since. What it says was sent stays sent: the target's owner has it in its history or
    in hand, while the target's memory of its origin may be lost, so that sending it again would apply it twice.
    """
    steps = tuple(replace(step, closes=False) if step.closes else step for step in batch.transitions)
    return replace(under(batch, token), transitions=steps)


def under(batch: Batch, token: Token) -> Batch:
    """The same batch with another token."""
    return replace(batch, token=token, epoch=batch.epoch or batch.token.counter)


def _cost(batch: Batch) -> int:
    cost = 0
    for step in batch.transitions:
        cost += _OBJECTS_BYTES + len(step.head) + len(step.chunk or b"") + len(step.steps or b"")
        cost += sum(map(len, step.outbox)) + sum(len(data) for _, data in step.blobs)
    return cost
