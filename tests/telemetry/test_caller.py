"""What a client puts into its messages, so that a run continues its caller's trace."""

from __future__ import annotations

import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider

from sagas.telemetry.caller import current_traceparent
from sagas.telemetry.trace import Caller, parse_traceparent


def test_the_current_span_is_the_caller() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("checkout") as span:
        context = span.get_span_context()
        expected = Caller(trace_id=context.trace_id, span_id=context.span_id, sampled=True)
        assert parse_traceparent(current_traceparent()) == expected


def test_outside_a_span_there_is_none() -> None:
    assert current_traceparent() == ""


def test_a_program_without_opentelemetry_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    assert current_traceparent() == ""
    assert "opentelemetry.trace" not in sys.modules
