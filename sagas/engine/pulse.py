"""What a running attempt and its activity's code tell each other: signs of life and details out, a cancel in.

Law: the code's side may be on any thread and costs no more than encoding the details; however often it beats, they
leave at most once an interval, and the last ones always do: a little later, or with the report that the attempt failed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from sagas.engine.clock import Alarm, Clock
from sagas.errors import PayloadError

DETAILS_LIMIT = 64 * 1024
"""Bytes of encoded details: they are written again with every change of the step's retry state."""

_INTERVAL_MS = 1000

Told = Callable[[bytes], None]
"""Given the details that are to leave, on the loop; must return at once."""


def _nobody(_details: bytes) -> None:
    """Whoever was told has ended."""


class Pulse:
    """Of one attempt; made on the loop that the attempt belongs to."""

    __slots__ = (
        "_alarm",
        "_clock",
        "_ended",
        "_interval_ms",
        "_loop",
        "_sent",
        "_sent_ms",
        "_tell",
        "_wanted",
        "cancelled",
        "details",
        "last_ms",
    )

    def __init__(self, clock: Clock, timeout_ms: int | None, tell: Told) -> None:
        """``timeout_ms``: the silence that the attempt is allowed, None for any."""
        self.cancelled = False  # the saga has given the step up, or its attempt is over
        self.details = b""  # the last ones, encoded
        self.last_ms: int | None = None  # when it was last heard (``Clock.elapsed_ms``); None: it has not begun
        self._clock = clock
        self._tell = tell
        self._interval_ms = _INTERVAL_MS if timeout_ms is None else min(_INTERVAL_MS, timeout_ms // 3)
        self._loop = asyncio.get_running_loop()
        self._wanted = False  # somebody will look at ``details``
        self._sent = b""
        self._sent_ms: int | None = None
        self._alarm: Alarm | None = None
        self._ended = False

    # --- the code's side, on any thread

    def begin(self) -> None:
        """The activity's code begins: silence counts from here."""
        self.last_ms = self._clock.elapsed_ms()

    def beat(self, details: bytes | None) -> None:
        """The code is alive, and (unless None) has come this far.

        Raises: CancelledError when it shall stop; PayloadError when the details are too large.
        """
        if self.cancelled:
            raise asyncio.CancelledError("the step was cancelled, or its attempt is over")
        self.last_ms = self._clock.elapsed_ms()
        if details is None:
            return
        if len(details) > DETAILS_LIMIT:
            raise PayloadError(
                f"heartbeat details of {len(details)} bytes are more than {DETAILS_LIMIT}: report a position, and keep "
                "the data itself elsewhere"
            )
        self.details = details
        if not self._wanted:
            self._wanted = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: its process ends, and nobody listens
                self._loop.call_soon_threadsafe(self._soon)

    # --- the attempt's side, on the loop

    def silent_ms(self) -> int:
        """For how long nothing was heard; 0 while the code waits for a thread."""
        return 0 if self.last_ms is None else self._clock.elapsed_ms() - self.last_ms

    def end(self) -> None:
        """The attempt is over: nothing leaves any more, and code that goes on hears of it at its next beat."""
        self.cancelled = self._ended = True
        self._tell = _nobody  # and no cycle keeps the attempt in memory
        if self._alarm is not None:
            self._alarm.cancel()

    def _soon(self) -> None:
        if self._ended:
            return
        since_ms = self._interval_ms if self._sent_ms is None else self._clock.elapsed_ms() - self._sent_ms
        if since_ms >= self._interval_ms:
            self._send()
        else:
            self._alarm = self._clock.alarm(self._interval_ms - since_ms, self._send)

    def _send(self) -> None:
        self._wanted = False  # first: what is told from now on is looked at again
        self._sent_ms = self._clock.elapsed_ms()
        if self.details != self._sent:
            self._sent = self.details
            self._tell(self._sent)
