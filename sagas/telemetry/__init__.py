"""Committed history as spans: ``spans_of`` a turn, ``spans_of_history`` of a whole run; what becomes of them.

``exporter_from_environment`` gives what exports them, as OpenTelemetry's variables say. Importing this brings in
neither OpenTelemetry nor rich, which ``sagas.telemetry.export`` and ``sagas.telemetry.tree`` use.
"""

from sagas.telemetry.environment import exporter_from_environment
from sagas.telemetry.progress import ExportProgress, Marking
from sagas.telemetry.projection import spans_of, spans_of_history
from sagas.telemetry.span import Kind, Link, Moment, Span, SpanStatus, Why
from sagas.telemetry.trace import attempt_traceparent, message_traceparent
from sagas.telemetry.turn import Turn, WholeHistory

__all__ = [
    "ExportProgress",
    "Kind",
    "Link",
    "Marking",
    "Moment",
    "Span",
    "SpanStatus",
    "Turn",
    "WholeHistory",
    "Why",
    "attempt_traceparent",
    "exporter_from_environment",
    "message_traceparent",
    "spans_of",
    "spans_of_history",
]
