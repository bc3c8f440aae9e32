"""A batch in memory: judged and written as ``lua/commit.lua`` does, all or nothing."""

from __future__ import annotations

from collections.abc import Sequence

from sagas.store.memory_shard import MemoryShard
from sagas.store.port import Batch, Committed, CommitVerdict, Transition


def commit(shard: MemoryShard, batch: Batch, entries: Sequence[str]) -> Committed:
    """The verdict; the shard has changed only if it is OK. ``entries`` are the mailbox entries to delete."""
    verdict, ids = _judge(shard, batch)
    if verdict is CommitVerdict.OK:
        shard.mailbox.delete(entries)
        shard.sequence = batch.sequence
        for step in batch.transitions:
            _write(shard, step)
    counter = shard.token.counter if verdict is CommitVerdict.FENCED else 0
    return Committed(shard=batch.shard, verdict=verdict, sequence=shard.sequence, ids=ids, counter=counter)


def _judge(shard: MemoryShard, batch: Batch) -> tuple[CommitVerdict, tuple[str, ...]]:
    if batch.token != shard.token:
        return CommitVerdict.FENCED, ()
    if batch.sequence <= shard.sequence:
        return CommitVerdict.DUP, ()
    if batch.sequence > shard.sequence + 1:
        return CommitVerdict.GAP, ()
    conflicts = _conflicts(shard, batch.transitions)
    if conflicts:
        return CommitVerdict.CONFLICT, conflicts
    closing = [step.id for step in batch.transitions if step.closes]
    waiting = set(shard.mailbox.ids_after(batch.read_upto)) if closing else set()
    unread = tuple(id for id in closing if id in waiting)
    return (CommitVerdict.UNREAD, unread) if unread else (CommitVerdict.OK, ())


def _conflicts(shard: MemoryShard, steps: Sequence[Transition]) -> tuple[str, ...]:
    length: dict[tuple[str, str], int] = {}
    found: list[str] = []
    for step in steps:
        run = (step.id, step.run_id)
        stands = length.get(run, len(shard.histories.get(run, ())))
        if stands != step.version:
            found.append(step.id)
        length[run] = stands + (step.chunk is not None)
    return tuple(found)


def _write(shard: MemoryShard, step: Transition) -> None:
    if step.chunk is not None:
        shard.histories.setdefault((step.id, step.run_id), []).append(step.chunk)
    shard.heads[step.id] = step.head
    shard.timers.put(step.id, step.timer_ms)
    if step.busy:
        shard.busy.add(step.id)
    else:
        shard.busy.discard(step.id)
    if step.steps is None:
        shard.steps.pop(step.id, None)
    else:
        shard.steps[step.id] = step.steps
    if step.admitted and shard.admitted.get(step.id) == step.run_id:
        del shard.admitted[step.id]
    for name, score in step.index:
        shard.indexes[name].put(step.id, score)
