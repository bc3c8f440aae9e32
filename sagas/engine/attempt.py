"""One attempt of a step, run in this process: by a Ray worker, and by a host for itself.

Law: whatever user code does (raise, hang, return what cannot be encoded), the outcome is a report; nothing but
cancellation of the whole process escapes. Each limit ends the attempt by itself: a coroutine is cancelled, a thread is
given up (its next heartbeat raises), and what either still returns then is dropped.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from compensations import Outcome
from sagas.engine.clock import Alarm, Clock
from sagas.engine.context import Step, enter
from sagas.engine.pulse import Pulse
from sagas.engine.readiness import Readiness
from sagas.engine.steps import Heartbeat, StepReport, StepTask, queue_timed_out
from sagas.errors import ArgumentMismatch, PayloadError
from sagas.kernel.activity import Activity
from sagas.kernel.duration import from_ms
from sagas.kernel.failure import Failure
from sagas.kernel.middleware import ActivityCall, activity_chain
from sagas.kernel.registry import Registry
from sagas.payloads import decode, encode

Done = Callable[[StepReport], None]
"""Told on the loop what became of an attempt, once; must return at once."""

Heard = Callable[[Heartbeat], None]
"""Told on the loop how far an attempt has come; must return at once."""


def unheard(_heartbeat: Heartbeat) -> None:
    """Nobody listens."""


class AttemptRunner:
    """Makes attempts; async activities on the current loop, plain ones in its threads."""

    def __init__(self, registry: Registry, clock: Clock, threads: int = 32) -> None:
        self.registry = registry
        self.clock = clock
        self.closing = False
        self.readiness = Readiness(registry)
        self.threads = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="saga-activity")

    def begin(self, task: StepTask, done: Done, heard: Heard = unheard) -> RunningAttempt:
        """Make the attempt; ``done`` hears what became of it, ``heard`` its heartbeats, neither before this returns."""
        return RunningAttempt(self, task, done, heard)

    def stop(self) -> None:
        """From now on a cancelled attempt is not waited for."""
        self.closing = True

    def close(self) -> None:
        """Let the threads go; those in user code are not waited for."""
        self.stop()
        self.threads.shutdown(wait=False, cancel_futures=True)


class RunningAttempt:
    """One attempt from its beginning to its report.

    Callbacks and no coroutine of its own: the user's function is the one task that an attempt costs.
    """

    __slots__ = (
        "_activity",
        "_alarms",
        "_done",
        "_heard",
        "_limit_ms",
        "_pulse",
        "_queued",
        "_runner",
        "_started_ms",
        "_task",
        "_waits",
        "_which",
        "_withdrawn",
        "_work",
    )

    def __init__(self, runner: AttemptRunner, task: StepTask, done: Done, heard: Heard) -> None:
        self._runner = runner
        self._task = task
        self._done: Done | None = done
        self._heard = heard
        self._pulse = Pulse(runner.clock, task.heartbeat_timeout_ms, self._told)
        self._started_ms = runner.clock.now_ms()
        self._limit_ms, self._which = task.limit(self._started_ms)
        self._alarms: list[Alarm | None] = []
        self._queued: concurrent.futures.Future[Any] | None = None  # of work in a thread
        self._withdrawn = False  # cancelled before its first line
        self._waits = False  # until its process is ready
        self._activity = runner.registry.activity(task.activity)
        self._work: asyncio.Future[Any] | None = None
        if self._activity is None:
            self._never_ran(_unknown(task.activity))
        elif runner.readiness.ready or runner.registry.is_replaced(self._activity):
            self._start(self._activity)
        else:
            self._waits = True
            runner.readiness.when_ready(functools.partial(self._start_late, self._activity))
            if task.begins_until_ms is not None:
                left_ms = max(0, task.begins_until_ms - self._started_ms)
                self._alarms.append(runner.clock.alarm(left_ms, self._waited_too_long))

    def _start_late(self, activity: Activity[..., Any]) -> None:
        """What it needs is there now; it may have been given up in the meantime."""
        if self._done is not None:
            self._waits = False
            self._disarm()
            self._started_ms = self._runner.clock.now_ms()
            self._limit_ms, self._which = self._task.limit(self._started_ms)
            self._start(activity)

    def _waited_too_long(self) -> None:
        self._tell(queue_timed_out(self._task))

    def _start(self, activity: Activity[..., Any]) -> None:
        runner = self._runner
        try:
            args, kwargs = activity.signature.decode(self._task.args)
        except (PayloadError, ArgumentMismatch) as error:
            # As of an unknown activity: a worker with other code may make it.
            self._never_ran(_undecodable(activity, error))
            return
        try:
            self._work = self._begun(functools.partial(runner.registry.function_of(activity), *args, **kwargs))
        except Exception as error:  # of this process: no thread can be started, say
            asyncio.get_running_loop().call_soon(self._report, None, Failure.of(error))
            return
        self._work.add_done_callback(self._ended)
        self._set_alarms()

    @property
    def work(self) -> asyncio.Future[Any] | None:
        """What it does; None before it has begun."""
        return self._work

    @property
    def details(self) -> bytes:
        """How far it has come, encoded: of its last heartbeat; b"" for none."""
        return self._pulse.details

    def cancel(self) -> None:
        """Ask it to stop. Who does not listen goes on, and its outcome is awaited up to its timeout.

        A coroutine meets a CancelledError at its await, a thread at its next heartbeat.
        """
        if self._waits and self._done is not None:
            return self._tell(withdrawn(self._task))
        if self._work is None or self._done is None:
            return None
        self._pulse.cancelled = True
        if self._queued is not None:
            self._withdrawn |= self._queued.cancel()  # nothing comes of it once a thread has begun
        if isinstance(self._work, asyncio.Task):
            code = self._work.get_coro()
            self._withdrawn |= inspect.iscoroutine(code) and inspect.getcoroutinestate(code) == inspect.CORO_CREATED
            self._work.cancel()
        if self._runner.closing:
            self._report(None, Failure.cancelled(Outcome.UNKNOWN))
        return None

    def _begun(self, call: functools.partial[Any]) -> asyncio.Future[Any]:
        """The activity's function at work in a context of its own: as a task, or in a thread."""
        loop, ready = asyncio.get_running_loop(), self._runner.readiness.context
        context = contextvars.copy_context() if ready is None else ready.copy()
        context.run(enter, self._step())
        if not inspect.iscoroutinefunction(call):
            if activity_chain:
                return loop.create_task(self._surrounded(call), context=context)
            return self._in_thread(call, context)
        self._pulse.begin()
        return loop.create_task(self._surrounded(call) if activity_chain else call(), context=context)

    def _in_thread(self, call: Callable[[], Any], context: contextvars.Context) -> asyncio.Future[Any]:
        task, clock = self._task, self._runner.clock
        self._queued = self._runner.threads.submit(context.run, _called, call, self._pulse)
        if task.queue_until_ms is not None:
            self._alarms.append(clock.alarm(max(0, task.queue_until_ms - clock.now_ms()), self._queued_too_long))
        return asyncio.wrap_future(self._queued)

    async def _surrounded(self, call: functools.partial[Any]) -> Any:
        """The activity's function within the middleware in use."""

        async def last(made: ActivityCall) -> Any:
            function = functools.partial(call.func, *made.args, **made.kwargs)
            if inspect.iscoroutinefunction(function):
                return await function()
            return await self._thread_ended(self._in_thread(function, contextvars.copy_context()))

        name = self._task.activity
        return await activity_chain.around(last)(ActivityCall(activity=name, args=call.args, kwargs=call.keywords))

    async def _thread_ended(self, work: asyncio.Future[Any]) -> Any:
        """What it ends with: a cancel does not stop a thread, so that its outcome is waited for all the same."""
        work.add_done_callback(_forget)
        while True:
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                if work.done() or self._done is None:  # nobody asks any more
                    raise

    def _set_alarms(self) -> None:
        task, clock = self._task, self._runner.clock
        if self._limit_ms is not None:
            self._alarms.append(clock.alarm(self._limit_ms, self._timed_out))
        if task.heartbeat_timeout_ms is not None:
            self._alarms.append(clock.alarm(task.heartbeat_timeout_ms, self._look_for_life))

    def _step(self) -> Step:
        task = self._task
        return Step(
            saga_id=task.id,
            run_id=task.run_id,
            step_id=task.step,
            attempt=task.attempt,
            idempotency_key=task.idempotency_key,
            undo_of=task.undo_of_key,
            deadline=None if self._limit_ms is None else from_ms(self._started_ms + self._limit_ms),
            traceparent=task.trace,
            heartbeat_details=decode(task.heartbeat) if task.heartbeat else None,
            pulse=self._pulse,
        )

    def _told(self, details: bytes) -> None:
        task = self._task
        self._heard(Heartbeat(task.id, task.run_id, task.step, task.attempt, details))

    def _timed_out(self) -> None:
        self._give_up(Failure.timed_out(self._which))

    def _give_up(self, failure: Failure) -> None:
        """Only a timeout leaves work behind that does not stop."""
        if self._work is not None:
            self._work.cancel()  # and what still waits for a thread never begins
        self._report(None, failure)

    def _look_for_life(self) -> None:
        limit_ms = self._task.heartbeat_timeout_ms or 0
        left_ms = limit_ms - self._pulse.silent_ms()
        if left_ms <= 0:
            self._give_up(Failure.timed_out("heartbeat"))
        else:
            self._alarms.append(self._runner.clock.alarm(left_ms, self._look_for_life))

    def _queued_too_long(self) -> None:
        """The time for a thread to come free is over; nothing comes of this once one has begun."""
        if self._queued is not None and self._queued.cancel():
            now_ms = self._runner.clock.now_ms()
            failure = Failure.timed_out("queue", Outcome.NONE)
            self._tell(_report(self._task, None, failure, now_ms, now_ms, never_ran=True))

    def _ended(self, work: asyncio.Future[Any]) -> None:
        if self._done is None:
            _forget(work)  # it was left behind
        elif work.cancelled() and self._withdrawn:
            self._tell(withdrawn(self._task))
        elif work.cancelled() or isinstance(error := work.exception(), asyncio.CancelledError):  # that: of a thread
            self._report(None, Failure.cancelled(Outcome.UNKNOWN))
        elif error is not None:
            assert self._activity is not None, "it has begun"
            self._report(None, Failure.of(error, self._activity.defaults.retry.fatal))
        else:
            self._report_result(work.result())

    def _report_result(self, value: Any) -> None:
        try:
            result = encode(value)
        except PayloadError as error:
            # It would be no better next time, and the work is done: another attempt could only do it twice.
            self._report(None, Failure.of(error).asking(final=True, retry_after_ms=None))
        except Exception as error:  # a defect of a user's type: the work is done all the same
            self._report(None, Failure.of(error).asking(final=True, retry_after_ms=None))
        else:
            self._report(result, None)

    def _never_ran(self, failure: Failure) -> None:
        report = _report(self._task, None, failure, self._started_ms, self._started_ms, never_ran=True)
        asyncio.get_running_loop().call_soon(self._tell, report)

    def _report(self, result: bytes | None, failure: Failure | None) -> None:
        report = _report(self._task, result, failure, self._started_ms, self._runner.clock.now_ms())
        details = self._pulse.details
        self._tell(replace(report, heartbeat=details) if details and failure is not None else report)

    def _tell(self, report: StepReport) -> None:
        self._pulse.end()
        self._disarm()
        done, self._done = self._done, None
        if done is not None:
            done(report)

    def _disarm(self) -> None:
        for alarm in self._alarms:
            if alarm is not None:
                alarm.cancel()
        self._alarms.clear()


def _called(call: Callable[[], Any], pulse: Pulse) -> Any:
    """What a plain function returns, in its thread."""
    pulse.begin()
    try:
        return call()
    except StopIteration as error:
        # No future takes one: the attempt would never report.
        raise RuntimeError(f"the activity raised StopIteration({error})") from error


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
