"""A step: one call of an activity inside a saga, as the coroutine that the saga awaits.

Law: the step is decided when the coroutine first runs, not when it is made, exactly as asyncio would start it; one
that is never awaited never happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any

from sagas.kernel.current import current
from sagas.kernel.events import StepCompleted, StepFailed, StepScheduled
from sagas.kernel.failure import Failure
from sagas.kernel.scope import current_scope
from sagas.payloads import decode

if TYPE_CHECKING:
    from sagas.kernel.activity import Activity


class StepCall(Coroutine[Any, Any, Any]):
    """``charge("u1", 500)`` inside a saga: awaitable, or anything asyncio does with a coroutine.

    ``number`` is the step's number in the run once it was scheduled (0 before); ``undo.keep`` takes the object.
    """

    __slots__ = ("_activity", "_args", "_code", "_kwargs", "number")

    def __init__(self, activity: Activity[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._activity = activity
        self._args = args
        self._kwargs = kwargs
        self._code: Coroutine[Any, Any, Any] | None = None
        self.number = 0

    def _started(self) -> Coroutine[Any, Any, Any]:
        if self._code is None:
            self._code = self._run()
        return self._code

    def send(self, value: Any) -> Any:
        return self._started().send(value)

    def throw(self, *error: Any) -> Any:
        return self._started().throw(*error)

    def close(self) -> None:
        if self._code is not None:
            self._code.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._started().__await__()

    async def _run(self) -> Any:
        instance = current("an activity's durable step")
        activity = self._activity
        instance.learn(activity)
        # In a replay too: a caller that catches what does not fit must meet it again.
        args = activity.signature.encode(self._args, self._kwargs)
        scope = current_scope() if activity.undo is not None and activity.compensated else None
        if scope is not None:
            scope.check_open(activity)
        self.number = number = instance.next_sequence()
        scheduled = instance.decide(
            StepScheduled(
                number,
                activity.name,
                args,
                activity.overrides,
                0 if scope is None else scope.number,
                at_ms=instance.now_ms,
            )
        )
        settle = None if scope is None else scope.join(scheduled, activity)
        try:
            event = await instance.expect_step(number, settle)
        except asyncio.CancelledError:
            instance.cancel_step(number)
            raise
        return _outcome(activity, event)

    def __repr__(self) -> str:
        return f"<step {self.number or 'not started'} of {self._activity.name!r}>"


def _outcome(activity: Activity[..., Any], event: StepCompleted | StepFailed) -> Any:
    if isinstance(event, StepCompleted):
        return decode(event.result, activity.signature.returns)
    raise Failure.from_row(event.failure).exception(activity.name, event.attempt)
