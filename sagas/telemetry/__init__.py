"""Committed history as spans: ``spans_of`` a turn, ``spans_of_history`` of a whole run. Imports neither OTel nor rich.

``sagas.telemetry.export`` hands spans to OpenTelemetry, ``sagas.telemetry.tree`` draws them: imported where needed.
"""

from sagas.telemetry.projection import spans_of, spans_of_history
from sagas.telemetry.span import Kind, Link, Moment, Span, SpanStatus
from sagas.telemetry.turn import Turn

__all__ = ["Kind", "Link", "Moment", "Span", "SpanStatus", "Turn", "spans_of", "spans_of_history"]
