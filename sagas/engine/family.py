"""Parents and children: what the end of a run says to both, and what their mail becomes in a history. Pure.

Law: all of it is known from the fold of the history, so that a run whose code nobody has here, or that is terminated
unseen, leaves nobody waiting. It leaves through the outbox of the commit in which the run closes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from sagas.engine.envelope import Envelope
from sagas.engine.message import Cancel, ChildAnswer, Message, Signal, Terminate, encode_message
from sagas.kernel.events import (
    CANCEL_CHILD,
    ChildCompleted,
    ChildFailed,
    ChildScheduled,
    Event,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
    RunTerminated,
    RunTimedOut,
)
from sagas.kernel.state import RunState, Status

_PARENT_ENDED: Final = "its parent has ended"


def farewells(state: RunState, *, goes_on: bool = False) -> Iterator[Envelope]:
    """What a run that has just closed says: to its open children what becomes of them, to its parent how it ended.

    ``goes_on``: another run follows it, whose end the parent waits for.
    """
    started = state.started
    assert started is not None, "only a started run ends"
    for child in state.orphans:
        yield _to_child(started, child)
    if started.parent and not goes_on and (answer := _answer(started, state.closing)) is not None:
        parent, parent_run, _number = started.parent
        yield Envelope(
            sender=started.id,
            run_id=started.run_id,
            number=0,
            target=parent,
            message_id=answer.message_id,
            mail=encode_message(answer),
            run=parent_run,
        )


def _to_child(started: RunStarted, child: ChildScheduled) -> Envelope:
    message_id = f"{started.run_id}/close/{child.number}"
    parent = (started.id, started.run_id, child.number)
    kind = Cancel if child.on_parent_close == CANCEL_CHILD else Terminate
    message: Message = kind(message_id=message_id, reason=_PARENT_ENDED, parent=parent)
    return Envelope(
        sender=started.id,
        run_id=started.run_id,
        number=0,
        target=child.id,
        message_id=message_id,
        mail=encode_message(message),
    )


def _answer(started: RunStarted, closing: Event | None) -> ChildAnswer | None:
    """None when the run has not ended for its parent: another one goes on from it."""
    _parent, parent_run, number = started.parent
    told = ChildAnswer(
        message_id=f"{started.run_id}/end", run_id=parent_run, number=number, child=started.id, status="completed"
    )
    match closing:
        case RunCompleted(result=result):
            return replace(told, result=result)
        case RunFailed(failure=failure):
            return replace(told, status=Status.FAILED.value, failure=failure)
        case RunCancelled(reason=reason):
            return replace(told, status=Status.CANCELLED.value, reason=reason)
        case RunTimedOut(reason=reason):
            return replace(told, status=Status.TIMED_OUT.value, reason=reason)
        case RunTerminated(reason=reason, successor=""):
            return replace(told, status=Status.TERMINATED.value, reason=reason)
    return None


def is_for_another(message: Message, started: RunStarted) -> bool:
    """Whether a parent sent it to a child that this run is not: its id was taken, or is another's by now."""
    guarded = isinstance(message, Signal | Cancel | Terminate) and message.parent
    return bool(guarded) and tuple(message.parent) != tuple(started.parent)  # type: ignore[attr-defined]


def end_of_child(answer: ChildAnswer, now_ms: int) -> ChildCompleted | ChildFailed:
    """As its parent's history has it."""
    if answer.status == Status.COMPLETED.value:
        return ChildCompleted(answer.number, answer.child, answer.result, at_ms=now_ms)
    failure, status = tuple(answer.failure), answer.status
    return ChildFailed(answer.number, answer.child, status, failure, answer.reason, at_ms=now_ms)
