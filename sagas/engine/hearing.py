"""Heartbeats as a host takes them: the first of an instance at once, the following ones together, once an interval.

Law: however many steps of an instance beat, its retry state (one blob for all of them) is written once an interval,
with the latest details of each.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from sagas.engine.clock import Clock
from sagas.engine.steps import Heartbeat, StepKey

_INTERVAL_MS = 1000


class Hearing:
    """Of one host."""

    def __init__(self, clock: Clock, keep: Callable[[Iterable[Heartbeat]], None]) -> None:
        """``keep`` is given heartbeats of one instance."""
        self._clock = clock
        self._keep = keep
        self._later: dict[str, dict[StepKey, Heartbeat]] = {}  # of instances that were heard within an interval

    def hear(self, heartbeat: Heartbeat) -> None:
        """Keep it, now or when the interval is over."""
        later = self._later.get(heartbeat.id)
        if later is None:
            self._begin(heartbeat.id, [heartbeat])
        else:
            later[heartbeat.key] = heartbeat

    def ending(self, key: StepKey) -> None:
        """The attempt of this step has ended, perhaps with its worker: what it has told last is kept before."""
        later = self._later.get(key.id)
        if later and (heartbeat := later.pop(key, None)) is not None:
            self._keep([heartbeat])

    def _begin(self, id: str, heartbeats: Iterable[Heartbeat]) -> None:
        self._later[id] = {}
        self._keep(heartbeats)
        self._clock.alarm(_INTERVAL_MS, functools.partial(self._end, id))

    def _end(self, id: str) -> None:
        if later := self._later.pop(id):
            self._begin(id, later.values())
