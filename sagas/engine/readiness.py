"""The contexts that activities of this process need (``@on_worker_start``): entered before the first attempt.

Law: all are entered and left in one task, in order of declaration and back, whatever attempts come and go; one that
raises is tried again for ever, and says so: an attempt that cannot begin yet waits, and is never lost or failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from sagas.kernel.failure import told
from sagas.kernel.registry import Registry
from sagas.kernel.worker_start import WorkerStart, worker_starts

log = logging.getLogger("sagas.engine")

_BACK_OFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)


class Readiness:
    """Of one process, or one runner of attempts; nothing happens before it is wanted."""

    def __init__(self, registry: Registry) -> None:
        self.failing = ""  # whose context cannot be entered, and why; "" while none fails
        self.context: contextvars.Context | None = None  # what the contexts have set; attempts run in copies
        self._registry = registry
        self._entered: dict[WorkerStart, AbstractAsyncContextManager[Any]] = {}
        self._begins: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether attempts may begin: everything declared so far is entered."""
        return not worker_starts or len(self._entered) == len(self._registry.worker_starts)

    @property
    def in_use(self) -> bool:
        """Whether anything is entered."""
        return bool(self._entered)

    def want(self) -> None:
        """Enter what is not entered yet, in the background."""
        if not self.ready and not self._closing.is_set():
            self._wanted.set()
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._run())

    def when_ready(self, begin: Callable[[], None]) -> None:
        """Call ``begin`` on the loop once attempts may begin; never, when the process stops before."""
        self._begins.append(begin)
        self.want()

    async def wait(self) -> None:
        """Returns when attempts may begin, or none will any more."""
        self.want()
        while not self.ready and not self._closing.is_set():
            self._changed.clear()
            await self._changed.wait()

    async def close(self) -> None:
        """Leave what was entered, newest first; errors there are logged."""
        self._closing.set()
        self._wanted.set()
        self._changed.set()
        if self._task is not None:
            if not self.ready:
                self._task.cancel()  # in the middle of entering one
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._wanted.clear()
                for start in self._registry.worker_starts:
                    if start not in self._entered:
                        await self._enter(start)
                self.context = contextvars.copy_context()
                if self.ready:
                    self._go()
                    await self._wanted.wait()
        finally:
            await self._leave()

    def _go(self) -> None:
        self._changed.set()
        begins, self._begins = self._begins, []
        for begin in begins:
            begin()

    async def _enter(self, start: WorkerStart) -> None:
        tries = 0
        while not self._closing.is_set():
            try:
                made = start()
                await made.__aenter__()
            except Exception as error:
                delay_s = _BACK_OFF_S[min(tries, len(_BACK_OFF_S) - 1)]
                self.failing = f"{start} raised {type(error).__qualname__}: {told(error)}"
                told_once = None if tries else error  # where it comes from; later only that it still does
                log.warning("%s: no activity begins here before it succeeds", self.failing, exc_info=told_once)
                tries += 1
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay_s):
                        await self._closing.wait()
            else:
                self.failing = ""
                self._entered[start] = made
                return

    async def _leave(self) -> None:
        while self._entered:
            start, made = self._entered.popitem()
            try:
                await made.__aexit__(None, None, None)
            except Exception:
                log.exception("%s raised while it was left", start)
