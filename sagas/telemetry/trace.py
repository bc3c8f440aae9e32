"""Which trace a span belongs to, and the id it has there.

Law: ids are hashes of what is in the history, never drawn: whoever projects the same event, on any host, before or
after a crash, gives it the same id. Which trace a span is in (today one a run; one an episode of activity is to come)
is decided in ``trace_of`` alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b

from sagas.kernel.events import RunStarted
from sagas.telemetry.span import Kind

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The span somebody made a request from, as its W3C traceparent names it."""

    trace_id: int
    span_id: int
    sampled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The trace a run's spans are part of. ``caller`` is the root span's parent, or None."""

    trace_id: int
    run_id: str
    caller: Caller | None

    @property
    def root_id(self) -> int:
        """Of the run's own span."""
        return self.span_id(Kind.RUN, 0)

    def span_id(self, kind: Kind, number: int) -> int:
        """Of the span of this kind; ``number`` is the step's or the timer's, else the event's index in the history."""
        # OpenTelemetry reads id 0 as "no span".
        return int.from_bytes(blake2b(f"{self.run_id}/{kind.value}/{number}".encode(), digest_size=8).digest()) or 1


def trace_of(run: RunStarted) -> Trace:
    """The trace of a run: its caller's where the run was started from within a trace, else one of its own."""
    caller = parse_traceparent(run.trace)
    if caller is not None:
        return Trace(trace_id=caller.trace_id, run_id=run.run_id, caller=caller)
    trace_id = int.from_bytes(blake2b(run.run_id.encode(), digest_size=16).digest()) or 1
    return Trace(trace_id=trace_id, run_id=run.run_id, caller=None)


def parse_traceparent(header: str) -> Caller | None:
    """The caller a W3C ``traceparent`` names; None for what is not one (the specification has it ignored)."""
    found = _TRACEPARENT.fullmatch(header)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    # A later version may add fields, version 00 may not.
    if version == "ff" or (version == "00" and more is not None):
        return None
    caller = Caller(trace_id=int(trace_id, 16), span_id=int(span_id, 16), sampled=bool(int(flags, 16) & _SAMPLED))
    return caller if caller.trace_id and caller.span_id else None
