"""The run that follows another one in its chain: what its history begins with. Pure.

Law: it begins in the commit that closes the one before, so an instance whose chain goes on is never seen without a run.
What belongs to the instance is carried over: attributes, deadline, parent, a pause, and messages nobody has handled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sagas.kernel.chain import Chain, attempt_of, first_run_id, next_run_id
from sagas.kernel.events import Event, Paused, RunContinued, RunFailed, RunStarted
from sagas.kernel.instance import Instance
from sagas.kernel.state import RunState


def succession(state: RunState, instance: Instance | None, now_ms: int, draw: Callable[[], float]) -> list[Event]:
    """The facts that the next run begins with, if the one that has just closed is followed by one; else nothing.

    ``instance``: in which it closed; None where it was ended unseen. ``draw``: for the jitter, in [0, 1).
    """
    started, closing = state.started, state.closing
    assert started is not None, "only a started run ends"
    if instance is None:
        return []
    if isinstance(closing, RunContinued):
        following = _after(state, started, 1, now_ms, args=closing.args, not_before_ms=0)
    elif isinstance(closing, RunFailed) and (begins_ms := _next_try_ms(started, instance, now_ms, draw)) is not None:
        later_ms = begins_ms if begins_ms > now_ms else 0
        following = _after(state, started, attempt_of(started) + 1, now_ms, not_before_ms=later_ms)
    else:
        return []
    held: list[Event] = [Paused("it was paused before", at_ms=now_ms)] if state.paused else []
    return [following, *(instance.moved or ()), *held]


def _next_try_ms(started: RunStarted, instance: Instance, now_ms: int, draw: Callable[[], float]) -> int | None:
    """When a run that failed begins anew; None: never. A try that could not begin within the timeout is not made."""
    retry, failure, attempt = instance.saga_type.retry, instance.retriable, attempt_of(started)
    if retry is None or failure is None or retry.exhausted(attempt):
        return None
    delay_ms = failure.retry_after_ms
    begins_ms = now_ms + (int(retry.delay(attempt, draw()) * 1000) if delay_ms is None else delay_ms)
    return None if started.deadline_ms and begins_ms >= started.deadline_ms else begins_ms


def _after(state: RunState, started: RunStarted, attempt: int, now_ms: int, **changed: Any) -> RunStarted:
    return replace(
        started,
        run_id=next_run_id(started.run_id),
        attributes=dict(state.attributes),
        trace="",  # a trace of its own, linked to the one before
        message_id="",
        chain=tuple(
            Chain(
                first=first_run_id(started.run_id),
                before=started.run_id,
                attempt=attempt,
                episode=state.episode.number,
                trace=started.trace,
            )
        ),
        seed=next_run_id(started.seed) if started.seed else "",
        at_ms=now_ms,
        **changed,
    )
