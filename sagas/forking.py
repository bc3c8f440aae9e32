"""Another run from the beginning of this one: where a history may be cut, and how the piece travels.

Law: a cut lies between two transitions, where nothing is open but steps and timers: all else is known to somebody who
would answer the old run. The piece travels in the message that starts the new run, whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sagas.access import Access
from sagas.calls import call_id, call_message_id
from sagas.engine.message import Start, Terminate, encode_message
from sagas.errors import InvalidArgument
from sagas.ids import check_id
from sagas.kernel.events import Event, encode_chunk
from sagas.kernel.state import RunState
from sagas.store.port import Admission
from sagas.telemetry.caller import current_traceparent

MAX_BYTES: Final = 8 * 2**20
"""Of a history that is taken over: it goes through the mailbox in one message."""

RESET: Final = "reset"
"""Why a run was terminated, in its history."""


async def fork(
    access: Access, id: str, run_id: str | None, event: int, new_id: str | None, *, follows: bool
) -> tuple[str, str]:
    """(id, run) of a new instance that goes on from there. Raises: as ``Handle.fork`` does."""
    message = await _heir(access, id, run_id, event, follows=follows, inherits_parent=False)
    new_id = check_id(call_id() if new_id is None else new_id)
    mail = encode_message(message)
    await access.admit(
        Admission(id=new_id, kind="start", message_id=message.message_id, mail=mail, run_id=message.run_id)
    )
    return new_id, message.run_id


async def reset(access: Access, id: str, run_id: str | None, event: int, *, follows: bool) -> str:
    """The run that goes on from there, in the place of the one there is now. Raises: as ``Handle.reset`` does."""
    message = await _heir(access, id, run_id, event, follows=follows, inherits_parent=True)
    terminate = Terminate(message_id=call_message_id(None), reason=RESET, successor=message.run_id)
    await access.admit(
        Admission(
            id=id,
            kind="start",
            message_id=message.message_id,
            mail=encode_message(message),
            run_id=message.run_id,
            on_conflict="terminate_existing",
            terminate_mail=encode_message(terminate),
        )
    )
    return message.run_id


async def _heir(
    access: Access, id: str, run_id: str | None, event: int, *, follows: bool, inherits_parent: bool
) -> Start:
    prefix, state = cut(await access.transitions(id, run_id, follow=follows), event)
    started = state.started
    assert started is not None, "cut has seen to it"
    return Start(
        message_id=call_message_id(None),
        trace=current_traceparent(),
        run_id=call_id(),
        type=started.type,
        args=b"",
        parent=started.parent if inherits_parent else (),
        prefix=tuple(prefix),
    )


def cut(transitions: Sequence[Sequence[Event]], event: int) -> tuple[list[bytes], RunState]:
    """The chunks up to ``event``, and the state at their end. Raises: InvalidArgument, when nothing can go on there."""
    length = sum(map(len, transitions))
    if isinstance(event, bool) or not isinstance(event, int) or not 0 <= event < length:
        raise InvalidArgument(f"event {event!r} is not in this history: it has the events 0 to {length - 1}")
    state, prefix = RunState(), list[bytes]()
    for events in transitions:
        if state.events + len(events) > event + 1:
            break
        state.evolve_all(events)
        prefix.append(encode_chunk(events, events[0].at_ms))
    if not prefix:
        raise InvalidArgument(f"event {event} lies before the end of the first transition: cut after its last event")
    if refused := next(_obstacles(state), ""):
        raise InvalidArgument(f"nothing can go on from event {state.events - 1}: {refused}")
    if (size := sum(map(len, prefix))) > MAX_BYTES:
        raise InvalidArgument(f"the history up to event {event} has {size:,} bytes, at most {MAX_BYTES:,} can be taken")
    return prefix, state


def _obstacles(state: RunState) -> Iterator[str]:
    """What would be answered to the old run alone."""
    if state.closed:
        yield "the run has ended there; cut before its last transition"
    for child in state.children.values():
        yield f"its child {child.id!r} has not ended there"
    if state.messages:
        yield "a message to another saga is on its way there; cut after its answer, or before it was sent"
    if any(update is not None for update in state.updates.values()):
        yield "an update has not ended there"
    if state.callbacks:
        yield "a callback has not been answered there"
