"""An answer to a callback, as it comes in by mail: a fact, or nothing. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from sagas.engine.message import CallbackAnswered
from sagas.kernel.events import CallbackCompleted, CallbackFailed, Event
from sagas.kernel.state import RunState


def fact_of_answer(
    answer: CallbackAnswered, state: RunState, facts: Iterable[Event], now_ms: int
) -> CallbackCompleted | CallbackFailed | None:
    """None for an answer that does not count: of another run, to no open callback, with another secret, a later one."""
    number, opened = answer.number, state.callbacks.get(answer.number)
    if opened is None or state.started is None or state.started.run_id != answer.run_id:
        return None
    if not hmac.compare_digest(opened.secret, answer.secret):
        return None
    if any(isinstance(fact, CallbackCompleted | CallbackFailed) and fact.number == number for fact in facts):
        return None
    if answer.failure:
        return CallbackFailed(number, tuple(answer.failure), answer.message_id, at_ms=now_ms)
    return CallbackCompleted(number, answer.result, answer.message_id, at_ms=now_ms)
