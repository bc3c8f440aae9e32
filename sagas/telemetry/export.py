"""Committed turns to OpenTelemetry: a thread of its own projects them and hands their spans to any span exporter.

Law: a host hands a turn over in a microsecond and is never held up, whatever the collector does. What was handed over
arrives, as long as the process lives: a refused slice is sent again until it is taken. Whatever did not arrive is told,
so that its run stays marked and is exported again from its history.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from opentelemetry import context as otel_context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Sampler

from sagas.errors import HistoryError
from sagas.kernel.events import Event, RunStarted
from sagas.telemetry.parcel import Pace, Parcel, weight_of
from sagas.telemetry.progress import ExportProgress
from sagas.telemetry.projection import spans_of
from sagas.telemetry.readable import default_resource, readable
from sagas.telemetry.sampling import RunSampler
from sagas.telemetry.trace import attempt_traceparent, message_traceparent
from sagas.telemetry.turn import Turn, WholeHistory

log = logging.getLogger("sagas.telemetry")

OnSettled = Callable[[Sequence[Turn], bool], None]
"""Told on the host's loop what became of turns: their spans have arrived, or (False) the queue was full."""


def _unheard(_turns: Sequence[Turn], _arrived: bool) -> None:
    """Nobody keeps marks."""


class SpanExport:
    """The engine's ``Exporter``, as spans. ``start`` and ``stop`` once each, on the loop of the host it belongs to."""

    def __init__(
        self,
        exporter: SpanExporter,
        *,
        sampler: Sampler | None = None,
        resource: Resource | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._exporter = exporter
        self._sampler = RunSampler(sampler)
        self._resource = resource or default_resource()
        self._pace = pace or Pace()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_settled: OnSettled = _unheard
        self._thread: threading.Thread | None = None
        self._turns: deque[Turn] = deque()
        self._held: deque[Parcel] = deque()  # refused, to be sent again
        # One writer each, so that no lock is needed: the host's loop, and the thread.
        self._taken, self._let_go = 0, 0
        self._full = False
        self._up, self._arrived, self._probe_s = True, 0, 0.0
        self._wake, self._quiet = threading.Event(), threading.Condition()
        self._hurry, self._ended = False, False

    # --- the host's side

    def start(self, on_settled: OnSettled = _unheard) -> None:
        """From now on turns are taken; ``on_settled`` hears on the running loop what became of them."""
        self._loop, self._on_settled = asyncio.get_running_loop(), on_settled
        self._thread = threading.Thread(target=self._work, name="saga-spans", daemon=True)
        self._thread.start()

    def samples(self, run: RunStarted) -> bool:
        """Whether the run's spans are exported; only then it needs a mark."""
        return self._sampler.samples(run)

    def traceparent(self, run: RunStarted, episode: int, step: int, attempt: int) -> str:
        """For what an attempt calls: the W3C header of its span, with this export's decision on the run."""
        return attempt_traceparent(run, episode, step, attempt, sampled=self.samples(run))

    def message_traceparent(self, run: RunStarted, episode: int, number: int) -> str:
        """As ``traceparent``, of a message to another instance."""
        return message_traceparent(run, episode, number, sampled=self.samples(run))

    def progress(self, marks: Iterable[tuple[str, str, int]]) -> ExportProgress:
        """Of a shard that was claimed, with what the store has marked."""
        return ExportProgress(marks, lambda: self.waiting_bytes < self._pace.queue_bytes // 2)

    def export_history(self, history: Sequence[Event], first: int) -> None:
        """Take what follows event ``first``, which began a turn, of a history. Returns soon and never raises."""
        try:
            turn = WholeHistory.of(history, first)
        except HistoryError as error:
            log.warning("a history cannot be exported: %s", error)
        else:
            self.export(turn)

    def export(self, turn: Turn) -> None:
        """Take a turn that is durable. Returns at once and never raises."""
        if turn.run is None or not turn.events or self._ended or not self.samples(turn.run):
            return
        if self._taken - self._let_go >= self._pace.queue_bytes:
            self._refuse(turn)
            return
        self._full = False
        self._taken += weight_of(turn)
        self._turns.append(turn)
        if len(self._turns) >= self._pace.batch:
            self._wake.set()

    def _refuse(self, turn: Turn) -> None:
        if not self._full:
            self._full = True
            log.warning("the queue of spans is full: what comes now is exported later, from its history")
        if self._loop is not None:
            self._loop.call_soon(self._on_settled, (turn,), False)

    @property
    def waiting_bytes(self) -> int:
        """About how much waits in memory."""
        return self._taken - self._let_go

    def flush(self, timeout_s: float = 30) -> bool:
        """Send what waits; blocks (call it in a thread). False when it took too long."""
        self._hurry = True
        self._wake.set()
        with self._quiet:
            return self._quiet.wait_for(lambda: self.waiting_bytes == 0, timeout_s)

    async def stop(self, grace_s: float = 5.0) -> bool:
        """Send what waits, for at most about ``grace_s``, and end. False when some of it could not be sent."""
        flushed = self._thread is None or await asyncio.to_thread(self.flush, grace_s)
        if not flushed:
            log.warning("not all spans could be sent; those of marked runs are exported by the next owner")
        self._ended = True
        self._wake.set()
        await asyncio.to_thread(self._close)
        return flushed

    def _close(self) -> None:
        try:
            self._exporter.shutdown()
        except Exception:
            log.exception("the span exporter could not be shut down")
        if self._thread is not None:
            self._thread.join(1.0)  # a collector that hangs must not hold the host up: the thread is a daemon

    # --- the thread's side

    def _work(self) -> None:
        # Else an instrumented HTTP client would make spans of sending spans, and send those.
        otel_context.attach(otel_context.set_value(otel_context._SUPPRESS_INSTRUMENTATION_KEY, True))
        while not self._ended:
            self._wake.wait(self._pause_s())
            self._wake.clear()
            if self._hurry:
                self._hurry, self._probe_s = False, 0.0
                for held in self._held:
                    held.due_s = 0.0
            while not self._ended and (parcel := self._next(time.monotonic())) is not None:
                self._try(parcel)

    def _pause_s(self) -> float:
        """Until something falls due; what was handed over waits ``delay_s`` at most."""
        due_s = [parcel.due_s for parcel in self._held]
        if self._turns and not self._up:
            due_s.append(self._probe_s)
        pauses = [max(0.0, each - time.monotonic()) for each in due_s]
        return min([self._pace.delay_s, *pauses])

    def _next(self, now_s: float) -> Parcel | None:
        """What is tried next: a parcel that is due again, else a new one; while nothing arrives a new one seldom."""
        for parcel in self._held:
            if parcel.due_s <= now_s:
                self._held.remove(parcel)
                return parcel
        return self._cut() if self._turns and (self._up or now_s >= self._probe_s) else None

    def _cut(self) -> Parcel:
        """A new parcel of the turns that came first."""
        parcel = Parcel([], [], 0, self._pace.batch)
        while self._turns and len(parcel.spans) < self._pace.batch:
            turn = self._turns.popleft()
            parcel.turns.append(turn)
            parcel.weight += weight_of(turn)
            try:
                parcel.spans += [readable(span, self._resource) for span in spans_of(turn)]
            except Exception:  # a defect, and there is no use in meeting it again
                log.exception("spans of %r cannot be made; the run goes on", turn.run and turn.run.id)
        return parcel

    def _try(self, parcel: Parcel) -> None:
        if parcel.send(self._hand_over, self._count):
            self._settle(parcel)
            return
        now_s = time.monotonic()
        parcel.put_off(now_s, self._arrived, self._pace)
        self._held.append(parcel)
        self._up = False
        self._probe_s = now_s + min(self._pace.longest_s, 2 * self._pace.first_s * len(self._held))
        if parcel.refused == 1 or parcel.refused % 20 == 0:
            log.warning("%d spans were refused %d times; they are sent again", len(parcel.spans), parcel.refused)

    def _count(self) -> None:
        self._arrived += 1
        self._up = True

    def _hand_over(self, spans: Sequence[ReadableSpan]) -> bool:
        try:
            return self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception:
            log.exception("the span exporter failed")
            return False

    def _settle(self, parcel: Parcel) -> None:
        """All of it has arrived: say so on the host's loop, then to whoever waits for a flush."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody keeps marks any more
                self._loop.call_soon_threadsafe(self._on_settled, parcel.turns, True)
        with self._quiet:
            self._let_go += parcel.weight
            self._quiet.notify_all()
