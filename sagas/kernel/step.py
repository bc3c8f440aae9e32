"""A step: one call of an activity inside a saga, as the coroutine that the saga awaits.

Law: the step is decided when the coroutine first runs, not when it is made, exactly as asyncio would start it; one
that is never awaited never happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any

from sagas.kernel.current import current
from sagas.kernel.events import StepCompleted, StepScheduled
from sagas.kernel.failure import Failure
from sagas.kernel.scope import Scope, current_scope
from sagas.payloads import decode

if TYPE_CHECKING:
    from sagas.kernel.activity import Activity
    from sagas.kernel.instance import Instance


class StepCall(Coroutine[Any, Any, Any]):
    """``charge("u1", 500)`` inside a saga: awaitable, or anything asyncio does with a coroutine.

    ``number`` is the step's number in the run once it was scheduled (0 before); ``undo.keep`` takes the object.
    """

    __slots__ = ("_activity", "_args", "_code", "_kwargs", "number")

    def __init__(self, activity: Activity[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._activity = activity
        self._args = args
        self._kwargs = kwargs
        self._code: Generator[Any, Any, Any] | None = None
        self.number = 0

    def send(self, value: Any) -> Any:
        return (self._code or self.__await__()).send(value)

    def throw(self, *error: Any) -> Any:
        return (self._code or self.__await__()).throw(*error)

    def close(self) -> None:
        if self._code is not None:
            self._code.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        if self._code is not None:  # one that has ended would end at once again, and give None
            raise RuntimeError(f"cannot await {self!r} twice: call the activity again, or await a task of it")
        self._code = code = self._run()
        return code

    def _run(self) -> Generator[Any, Any, Any]:
        # A generator and no coroutine: every step is awaited through it, and an object less stands between.
        instance = current("an activity's durable step")
        activity = self._activity
        instance.learn(activity)
        scope = current_scope() if activity.undo is not None and activity.compensated else None
        scheduled = self._scheduled(instance, activity, scope)
        self.number = number = scheduled.step
        settle = None if scope is None else scope.join(scheduled, activity)
        try:
            event = yield from instance.expect_step(number, settle)
        except asyncio.CancelledError:
            instance.cancel_step(number)
            raise
        if type(event) is StepCompleted:
            return decode(event.result, activity.signature.returns)
        raise Failure.from_row(event.failure).exception(activity.name, event.attempt)

    def _scheduled(self, instance: Instance, activity: Activity[..., Any], scope: Scope | None) -> StepScheduled:
        """The decision to run the step, or what a replay finds recorded of it."""
        # First, and in a replay too: a call that does not fit takes no number, and is met by its caller again.
        args = activity.signature.encode(self._args, self._kwargs)
        if scope is not None:
            scope.check_open(activity)
        if instance.replaying and (recorded := instance.recorded_step(activity.name)) is not None:
            return recorded
        return instance.decide(
            StepScheduled(
                instance.next_sequence(),
                activity.name,
                args,
                activity.overrides,
                0 if scope is None else scope.number,
                at_ms=instance.loop.now_ms,
            )
        )

    def __repr__(self) -> str:
        return f"<step {self.number or 'not started'} of {self._activity.name!r}>"
