"""Spans on their way to a collector: of several turns, sent in slices, again and again until all of it is taken."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from opentelemetry.sdk.trace import ReadableSpan

from sagas.telemetry.turn import Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """``batch``: spans a request. ``delay_s``: how long spans are collected for one.

    ``first_s``, ``longest_s``: the pause after a first refusal, doubled each time, and its limit.
    ``queue_bytes``: what may wait in memory; turns beyond are not taken, and must be exported from their history.
    """

    batch: int = 512
    delay_s: float = 1.0
    first_s: float = 0.5
    longest_s: float = 30.0
    queue_bytes: int = 64 * 1024 * 1024


@dataclass(slots=True)
class Parcel:
    """Turns and those of their spans that no collector has taken yet. ``due_s``: when it is tried next."""

    turns: list[Turn]
    spans: list[ReadableSpan]
    weight: int
    size: int  # of a slice
    refused: int = 0
    due_s: float = 0.0
    arrived: int = -1  # slices that had arrived, of all parcels, when it was refused last

    def send(self, export: Callable[[Sequence[ReadableSpan]], bool], count: Callable[[], None]) -> bool:
        """Send what is left, ``count`` each slice that arrives; False as soon as one is refused.

        The refused slice goes to the end, so that one which no collector would ever take holds nothing else up.
        """
        while self.spans:
            some, rest = self.spans[: self.size], self.spans[self.size :]
            if not export(some):
                self.spans = rest + some
                return False
            self.spans = rest
            count()
        return True

    def put_off(self, now_s: float, arrived: int, pace: Pace) -> None:
        """It was refused. If other spans have arrived meanwhile something in it is not wanted: take smaller slices."""
        if self.refused and arrived != self.arrived:
            self.size = max(1, self.size // 4)
        self.arrived = arrived
        pause_s = min(pace.longest_s, pace.first_s * 2 ** min(self.refused, 20))
        self.refused += 1
        self.due_s = now_s + pause_s * random.uniform(0.8, 1.2)


def weight_of(turn: Turn) -> int:
    """About how many bytes of memory it holds on to."""
    return sum(500 + len(getattr(event, "args", b"")) + len(getattr(event, "result", b"")) for event in turn.events)
