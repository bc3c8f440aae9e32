"""From the fold of a history to what the store shows of it: head, index entries, notices. Pure."""

from __future__ import annotations

import msgpack

from sagas.kernel.chain import attempt_of
from sagas.kernel.events import RunStarted
from sagas.kernel.state import RunState
from sagas.kernel.state import Status as RunStatus
from sagas.store.port import Head, Removal, Status

_STORED = {
    RunStatus.RUNNING: Status.RUNNING,
    RunStatus.COMPLETED: Status.COMPLETED,
    RunStatus.FAILED: Status.FAILED,
    RunStatus.CANCELLED: Status.CANCELLED,
    RunStatus.TIMED_OUT: Status.TIMED_OUT,
    RunStatus.TERMINATED: Status.TERMINATED,
}
_PUBLIC = {stored: public for public, stored in _STORED.items()}


def public_status(status: Status) -> RunStatus:
    """The status users see."""
    return _PUBLIC[status]


def head_of(
    state: RunState,
    started: RunStarted,
    *,
    version: int,
    parked_timer_ms: int = 0,
    waiting: tuple[tuple[str, str, int], ...] = (),
    closed_ms: int = 0,
    blobs: int = 0,
) -> Head:
    """The head of a run as it stands."""
    return Head(
        status=_STORED[state.status],
        run_id=started.run_id,
        type=started.type,
        version=version,
        events=state.events,
        started_ms=started.at_ms,
        closed_ms=closed_ms,
        compensation=state.compensation.value,
        parked=state.attention,
        parked_timer_ms=parked_timer_ms,
        paused=state.paused,
        waiting=waiting,
        attributes=state.attributes,
        blobs=blobs,
        lifts=state.lifts,
        attempt=attempt_of(started),
        letters=len(state.dead_letters),
    )


def index_names(head: Head) -> set[str]:
    """The indexes an instance with this head stands in."""
    names = {f"status:{public_status(head.status).value}", f"type:{head.type}"}
    if head.parked or head.compensation == "stuck":
        names.add("attention")
    return names


def index_changes(before: Head | None, after: Head) -> tuple[tuple[str, int | None], ...]:
    """Index entries to add (with the start time as score) and to remove."""
    if before is not None and _indexed(before) == _indexed(after):
        return ()
    old = set() if before is None else index_names(before)
    new = index_names(after)
    added = [(name, after.started_ms) for name in sorted(new - old)]
    return (*added, *((name, None) for name in sorted(old - new)))


def _indexed(head: Head) -> tuple[object, ...]:
    """All that ``index_names`` looks at."""
    return head.status, head.type, bool(head.parked), head.compensation


def removal_of(id: str, run_id: str, head: Head | None) -> Removal:
    """What takes this run out; ``head`` is that of its instance, of this run or a later one."""
    index = () if head is None else tuple(sorted(index_names(head)))
    return Removal(id=id, run_id=run_id, index=index, notice=notice_of(id, run_id))


def notice_of(id: str, run_id: str) -> bytes:
    """What a shard publishes when a run has ended or parked: whose result may be asked for now."""
    packed: bytes = msgpack.packb((id, run_id))
    return packed


def decode_notice(payload: bytes) -> tuple[str, str]:
    """(id, run_id) of a notice."""
    id, run_id = msgpack.unpackb(payload)
    return id, run_id
