"""Spans as OpenTelemetry's SDK has them: what any of its exporters takes, with ids and times of the history."""

from __future__ import annotations

from opentelemetry import trace as otel
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event as SdkEvent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace.status import Status, StatusCode

from sagas.telemetry.span import Moment, Span, SpanStatus

_SCOPE = InstrumentationScope("sagas")
_SAMPLED = otel.TraceFlags(otel.TraceFlags.SAMPLED)
_CODES = {SpanStatus.UNSET: StatusCode.UNSET, SpanStatus.OK: StatusCode.OK, SpanStatus.ERROR: StatusCode.ERROR}
_NS_PER_MS = 1_000_000


def default_resource() -> Resource:
    """``service.name`` is "sagas" unless OpenTelemetry's environment variables name it."""
    return Resource.create({SERVICE_NAME: "sagas"}).merge(OTELResourceDetector().detect())


def readable(span: Span, resource: Resource) -> ReadableSpan:
    """The span for an exporter; only sampled spans are handed to one."""
    parent = None
    if span.parent_id is not None:
        parent = _context(span.trace_id, span.parent_id, is_remote=span.remote_parent)
    return ReadableSpan(
        name=span.name,
        context=_context(span.trace_id, span.span_id),
        parent=parent,
        resource=resource,
        attributes=span.attributes,
        events=[_event(moment) for moment in span.events],
        links=[otel.Link(_context(link.trace_id, link.span_id), {"saga.link": link.why.value}) for link in span.links],
        status=Status(_CODES[span.status], span.error or None),
        start_time=span.start_ms * _NS_PER_MS,
        end_time=span.end_ms * _NS_PER_MS,
        instrumentation_scope=_SCOPE,
    )


def _context(trace_id: int, span_id: int, *, is_remote: bool = False) -> otel.SpanContext:
    return otel.SpanContext(trace_id, span_id, is_remote=is_remote, trace_flags=_SAMPLED)


def _event(moment: Moment) -> SdkEvent:
    return SdkEvent(moment.name, moment.attributes, timestamp=moment.at_ms * _NS_PER_MS)
