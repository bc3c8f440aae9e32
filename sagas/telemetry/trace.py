"""Which trace a span belongs to, and the id it has there.

Law: ids are hashes of what is in the history, never drawn: whoever projects the same event, on any host, before or
after a crash, gives it the same id. Which trace a span is in, one an episode or one a run, is decided here alone.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from hashlib import blake2b

from sagas.kernel.events import CONTINUOUS, RunStarted
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
class Traces:
    """The traces a run's spans are part of: in mode ``continuous`` one, else one an episode.

    The first is the caller's, if there is one, and ``caller`` the parent of its root.
    """

    run_id: str
    caller: Caller | None
    continuous: bool

    def trace_id(self, episode: int) -> int:
        """Of the trace in which an episode lies."""
        if episode and not self.continuous:
            return _hash(f"{self.run_id}/episode/{episode}", 16)
        return _hash(self.run_id, 16) if self.caller is None else self.caller.trace_id

    def root_id(self, episode: int) -> int:
        """Of the span of ours that everything else in an episode hangs below."""
        return self.span_id(Kind.RUN, 0) if self.continuous else self.span_id(Kind.EPISODE, episode)

    def run_trace_id(self, last_episode: int) -> int:
        """Of the trace the run's own span lies in: that of its only episode, else one for itself.

        A run lasts as long as it likes, and a trace that held it together with a burst would not show the burst.
        """
        return _hash(f"{self.run_id}/run", 16) if last_episode and not self.continuous else self.trace_id(0)

    def span_id(self, kind: Kind, *numbers: int) -> int:
        """Of the span of this kind.

        ``numbers``: the episode's, the step's, the timer's, of an attempt the step's and its own; else the event's
        index in the history.
        """
        return _hash("/".join((self.run_id, kind.value, *map(str, numbers))), 8)


def traces_of(run: RunStarted) -> Traces:
    """The traces of a run."""
    return _traces(run.run_id, run.trace, run.trace_mode)


@functools.lru_cache(1000)
def _traces(run_id: str, trace: str, mode: str) -> Traces:
    return Traces(run_id=run_id, caller=parse_traceparent(trace), continuous=mode == CONTINUOUS)


def attempt_traceparent(run: RunStarted, episode: int, step: int, attempt: int, *, sampled: bool | None = None) -> str:
    """The W3C ``traceparent`` of an attempt's span, which will be exported when its step has ended.

    ``episode``: the one in which the step is open. ``sampled``: as decided for the run; None: as its caller did.
    """
    traces = traces_of(run)
    return _traceparent(traces, episode, traces.span_id(Kind.ATTEMPT, step, attempt), sampled)


def message_traceparent(run: RunStarted, episode: int, number: int, *, sampled: bool | None = None) -> str:
    """As ``attempt_traceparent``, of the span of message ``number`` to another instance."""
    traces = traces_of(run)
    return _traceparent(traces, episode, traces.span_id(Kind.OUTGOING, number), sampled)


def _traceparent(traces: Traces, episode: int, span_id: int, sampled: bool | None) -> str:
    if sampled is None:
        sampled = traces.caller is None or traces.caller.sampled
    return f"00-{traces.trace_id(episode):032x}-{span_id:016x}-{int(sampled):02x}"


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


def _hash(text: str, size: int) -> int:
    # OpenTelemetry reads id 0 as none at all.
    return int.from_bytes(blake2b(text.encode(), digest_size=size).digest()) or 1
