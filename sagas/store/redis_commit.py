"""A flush on the wire: batches to msgpack for ``lua/commit.lua``, and its reply to verdicts.

Law: the layout of ``_shard`` and the constants at the top of ``commit.lua`` are one thing in two places. Whatever a
shard's commands take is sorted here, in the client, so that the server, which everybody shares, makes one call a
kind of write and not one a transition. Of several transitions of one instance in a batch the last one's state stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgpack

from sagas.store.keys import Keys
from sagas.store.mailbox import entries_of
from sagas.store.port import Batch, Committed, CommitVerdict, Transition
from sagas.store.redis_line import Reply

_VERDICTS = (
    CommitVerdict.OK,
    CommitVerdict.DUP,
    CommitVerdict.GAP,
    CommitVerdict.FENCED,
    CommitVerdict.UNREAD,
    CommitVerdict.CONFLICT,
)


def pack(batches: Sequence[Batch], keys: Keys) -> bytes:
    """The argument of ``commit.lua``. Raises InvalidArgument for entry ids that are none."""
    # Lua's msgpack knows no bin type: bytes travel as raw strings.
    packed: bytes = msgpack.packb([_shard(batch, keys) for batch in batches], use_bin_type=False)
    return packed


def unpack(batches: Sequence[Batch], reply: Reply) -> list[Committed]:
    """The verdicts, in the order of the batches."""
    return [
        Committed(
            shard=batch.shard,
            verdict=_VERDICTS[code],
            sequence=sequence,
            ids=tuple(id.decode() for id in ids),
            counter=counter if _VERDICTS[code] is CommitVerdict.FENCED else 0,
        )
        for batch, (code, sequence, counter, *ids) in zip(batches, reply, strict=True)
    ]


def _shard(batch: Batch, keys: Keys) -> list[object]:
    steps: list[object] = []
    due: dict[str, int | None] = {}
    busy: dict[str, bool] = {}
    retries: dict[str, bytes | None] = {}
    for step in batch.transitions:
        id = step.id
        steps += (id, step.run_id, step.version, False if step.chunk is None else step.chunk, step.head)
        due[id] = step.timer_ms
        busy[id] = step.busy
        retries[id] = step.steps
    return [
        keys.prefixes[batch.shard],
        batch.token.counter,
        batch.token.nonce,
        batch.sequence,
        batch.read_upto,
        keys.channel(keys.notices(batch.shard)),
        steps,
        [step.id for step in batch.transitions if step.closes],
        entries_of(batch),
        *_scores(due.items()),
        [id for id, flag in busy.items() if flag],
        [id for id, flag in busy.items() if not flag],
        [part for id, blob in retries.items() if blob is not None for part in (id, blob)],
        [id for id, blob in retries.items() if blob is None],
        [part for step in batch.transitions if step.admitted for part in (step.id, step.run_id)],
        _indexes(batch.transitions),
        [step.notice for step in batch.transitions if step.notice],
    ]


def _scores(items: Iterable[tuple[str, int | None]]) -> tuple[list[object], list[str]]:
    """What ZADD takes, and what ZREM takes."""
    add: list[object] = []
    remove: list[str] = []
    for id, score in items:
        if score is None:
            remove.append(id)
        else:
            add += (score, id)
    return add, remove


def _indexes(steps: Sequence[Transition]) -> list[list[object]]:
    found: dict[str, dict[str, int | None]] = {}
    for step in steps:
        for name, score in step.index:
            found.setdefault(name, {})[step.id] = score
    return [[name, *_scores(scores.items())] for name, scores in found.items()]
