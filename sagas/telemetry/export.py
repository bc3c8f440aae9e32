"""Spans to OpenTelemetry: real SDK spans with ids and times of the history, handed to any processor or exporter.

The only module here that imports OpenTelemetry; it is imported by who wants to emit. Law: emitting never takes its host
down and never waits for a network: an exporter gets a batch processor with a thread of its own.
"""

from __future__ import annotations

import logging

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event as SdkEvent
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Decision, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace.status import Status, StatusCode

from sagas.kernel.events import RunStarted
from sagas.telemetry.projection import spans_of
from sagas.telemetry.span import Kind, Moment, Span, SpanStatus
from sagas.telemetry.trace import trace_of
from sagas.telemetry.turn import Turn

log = logging.getLogger("sagas.telemetry")

_SCOPE = InstrumentationScope("sagas")
_SAMPLED = otel.TraceFlags(otel.TraceFlags.SAMPLED)
_CODES = {SpanStatus.UNSET: StatusCode.UNSET, SpanStatus.OK: StatusCode.OK, SpanStatus.ERROR: StatusCode.ERROR}
_NS_PER_MS = 1_000_000


class SpanEmitter:
    """Emits the spans of committed turns; ``on_committed`` is a host's hook.

    ``target``: an exporter (gets a batch processor; its queue is sized by OpenTelemetry's ``OTEL_BSP_*`` variables and
    drops what does not fit), a processor, or a whole provider, whose resource and sampler then count and which is only
    flushed, never shut down, here. Sampling looks at the run alone (its trace id, its caller's decision), so that all
    hosts agree; by default what the caller sampled, and every run without a caller.
    """

    def __init__(self, target: SpanExporter | SpanProcessor | TracerProvider) -> None:
        self._processor: SpanProcessor | None
        self._resource = _resource()
        self._sampler: Sampler = DEFAULT_ON
        self._owned = not isinstance(target, TracerProvider)
        if isinstance(target, TracerProvider):
            tracer = target.get_tracer(_SCOPE.name)
            self._processor = None  # where the SDK is disabled (OTEL_SDK_DISABLED)
            if isinstance(tracer, Tracer):
                self._processor, self._resource = tracer.span_processor, tracer.resource
                self._sampler = tracer.sampler
        elif isinstance(target, SpanProcessor):
            self._processor = target
        else:
            self._processor = BatchSpanProcessor(target)

    def on_committed(self, turn: Turn) -> None:
        """Emit what the turn ended. Returns at once and never raises: a span less must not cost a host."""
        try:
            if turn.run is not None and turn.events and self._processor is not None and self._samples(turn.run):
                for span in spans_of(turn):
                    self._processor.on_end(self._readable(span))
        except Exception:
            log.exception("spans of %r were not emitted; the run goes on", turn.run and turn.run.id)

    def flush(self, timeout_s: float = 30) -> bool:
        """Export what waits; blocks (call it in a thread). False when it took too long."""
        return self._processor is None or self._processor.force_flush(int(timeout_s * 1000))

    def shutdown(self) -> None:
        """Export what waits and end; blocks (call it in a thread)."""
        if not self._owned:
            self.flush()
        elif self._processor is not None:
            self._processor.shutdown()

    def _samples(self, run: RunStarted) -> bool:
        trace = trace_of(run)
        context = Context()  # explicit, or the sampler would look at whatever span surrounds the host
        if trace.caller is not None:
            flags = _SAMPLED if trace.caller.sampled else otel.TraceFlags(otel.TraceFlags.DEFAULT)
            caller = otel.SpanContext(trace.trace_id, trace.caller.span_id, is_remote=True, trace_flags=flags)
            context = otel.set_span_in_context(otel.NonRecordingSpan(caller), context)
        result = self._sampler.should_sample(context, trace.trace_id, run.type)
        return result.decision is Decision.RECORD_AND_SAMPLE

    def _readable(self, span: Span) -> ReadableSpan:
        parent = None
        if span.parent_id is not None:
            parent = _context(span.trace_id, span.parent_id, is_remote=span.kind is Kind.RUN)
        return ReadableSpan(
            name=span.name,
            context=_context(span.trace_id, span.span_id),
            parent=parent,
            resource=self._resource,
            attributes=span.attributes,
            events=[_event(moment) for moment in span.events],
            links=[otel.Link(_context(link.trace_id, link.span_id)) for link in span.links],
            status=Status(_CODES[span.status], span.error or None),
            start_time=span.start_ms * _NS_PER_MS,
            end_time=span.end_ms * _NS_PER_MS,
            instrumentation_scope=_SCOPE,
        )


def _resource() -> Resource:
    """``service.name`` is "sagas" unless OpenTelemetry's environment variables name it."""
    return Resource.create({SERVICE_NAME: "sagas"}).merge(OTELResourceDetector().detect())


def _context(trace_id: int, span_id: int, *, is_remote: bool = False) -> otel.SpanContext:
    return otel.SpanContext(trace_id, span_id, is_remote=is_remote, trace_flags=_SAMPLED)


def _event(moment: Moment) -> SdkEvent:
    return SdkEvent(moment.name, moment.attributes, timestamp=moment.at_ms * _NS_PER_MS)
