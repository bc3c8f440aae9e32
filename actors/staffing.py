"""Whether anybody takes the steps of a queue. Law: a step that waits because nobody does, says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from actors.calls import GONE, Absent, Peer
from sagas.engine.steps import StepKey, StepTask

_LOOK_EVERY_S = 2.0
"""A step must have waited as long before anything is said: queues begin, and dispatchers return, within it."""


class Owner(Protocol):
    """Who keeps what is said."""

    def unplaced(self, tasks: Iterable[StepTask], why: str) -> None:
        """Nobody makes these attempts yet, because ``why``; "": somebody does now."""
        ...


class Staffing:
    """Of one queue, as a host sees it; ``open`` is what the host waits for there."""

    def __init__(self, queue: str, dispatcher: Peer, open: Mapping[StepKey, StepTask], owner: Owner) -> None:
        self._why = f"no worker takes queue {queue!r}: give it some, with up(queues=) or scale(queues=)"
        self._dispatcher = dispatcher
        self._open = open
        self._owner = owner
        self._seen: dict[StepKey, StepTask] = {}  # at the last look
        self._told: dict[StepKey, StepTask] = {}

    async def watch(self, closed: Callable[[], bool]) -> None:
        """Look now and then, as long as anything is open."""
        while not closed():
            await asyncio.sleep(_LOOK_EVERY_S)
            self._told = {key: task for key, task in self._told.items() if self._open.get(key) is task}
            if self._open:
                await self._look()
            self._seen = dict(self._open)

    async def _look(self) -> None:
        try:
            staffed, why = await self._dispatcher.call("staffed")
        except Absent:
            staffed, why = False, ""
        except GONE:
            return  # it comes back, and says then
        if staffed:
            told, self._told = self._told, {}
            self._owner.unplaced(told.values(), "")
            return
        waiting = {key: task for key, task in self._open.items() if self._seen.get(key) is task}
        self._owner.unplaced([task for key, task in waiting.items() if key not in self._told], why or self._why)
        self._told.update(waiting)
