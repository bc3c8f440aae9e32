"""What a process needs before it runs activities: declared here, entered by whoever runs them (``engine.readiness``).

Law: one belongs to the module that declares it; a process enters those of the modules whose activities it can run.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from sagas.errors import DefinitionError

Context = Callable[[], AbstractAsyncContextManager[Any]] | Callable[[], AsyncIterator[Any]]

worker_starts: list[WorkerStart] = []
"""Every one this process has declared, in order."""


class WorkerStart:
    """One declared context; calling it gives a fresh one, for a test of its own."""

    def __init__(self, function: Context) -> None:
        self.function = function
        self.__name__ = getattr(function, "__name__", repr(function))
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__

    def __call__(self) -> AbstractAsyncContextManager[Any]:
        if inspect.isasyncgenfunction(self.function):
            made: object = contextlib.asynccontextmanager(self.function)()
        else:
            made = self.function()
        if not isinstance(made, AbstractAsyncContextManager):
            raise DefinitionError(
                f"{self} gave a {type(made).__name__}: let it be an async generator function that yields once, or "
                "return an async context manager"
            )
        return made

    def __repr__(self) -> str:
        return f"@on_worker_start {self.__name__!r} of {self.__module__}"


def on_worker_start(function: Context) -> WorkerStart:
    """Declare what each process that runs activities sets up before its first attempt: pools, clients, models.

    An async generator function that yields once, or whatever else gives an async context manager when it is called
    without arguments. All those of the modules a process was given are entered, in the order of their declaration, in
    one task, and left in reverse when it stops or drains: in workers on Ray, and in ``embedded()``, hosts
    (``local=True``) and test environments before the first attempt there. What it sets reaches activities through the
    globals of its module or through context variables; what it yields is not used. One that raises is logged with
    its name and tried again, later and later; until it has succeeded no attempt begins in that process, and other
    processes get the work. It does not run for an activity that a test has replaced.

    Raises: DefinitionError when it cannot be one.
    """
    if inspect.iscoroutinefunction(function) or not callable(function):
        raise DefinitionError(
            f"@on_worker_start takes an async generator function or a function that gives an async context manager, "
            f"not {function!r}: write `yield` where the activities run"
        )
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise DefinitionError(f"@on_worker_start calls {function!r} without arguments: {error}") from None
    made = WorkerStart(function)
    worker_starts.append(made)
    return made
