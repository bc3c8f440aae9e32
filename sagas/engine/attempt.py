"""One attempt of a step, run in this process: by a Ray worker, and by a host for itself.

Law: whatever user code does (raise, hang, return what cannot be encoded), the outcome is a report; nothing but
cancellation of the whole process escapes.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import inspect
from collections.abc import Callable
from typing import Any

from compensations import Outcome
from sagas.engine.clock import Clock
from sagas.engine.context import Step, running_step
from sagas.engine.steps import StepReport, StepTask
from sagas.errors import PayloadError
from sagas.kernel.activity import Activity
from sagas.kernel.duration import from_ms
from sagas.kernel.failure import Failure
from sagas.kernel.registry import Registry
from sagas.payloads import encode


class AttemptRunner:
    """Runs attempts; async activities on the current loop, plain ones in its threads."""

    def __init__(self, registry: Registry, clock: Clock, threads: int = 32) -> None:
        self._registry = registry
        self._clock = clock
        self._threads = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="saga-activity")

    async def run(self, task: StepTask) -> StepReport:
        """Make the attempt and say what became of it."""
        started_ms = self._clock.now_ms()
        activity = self._registry.activity(task.activity)
        if activity is None:
            return _report(task, None, _unknown(task.activity), started_ms, started_ms, never_ran=True)
        try:
            result = await self._call(activity, task, started_ms)
        except asyncio.CancelledError:
            failure = Failure.cancelled(Outcome.UNKNOWN)
        except BaseException as error:
            failure = Failure.of(error, activity.defaults.retry.fatal)
            if isinstance(error, KeyboardInterrupt):
                raise
        else:
            if isinstance(result, Failure):
                return _report(task, None, result, started_ms, self._clock.now_ms())
            return _report(task, result, None, started_ms, self._clock.now_ms())
        return _report(task, None, failure, started_ms, self._clock.now_ms())

    async def _call(self, activity: Activity[..., Any], task: StepTask, started_ms: int) -> bytes | Failure:
        args, kwargs = activity.signature.decode(task.args)
        deadline_ms = None if task.timeout_ms is None else started_ms + task.timeout_ms
        running_step.set(
            Step(
                saga_id=task.id,
                run_id=task.run_id,
                step_id=task.step,
                attempt=task.attempt,
                idempotency_key=task.idempotency_key,
                undo_of=task.undo_of_key,
                deadline=None if deadline_ms is None else from_ms(deadline_ms),
            )
        )
        limit = asyncio.timeout(None if task.timeout_ms is None else task.timeout_ms / 1000)
        try:
            async with limit:
                function = self._registry.function_of(activity)
                if inspect.iscoroutinefunction(function):
                    value = await function(*args, **kwargs)
                else:
                    value = await self._in_thread(functools.partial(function, *args, **kwargs))
        except TimeoutError:
            if limit.expired():
                return Failure.timed_out("attempt")
            raise
        try:
            return encode(value)
        except PayloadError as error:
            # It would be no better next time, and the work is done: another attempt could only do it twice.
            return Failure.of(error).asking(final=True, retry_after_ms=None)

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, call)

    def close(self) -> None:
        """Let the threads go; those in user code are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _unknown(name: str) -> Failure:
    return Failure(
        kind="error",
        cause_type="UnknownActivity",
        message=f"no activity {name!r} is registered here: declare it at the top level of a module given by --module",
        outcome=Outcome.NONE,
    )


def withdrawn(task: StepTask) -> StepReport:
    """The report of an attempt that was cancelled before it ran."""
    return _report(task, None, Failure.cancelled(Outcome.NONE), 0, 0, never_ran=True)


def _report(
    task: StepTask,
    result: bytes | None,
    failure: Failure | None,
    started_ms: int,
    ended_ms: int,
    never_ran: bool = False,
) -> StepReport:
    return StepReport(task.id, task.run_id, task.step, task.attempt, result, failure, started_ms, ended_ms, never_ran)
