"""Tasks and futures whose hash is their number: sets of them have one order in every process.

``asyncio.wait``, ``TaskGroup`` and ``as_completed`` keep tasks in sets; with the usual hash (the address) their
order would differ between a run and its replay.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sagas.kernel.loop import InstanceLoop

    class _Gathering(asyncio.Future[Any]):
        def __init__(self, children: list[asyncio.Future[Any]], *, loop: asyncio.AbstractEventLoop) -> None: ...

else:
    _Gathering = asyncio.tasks._GatheringFuture


class OrderedFuture(asyncio.Future[Any]):
    """A future numbered by creation; only ``InstanceLoop.create_future`` makes one, and gives it its number.

    Without an ``__init__`` of its own: it would cost as much as all the rest of a future.
    """

    __slots__ = ("_number",)

    _number: int

    def __hash__(self) -> int:
        return self._number


class OrderedTask(asyncio.Task[Any]):
    """A task numbered by creation."""

    def __init__(self, coro: Any, loop: InstanceLoop, name: str | None, context: Any) -> None:
        # Before super().__init__: asyncio puts the task into a WeakSet there, which asks for its hash.
        self._number = loop.next_number()
        super().__init__(coro, loop=loop, name=name or f"task-{self._number}", context=context)
        # Out of the set of all tasks of the process again: there the first tasks of every instance, which have one
        # hash, would stand in one chain. ``ordered.py`` answers ``asyncio.all_tasks`` in a saga.
        asyncio.tasks._unregister_task(self)
        # A task dropped on eviction is no mistake of the user's: say nothing when it is collected.
        self._log_destroy_pending = False

    def __hash__(self) -> int:
        return self._number


class GatheringFuture(_Gathering):
    """What ``asyncio.gather`` returns: numbered like any future where a saga calls it, asyncio's own elsewhere.

    Takes the place of asyncio's class (``ordered.py``), so it serves every loop of the process.
    """

    def __init__(self, children: list[asyncio.Future[Any]], *, loop: asyncio.AbstractEventLoop) -> None:
        number = getattr(loop, "next_number", None)  # which only the loop of an instance has
        self._number = None if number is None else number()
        super().__init__(children, loop=loop)

    def __hash__(self) -> int:
        return object.__hash__(self) if self._number is None else self._number
