"""A batch in memory: judged and written as ``lua/commit.lua`` does, all or nothing."""

from __future__ import annotations

from collections.abc import Sequence

from sagas.store.head import readable_head
from sagas.store.mailbox import known_to
from sagas.store.memory_shard import MemoryShard
from sagas.store.port import Batch, Committed, CommitVerdict, Origin, Outgoing, Removal, Status, Transition


def commit(shard: MemoryShard, batch: Batch, entries: Sequence[str]) -> Committed:
    """The verdict; the shard has changed only if it is OK. ``entries`` are the mailbox entries to delete."""
    verdict, ids = _judge(shard, batch)
    if verdict is CommitVerdict.OK:
        shard.mailbox.delete(entries)
        shard.sequence = batch.sequence
        for step in batch.transitions:
            _write(shard, step)
        _write_outbox(shard, batch)
        _write_marks(shard, batch)
        for removal in batch.removals:
            _remove(shard, removal)
    if verdict is CommitVerdict.FENCED:
        counter, stood = shard.token.counter, shard.claimed_at
        return Committed(shard=batch.shard, verdict=verdict, sequence=stood, counter=counter)
    return Committed(shard=batch.shard, verdict=verdict, sequence=shard.sequence, ids=ids)


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
    unread = _unread(shard, batch.transitions)
    return (CommitVerdict.UNREAD, unread) if unread else (CommitVerdict.OK, ())


def _unread(shard: MemoryShard, steps: Sequence[Transition]) -> tuple[str, ...]:
    closing = [(step.id, known_to(step)) for step in steps if step.closes]
    if not closing:
        return ()
    newest = shard.mailbox.newest_after(min(known for _, known in closing))
    return tuple(id for id, known in closing if newest.get(id, known) > known)


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
    if step.expires_ms is not None:
        shard.expiries.put(f"{step.id}:{step.run_id}", step.expires_ms)
    if step.displaces:
        shard.earlier.setdefault(step.id, set()).add(step.displaces)
    if step.blobs:
        shard.blobs.setdefault((step.id, step.run_id), {}).update(step.blobs)


def _remove(shard: MemoryShard, removal: Removal) -> None:
    id, runs = removal.id, {removal.run_id}
    if id in shard.heads:
        head = readable_head(shard.heads[id])
        if head is None or (head.run_id == removal.run_id and head.status is Status.RUNNING):
            return
        if head.run_id == removal.run_id:
            runs |= _remove_instance(shard, removal)
    if id in shard.earlier:
        shard.earlier[id].discard(removal.run_id)
    for run_id in runs:
        shard.histories.pop((id, run_id), None)
        shard.blobs.pop((id, run_id), None)
        shard.marks.pop((id, run_id), None)
        shard.expiries.put(f"{id}:{run_id}", None)


def _remove_instance(shard: MemoryShard, removal: Removal) -> set[str]:
    """The instance is gone but for its histories; returns its earlier runs."""
    id = removal.id
    del shard.heads[id]
    shard.steps.pop(id, None)
    shard.timers.put(id, None)
    shard.busy.discard(id)
    for name in removal.index:
        shard.indexes[name].put(id, None)
    return shard.earlier.pop(id, set())


def _write_outbox(shard: MemoryShard, batch: Batch) -> None:
    for entry in batch.sent:
        shard.outbox.pop(entry, None)
    counter = batch.epoch or batch.token.counter
    bodies = (body for step in batch.transitions for body in step.outbox)
    for index, body in enumerate(bodies):
        origin = Origin(shard=batch.shard, counter=counter, sequence=batch.sequence, index=index)
        entry = f"{batch.sequence}-{index}"
        shard.outbox[entry] = Outgoing(entry=entry, origin=origin, body=body)


def _write_marks(shard: MemoryShard, batch: Batch) -> None:
    shard.marks.update({(id, run_id): position for id, run_id, position in batch.marks})
    for run in batch.unmarks:
        shard.marks.pop(run, None)
