"""The deterministic event loop of one instance: plain asyncio code runs on it, durable and in one order everywhere.

Law: nothing here reads a clock or waits. Time is what the activation says it is; a timer is a decision that comes
back as a fact; callbacks run in the order they were asked for, until none is left.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sagas.kernel import ordered, refusals
from sagas.kernel.breaking import BrokenOff
from sagas.kernel.current import ACTIVE
from sagas.kernel.duration import END_MS, ceil_ms
from sagas.kernel.task import OrderedFuture, OrderedTask

if TYPE_CHECKING:
    from sagas.kernel.instance import Instance

ordered.install()
refusals.install()

_new = object.__new__

TURNS = 100_000
"""Callbacks one activation may run before it counts as spinning."""


class Spinning(BrokenOff):
    """An activation ran ``TURNS`` callbacks without coming to rest."""

    def __str__(self) -> str:
        return f"the saga ran {TURNS:,} callbacks without waiting for anything: look for a loop that never sleeps"


class DurableTimer(asyncio.TimerHandle):
    """A callback at a time of the run's clock; ``seq`` is its number in the history."""

    __slots__ = ("seq",)

    def __init__(self, seq: int, when: float, callback: Any, args: Any, loop: Any, context: Any) -> None:
        super().__init__(when, callback, args, loop, context)
        self.seq = seq


@refusals.refusing
class InstanceLoop(asyncio.AbstractEventLoop):
    """Runs one instance's coroutines; see the module's law."""

    def __init__(self, instance: Instance) -> None:
        self._sagas_instance = instance
        self._ready: deque[Any] = deque()  # of asyncio.Handle, whose fields typeshed keeps to itself
        self._timers: dict[int, DurableTimer] = {}
        self._tasks: list[OrderedTask] = []
        self._prune_at = 16
        self.numbered = 0  # tasks and futures made so far
        self.now_ms = 0
        self._outer: asyncio.AbstractEventLoop | None = None
        self._outer_hooks: Any = None

    @property
    def ready(self) -> int:
        """How many callbacks wait to be run."""
        return len(self._ready)

    def next_number(self) -> int:
        """The creation number of the next task or future."""
        self.numbered += 1
        return self.numbered

    # --- what the engine asks of it

    def __enter__(self) -> None:
        """Be the running loop of this thread, for the length of an activation, a query or an eviction. Never nested."""
        ACTIVE.instance = self._sagas_instance
        self._outer = asyncio._get_running_loop()
        self._outer_hooks = sys.get_asyncgen_hooks()
        asyncio._set_running_loop(self)
        # The host loop must never schedule the aclose() of an instance's generators.
        sys.set_asyncgen_hooks(None, _forget)

    def __exit__(self, *_error: object) -> None:
        sys.set_asyncgen_hooks(*self._outer_hooks)
        asyncio._set_running_loop(self._outer)
        self._outer = self._outer_hooks = ACTIVE.instance = None  # sleeping by the million, it holds on to nothing

    def run_until_idle(self, settled: Callable[[], bool], stopped: Callable[[], bool]) -> None:
        """Run callbacks until none is ready and ``settled`` wakes nobody, or ``stopped`` says so.

        Raises: Spinning.
        """
        ready, turns = self._ready, 0
        while True:
            while ready:
                handle = ready.popleft()
                if not handle._cancelled:
                    try:  # as Handle._run() does, which is a call more
                        handle._context.run(handle._callback, *handle._args)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as error:
                        self._callback_failed(handle, error)
                    if stopped():
                        return
                turns += 1
                if turns > TURNS:
                    raise Spinning
            if settled():
                return

    def _callback_failed(self, handle: Any, error: BaseException) -> None:
        shown = getattr(handle._callback, "__qualname__", repr(handle._callback))
        self.call_exception_handler({"message": f"Exception in callback {shown}", "exception": error})

    def fire(self, seq: int) -> None:
        """A timer fell due: its callback becomes ready (nothing when the code gave it up in the meantime)."""
        timer = self._timers.pop(seq, None)
        if timer is not None and not timer.cancelled():
            self._ready.append(timer)

    def close(self) -> None:
        """Drop everything: the instance is evicted or has ended."""
        self._ready.clear()
        self._timers.clear()
        self._tasks.clear()

    def open_tasks(self) -> list[OrderedTask]:
        """Every task that has not ended, in the order of creation."""
        return [task for task in self._tasks if not task.done()]

    # --- asyncio's own protocol (typeshed ties callback and args by a TypeVarTuple; an untyped pair is all we need)

    def time(self) -> float:
        return self.now_ms / 1000

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle: Any = _new(asyncio.Handle)  # what its __init__ does, at a third of the cost
        handle._callback = callback
        handle._args = args
        handle._context = contextvars.copy_context() if context is None else context
        handle._loop = self
        handle._cancelled = False
        handle._repr = handle._source_traceback = None
        self._ready.append(handle)
        return handle  # type: ignore[no-any-return]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        # "For ever" (infinity, or what no calendar holds) ends with the year 9999: a history holds a number.
        due_ms = END_MS if when * 1000 > END_MS else max(self.now_ms, ceil_ms(when))
        seq = self._sagas_instance.set_timer(due_ms)
        timer = DurableTimer(seq, when, callback, args, self, context)
        self._timers[seq] = timer
        return timer

    def _timer_handle_cancelled(self, handle: Any) -> None:
        if self._timers.pop(handle.seq, None) is not None:
            self._sagas_instance.cancel_timer(handle.seq)

    def create_future(self) -> OrderedFuture:
        future = OrderedFuture(loop=self)
        self.numbered = future._number = self.numbered + 1
        return future

    def create_task(
        self, coro: Any, *, name: str | None = None, context: contextvars.Context | None = None, **_ignored: Any
    ) -> OrderedTask:
        self._sagas_instance.check_writable("start a task")
        task = OrderedTask(coro, self, name, context)
        # Held here: collected, a task that nothing can wake would run its ``finally`` at some time, on some other loop.
        if len(self._tasks) >= self._prune_at:
            self._tasks = self.open_tasks()
            self._prune_at = max(16, 2 * len(self._tasks))
        self._tasks.append(task)
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return asyncio._get_running_loop() is self

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self._sagas_instance.background_error(context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self._sagas_instance.background_error(context)

    async def shutdown_asyncgens(self) -> None:
        return


def _forget(_generator: Any) -> None:
    """A collected async generator is left alone: running its ``finally`` would be a side effect at a random time."""
