"""The run that follows another one in its chain: what its history begins with. Pure.

Law: it begins in the commit that closes the one before, so an instance whose chain goes on is never seen without a run.
What belongs to the instance is carried over: attributes, deadline, parent, a pause, and messages nobody has handled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sagas.kernel.chain import Chain, first_run_id, next_run_id
from sagas.kernel.events import Event, Paused, RunContinued, RunStarted
from sagas.kernel.state import RunState


def succession(state: RunState, moved: Sequence[Event], now_ms: int) -> list[Event]:
    """The facts that the next run begins with, if the one that has just closed is followed by one; else nothing."""
    started, closing = state.started, state.closing
    assert started is not None, "only a started run ends"
    if isinstance(closing, RunContinued):
        following = replace(_after(state, started, now_ms), args=closing.args)
    else:
        return []
    held: list[Event] = [Paused("it was paused before", at_ms=now_ms)] if state.paused else []
    return [following, *moved, *held]


def _after(state: RunState, started: RunStarted, now_ms: int) -> RunStarted:
    return replace(
        started,
        run_id=next_run_id(started.run_id),
        attributes=dict(state.attributes),
        trace="",  # a trace of its own, linked to the one before
        message_id="",
        not_before_ms=0,
        chain=tuple(
            Chain(
                first=first_run_id(started.run_id),
                before=started.run_id,
                episode=state.episode.number,
                trace=started.trace,
            )
        ),
        seed=next_run_id(started.seed) if started.seed else "",
        at_ms=now_ms,
    )
