"""The spans of one run as far as they are alike: their trace, ids, parent, and the attributes every one has."""

from __future__ import annotations

from sagas.kernel.events import Event, RunStarted
from sagas.telemetry.span import Attributes, Kind, Link, Moment, Span, SpanStatus
from sagas.telemetry.trace import trace_of

TEXT_LIMIT = 4096
"""Characters of a user's text that a span carries: a collector refuses a batch that is too big, with all in it."""


class RunSpans:
    """Makes spans of the run that ``started``."""

    def __init__(self, started: RunStarted) -> None:
        self.started = started
        self.trace = trace_of(started)
        self._common = {"saga.id": started.id, "saga.run_id": started.run_id, "saga.type": started.type}

    def span(
        self,
        kind: Kind,
        number: int,
        name: str,
        *,
        start_ms: int,
        end_ms: int,
        attributes: Attributes,
        status: SpanStatus = SpanStatus.UNSET,
        error: str = "",
        links: tuple[Link, ...] = (),
        events: tuple[Moment, ...] = (),
    ) -> Span:
        """The ``number``-th span of its kind; ``error`` goes with the status ERROR."""
        caller = self.trace.caller
        above = (None if caller is None else caller.span_id) if kind is Kind.RUN else self.trace.root_id
        return Span(
            kind=kind,
            name=name,
            trace_id=self.trace.trace_id,
            span_id=self.trace.span_id(kind, number),
            parent_id=above,
            start_ms=start_ms,
            end_ms=end_ms,
            attributes={**self._common, "saga.kind": kind.value, **attributes},
            status=status,
            error=cut(error),
            links=links,
            events=events,
        )

    def instant(
        self,
        kind: Kind,
        index: int,
        name: str,
        event: Event,
        attributes: Attributes,
        *,
        error: str = "",
        links: tuple[Link, ...] = (),
    ) -> Span:
        """Something that took no time. It has no number of its own: its ``index`` in the history names it."""
        return self.span(
            kind,
            index,
            name,
            start_ms=event.at_ms,
            end_ms=event.at_ms,
            attributes=attributes,
            status=SpanStatus.ERROR if error else SpanStatus.UNSET,
            error=error,
            links=links,
        )


def cut(text: str) -> str:
    """``text``, no longer than a span should carry."""
    return text if len(text) <= TEXT_LIMIT else f"{text[: TEXT_LIMIT - 1]}…"
