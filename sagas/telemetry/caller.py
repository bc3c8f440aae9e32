"""The W3C traceparent of the code that calls us, for the messages a client sends."""

from __future__ import annotations

import sys


def current_traceparent() -> str:
    """Of the current OpenTelemetry span; "" outside any.

    A program that never loaded OpenTelemetry does not load it by asking.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return ""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
