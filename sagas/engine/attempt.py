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
from typing import Any, NamedTuple

from compensations import Outcome
from sagas.engine.clock import Clock
from sagas.engine.context import Step, enter
from sagas.engine.steps import StepReport, StepTask
from sagas.errors import ArgumentMismatch, PayloadError
from sagas.kernel.activity import Activity
from sagas.kernel.duration import from_ms
from sagas.kernel.failure import Failure
from sagas.kernel.registry import Registry
from sagas.payloads import encode


class _Work(NamedTuple):
    """An activity's function on its way."""

    future: asyncio.Future[Any]
    stoppable: bool


class AttemptRunner:
    """Runs attempts; async activities on the current loop, plain ones in its threads."""

    def __init__(self, registry: Registry, clock: Clock, threads: int = 32) -> None:
        self._registry = registry
        self._clock = clock
        self._closing = False
        self._threads = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="saga-activity")

    async def run(self, task: StepTask) -> StepReport:
        """Make the attempt and say what became of it."""
        started_ms = self._clock.now_ms()
        activity = self._registry.activity(task.activity)
        if activity is None:
            return _report(task, None, _unknown(task.activity), started_ms, started_ms, never_ran=True)
        try:
            args, kwargs = activity.signature.decode(task.args)
        except (PayloadError, ArgumentMismatch) as error:
            # As of an unknown activity: a worker with other code may make it.
            return _report(task, None, _undecodable(activity, error), started_ms, started_ms, never_ran=True)
        try:
            call = functools.partial(self._registry.function_of(activity), *args, **kwargs)
            result = await self._outcome(call, task, started_ms)
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

    async def _outcome(self, call: functools.partial[Any], task: StepTask, started_ms: int) -> bytes | Failure:
        deadline_ms = None if task.timeout_ms is None else started_ms + task.timeout_ms
        step = Step(
            saga_id=task.id,
            run_id=task.run_id,
            step_id=task.step,
            attempt=task.attempt,
            idempotency_key=task.idempotency_key,
            undo_of=task.undo_of_key,
            deadline=None if deadline_ms is None else from_ms(deadline_ms),
            traceparent=task.trace,
        )
        context = contextvars.copy_context()
        context.run(enter, step)
        async with self._clock.timeout(task.timeout_ms) as limit:
            try:
                value = await self._ended(self._begun(call, context), limit)
            except asyncio.CancelledError:
                if not limit.expired():
                    raise
                return Failure.timed_out(task.which_timeout)
        try:
            return encode(value)
        except PayloadError as error:
            # It would be no better next time, and the work is done: another attempt could only do it twice.
            return Failure.of(error).asking(final=True, retry_after_ms=None)

    def _begun(self, call: functools.partial[Any], context: contextvars.Context) -> _Work:
        """The activity's function at work in ``context``: as a task of its own, or in a thread."""
        loop = asyncio.get_running_loop()
        if inspect.iscoroutinefunction(call):
            return _Work(loop.create_task(call(), context=context), stoppable=True)
        return _Work(loop.run_in_executor(self._threads, context.run, call), stoppable=False)

    async def _ended(self, work: _Work, limit: asyncio.Timeout) -> Any:
        """What the work returns or raises. Cancelled, it is asked to stop, and its outcome awaited up to its timeout.

        A thread cannot be stopped, and a coroutine may not listen; only the timeout leaves either behind.
        """
        while True:
            try:
                return await asyncio.shield(work.future)
            except asyncio.CancelledError:
                if work.future.cancelled():
                    raise
                if work.stoppable:
                    work.future.cancel()
                if limit.expired() or self._closing:
                    work.future.add_done_callback(_forget)
                    raise

    def stop(self) -> None:
        """From now on a cancelled attempt is not waited for."""
        self._closing = True

    def close(self) -> None:
        """Let the threads go; those in user code are not waited for."""
        self.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _forget(abandoned: asyncio.Future[Any]) -> None:
    """What abandoned work ends with interests nobody; asked for once, or asyncio complains."""
    if not abandoned.cancelled():
        abandoned.exception()


def _unknown(name: str) -> Failure:
    return Failure(
        kind="error",
        cause_type="UnknownActivity",
        message=f"no activity {name!r} is registered here: declare it in a module given to this process",
        outcome=Outcome.NONE,
    )


def _undecodable(activity: Activity[..., Any], error: Exception) -> Failure:
    return Failure(
        kind="error",
        cause_type="UndecodableArguments",
        message=f"{activity.signature} was not called, since its arguments cannot be decoded here: {error}. Start "
        "workers whose code takes what was recorded, or cancel the saga",
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
