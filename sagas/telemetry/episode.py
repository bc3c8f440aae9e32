"""The spans of one episode of a run as far as they are alike: their trace, ids, parent, and common attributes."""

from __future__ import annotations

from dataclasses import replace

from sagas.kernel.chain import chain_of
from sagas.kernel.episode import Episode
from sagas.kernel.events import Event, RunStarted
from sagas.payloads.sealing import concealed_words
from sagas.telemetry.span import Attributes, Kind, Link, Moment, Span, SpanStatus, Why
from sagas.telemetry.trace import Caller, Traces, parse_traceparent

TEXT_LIMIT = 4096
"""Characters of a user's text that a span carries: a collector refuses a batch that is too big, with all in it."""


class EpisodeSpans:
    """Makes spans of an episode of the run that ``started``; of a continuous run, every episode's are alike."""

    def __init__(self, started: RunStarted, traces: Traces, episode: Episode) -> None:
        self.started = started
        self.traces = traces
        self.episode = episode
        self.since_ms = started.at_ms if traces.continuous else episode.since_ms
        self._trace_id = traces.trace_id(episode.number)
        self._root_id = traces.root_id(episode.number)
        self._common: dict[str, str | int] = {
            "saga.id": started.id,
            "saga.run_id": started.run_id,
            "saga.type": started.type,
        }
        if not traces.continuous:
            self._common["saga.episode"] = episode.number

    def span(
        self,
        kind: Kind,
        numbers: tuple[int, ...],
        name: str,
        *,
        start_ms: int,
        end_ms: int,
        attributes: Attributes,
        status: SpanStatus = SpanStatus.UNSET,
        error: str = "",
        links: tuple[Link, ...] = (),
        events: tuple[Moment, ...] = (),
        parent_id: int | None = None,
    ) -> Span:
        """The span of its kind with these numbers, below the episode's root unless ``parent_id`` says otherwise."""
        return Span(
            kind=kind,
            name=name,
            trace_id=self._trace_id,
            span_id=self.traces.span_id(kind, *numbers),
            parent_id=self._root_id if parent_id is None else parent_id,
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
            (index,),
            name,
            start_ms=event.at_ms,
            end_ms=event.at_ms,
            attributes=attributes,
            status=SpanStatus.ERROR if error else SpanStatus.UNSET,
            error=error,
            links=links,
        )

    def root(self, end_ms: int, attributes: Attributes, status: SpanStatus, error: str) -> Span:
        """The episode's own span, the root of its trace: linked to what led to it."""
        number = self.episode.number
        caller = self.traces.caller if number == 0 else None
        links: list[Link] = [] if number else self._run_before()
        if number:
            links += [self.episode_link(0, Why.START), self.episode_link(number - 1, Why.PREVIOUS)]
        links += [self.sender_link(sender) for each in self.episode.senders if (sender := parse_traceparent(each))]
        return Span(
            kind=Kind.EPISODE,
            name=self.started.type,
            trace_id=self._trace_id,
            span_id=self._root_id,
            parent_id=None if caller is None else caller.span_id,
            start_ms=self.since_ms,
            end_ms=end_ms,
            attributes={**self._common, "saga.kind": Kind.EPISODE.value, **attributes},
            status=status,
            error=cut(error),
            links=tuple(links),
            remote_parent=caller is not None,
        )

    def run(self, end_ms: int, attributes: Attributes, status: SpanStatus, error: str) -> Span:
        """The run's own span, from its start to its end: below its only episode, else in a trace of its own.

        Of a continuous run it is the root.
        """
        number, traces = self.episode.number, self.traces
        caller = traces.caller if traces.continuous else None
        links = tuple(self._run_before()) if traces.continuous else ()
        parent_id = None if caller is None else caller.span_id
        if not traces.continuous:
            if number:
                links = (self.episode_link(0, Why.START), self.episode_link(number, Why.END))
            else:
                parent_id = self._root_id
        return Span(
            kind=Kind.RUN,
            name=self.started.type if traces.continuous else f"{self.started.type} run",
            trace_id=traces.run_trace_id(number),
            span_id=traces.span_id(Kind.RUN, 0),
            parent_id=parent_id,
            start_ms=self.started.at_ms,
            end_ms=end_ms,
            attributes={**self._common, "saga.kind": Kind.RUN.value, **attributes},
            status=status,
            error=cut(error),
            links=links,
            remote_parent=caller is not None,
        )

    def episode_link(self, number: int, why: Why) -> Link:
        """To the root of another episode."""
        return Link(trace_id=self.traces.trace_id(number), span_id=self.traces.root_id(number), why=why)

    def _run_before(self) -> list[Link]:
        """To the run that this one follows in its chain, if it does."""
        chain = chain_of(self.started)
        if chain is None:
            return []
        before = replace(self.traces, run_id=chain.before, caller=parse_traceparent(chain.trace))
        trace_id, span_id = before.run_trace_id(chain.episode), before.span_id(Kind.RUN, 0)
        return [Link(trace_id=trace_id, span_id=span_id, why=Why.BEFORE)]

    def step_link(self, step: int, episode: int, why: Why) -> Link:
        """To a step, of any episode."""
        span_id = self.traces.span_id(Kind.STEP, step)
        return Link(trace_id=self.traces.trace_id(episode), span_id=span_id, why=why)

    def sender_link(self, sender: Caller) -> Link:
        """To whoever sent a signal."""
        return Link(trace_id=sender.trace_id, span_id=sender.span_id, why=Why.SENDER)


def cut(text: str) -> str:
    """``text``, no longer than a span should carry, and without what a codec has sealed."""
    text = concealed_words(text)
    return text if len(text) <= TEXT_LIMIT else f"{text[: TEXT_LIMIT - 1]}…"
