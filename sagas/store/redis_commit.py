"""A flush on the wire: batches to msgpack for ``lua/commit.lua``, and its reply to verdicts.

Law: the layout of ``_shard`` and the constants at the top of ``commit.lua`` are one thing in two places. Whatever a
shard's commands take is sorted here, in the client, so that the server, which everybody shares, makes one call a
kind of write and not one a transition. Of several transitions of one instance in a batch the last one's state stands.
What few batches have is left out of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgpack

from sagas.store.keys import Keys
from sagas.store.mailbox import entries_of, known_to
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
    """One pass over the transitions: this is the most travelled code of a host."""
    entries = entries_of(batch)  # first: what is no entry id is refused here
    steps: list[object] = []
    last: dict[str, Transition] = {}
    admitted: list[str] = []
    indexed: dict[str, dict[str, int | None]] = {}
    closing: list[object] = []
    notices: list[bytes] = []
    outbox: list[bytes] = []
    expiries: list[object] = []
    displaced: list[str] = []
    blobs: list[object] = []
    for step in batch.transitions:
        id = step.id
        steps += (id, step.run_id, step.version, False if step.chunk is None else step.chunk, step.head)
        last[id] = step
        if step.admitted:
            admitted += (id, step.run_id)
        for name, score in step.index:
            indexed.setdefault(name, {})[id] = score
        if step.closes:
            closing += (id, *known_to(step))
        if step.notice:
            notices.append(step.notice)
        if step.outbox:
            outbox += step.outbox
        if step.expires_ms is not None:
            expiries += (step.expires_ms, f"{id}:{step.run_id}")
        if step.displaces:
            displaced += (id, step.displaces)
        for name, data in step.blobs:
            blobs += (id, step.run_id, name, data)
    packed = [
        keys.prefixes[batch.shard],
        batch.token.counter,
        batch.token.nonce,
        batch.sequence,
        steps,
        entries,
        *_states(last),
    ]
    notices += [removal.notice for removal in batch.removals if removal.notice]
    rare = admitted or indexed or closing or notices or outbox or blobs or expiries or displaced
    if rare or batch.sent or batch.marks or batch.unmarks or batch.removals:
        packed += (
            admitted,
            [[name, *_scores(scores)] for name, scores in indexed.items()],
            closing,
            keys.channel(keys.notices(batch.shard)),
            notices,
            batch.epoch or batch.token.counter,
            outbox,
            batch.sent,
            [part for id, run_id, position in batch.marks for part in (f"{id}:{run_id}", position)],
            [f"{id}:{run_id}" for id, run_id in batch.unmarks],
            expiries,
            displaced,
            blobs,
            [(removal.id, removal.run_id, *removal.index) for removal in batch.removals],
        )
    return packed


def _states(last: Mapping[str, Transition]) -> tuple[list[object], ...]:
    """What stands after the batch: timers, ids without one, the busy, the idle, retries, ids without."""
    timers: list[object] = []
    untimed: list[object] = []
    busy: list[object] = []
    idle: list[object] = []
    retries: list[object] = []
    unretried: list[object] = []
    for id, step in last.items():
        if step.timer_ms is None:
            untimed.append(id)
        else:
            timers += (step.timer_ms, id)
        (busy if step.busy else idle).append(id)
        if step.steps is None:
            unretried.append(id)
        else:
            retries += (id, step.steps)
    return timers, untimed, busy, idle, retries, unretried


def _scores(scores: Mapping[str, int | None]) -> tuple[list[object], list[str]]:
    """What ZADD takes, and what ZREM takes."""
    add: list[object] = [part for id, score in scores.items() if score is not None for part in (score, id)]
    return add, [id for id, score in scores.items() if score is None]
