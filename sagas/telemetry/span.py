"""A span as a plain value: what the projection makes, the exporter sends and the tree draws. Knows no OpenTelemetry."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

Attributes = Mapping[str, str | int]


class Kind(enum.StrEnum):
    """What in a run a span stands for; ``saga.kind`` on the wire."""

    RUN = "run"
    EPISODE = "episode"  # a burst of activity between two sleeps: the root of its trace
    STEP = "step"
    COMPENSATION = "compensation"
    ATTEMPT = "attempt"  # of a step or of a compensation, and its child
    TIMER = "timer"
    MESSAGE = "message"  # a signal, or a request to cancel
    OUTGOING = "outgoing"  # a message to another instance
    STANDSTILL = "standstill"  # parked, paused, resumed
    UNWIND = "unwind"  # a scope began to undo


class SpanStatus(enum.Enum):
    """As in OpenTelemetry; UNSET where nothing could have failed."""

    UNSET = "unset"
    OK = "ok"
    ERROR = "error"


class Why(enum.StrEnum):
    """What a link leads to; its attribute ``saga.link`` on the wire."""

    START = "start"  # the run's first episode
    PREVIOUS = "previous"  # the episode before
    SENDER = "sender"  # whoever sent a signal
    UNDOES = "undoes"  # the step that a compensation undoes
    END = "end"  # the run's last episode
    BEFORE = "before"  # the run that this one follows


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Another span this one follows from, in this trace or in another."""

    trace_id: int
    span_id: int
    why: Why


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happened within a span: OpenTelemetry's span event."""

    name: str
    at_ms: int
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span. Ids are OpenTelemetry's integers, times ms of the epoch; ``error`` says what went wrong, if ERROR.

    ``parent_id`` is None for the root of a trace; ``remote_parent``: it is the span of a run's caller.
    """

    kind: Kind
    name: str
    trace_id: int
    span_id: int
    parent_id: int | None
    start_ms: int
    end_ms: int
    attributes: Attributes
    status: SpanStatus = SpanStatus.UNSET
    error: str = ""
    links: tuple[Link, ...] = ()
    events: tuple[Moment, ...] = ()
    remote_parent: bool = False
