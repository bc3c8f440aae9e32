"""Through the real SDK: what an exporter gets is the projection, and a broken or slow one costs the host nothing."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import NoReturn

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, TraceIdRatioBased
from opentelemetry.trace import StatusCode

import sagas
from sagas.kernel.events import Event, RunCompleted, RunStarted, SignalReceived
from sagas.telemetry import Span, spans_of_history
from sagas.telemetry.export import SpanEmitter
from sagas.telemetry.turn import WholeHistory
from tests.telemetry.journeys import Journey

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def emitter(exporter: InMemorySpanExporter) -> Iterator[SpanEmitter]:
    made = SpanEmitter(exporter)
    yield made
    made.shutdown()


def history(run_id: str = "run-1", trace: str = "", signals: int = 1) -> list[Event]:
    started = RunStarted("sub-1", run_id, "Subscription", b"", {}, trace, at_ms=1000)
    received = [SignalReceived(f"m-{number}", "poke", b"", at_ms=2000) for number in range(signals)]
    return [started, *received, RunCompleted(b"", at_ms=3000)]


def ids(spans: Sequence[Span]) -> list[tuple[int, int]]:
    return [(span.trace_id, span.span_id) for span in spans]


def exported_ids(exporter: InMemorySpanExporter) -> list[tuple[int, int]]:
    contexts = [span.context for span in exporter.get_finished_spans()]
    return [(context.trace_id, context.span_id) for context in contexts if context is not None]


def test_a_journey_arrives_at_the_exporter_as_it_is_in_the_history(
    exporter: InMemorySpanExporter, emitter: SpanEmitter
) -> None:
    async def scenario() -> list[Span]:
        async with sagas.testing.environment(on_committed=emitter.on_committed) as env:
            handle = await env.client.start(Journey, ["free", "flaky", "nap", "full"], id="trip")
            await env.advance(days=2)
            return spans_of_history(await handle.history())

    expected = asyncio.run(scenario())
    assert emitter.flush()
    found = exporter.get_finished_spans()
    assert exported_ids(exporter) == ids(expected)
    for span, sent in zip(expected, found, strict=True):
        assert (sent.name, dict(sent.attributes or {})) == (span.name, dict(span.attributes))
        assert (sent.start_time, sent.end_time) == (span.start_ms * 1_000_000, span.end_ms * 1_000_000)
        assert (sent.parent.span_id if sent.parent else None) == span.parent_id
        assert sent.parent is None or not sent.parent.is_remote
        assert sent.status.status_code.name.lower() == span.status.value
        assert (sent.status.description or "") == span.error
        assert [event.name for event in sent.events] == [moment.name for moment in span.events]
        assert [event.timestamp for event in sent.events] == [moment.at_ms * 1_000_000 for moment in span.events]
        assert [(link.context.trace_id, link.context.span_id) for link in sent.links] == [
            (link.trace_id, link.span_id) for link in span.links
        ]
        assert sent.instrumentation_scope is not None
        assert sent.instrumentation_scope.name == "sagas"
        assert sent.to_json()
    assert found[-1].status.status_code is StatusCode.ERROR


def test_the_root_of_a_run_started_within_a_trace_has_a_remote_parent(
    exporter: InMemorySpanExporter, emitter: SpanEmitter
) -> None:
    emitter.on_committed(WholeHistory.of(history(trace=f"{CALLER}-01")))
    emitter.flush()
    signal, root = exporter.get_finished_spans()
    assert root.parent is not None
    assert signal.parent is not None
    assert (root.parent.is_remote, root.parent.span_id) == (True, 0x00F067AA0BA902B7)
    assert (signal.parent.is_remote, signal.parent) == (False, root.context)


def test_what_the_caller_did_not_sample_is_not_emitted(exporter: InMemorySpanExporter, emitter: SpanEmitter) -> None:
    emitter.on_committed(WholeHistory.of(history(trace=f"{CALLER}-00")))
    emitter.flush()
    assert exporter.get_finished_spans() == ()


def test_the_span_that_surrounds_the_host_decides_nothing(exporter: InMemorySpanExporter, emitter: SpanEmitter) -> None:
    unsampled = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False).get_tracer("test")
    with unsampled.start_as_current_span("the program that embeds the host"):
        emitter.on_committed(WholeHistory.of(history()))
    emitter.flush()
    signal, root = exporter.get_finished_spans()
    assert root.parent is None
    assert signal.parent == root.context


def test_shutdown_exports_what_waits(exporter: InMemorySpanExporter) -> None:
    emitter = SpanEmitter(exporter)
    emitter.on_committed(WholeHistory.of(history()))
    emitter.shutdown()
    assert len(exporter.get_finished_spans()) == 2


def test_the_service_is_sagas_unless_the_environment_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def service() -> object:
        exporter = InMemorySpanExporter()
        emitter = SpanEmitter(SimpleSpanProcessor(exporter))
        emitter.on_committed(WholeHistory.of(history()))
        return exporter.get_finished_spans()[0].resource.attributes["service.name"]

    assert service() == "sagas"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    assert service() == "shop"


def provider_of(exporter: SpanExporter, **options: object) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False, **options)  # type: ignore[arg-type]
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def test_a_provider_gives_its_resource_and_is_flushed_but_not_shut_down(exporter: InMemorySpanExporter) -> None:
    provider = provider_of(exporter, resource=Resource({"service.name": "shop"}))
    emitter = SpanEmitter(provider)
    emitter.on_committed(WholeHistory.of(history()))
    emitter.shutdown()
    assert [span.resource.attributes["service.name"] for span in exporter.get_finished_spans()] == ["shop", "shop"]
    with provider.get_tracer("test").start_as_current_span("still works"):
        pass
    provider.shutdown()
    assert len(exporter.get_finished_spans()) == 3


def test_a_provider_that_samples_nothing_gets_nothing(exporter: InMemorySpanExporter) -> None:
    provider = provider_of(exporter, sampler=ALWAYS_OFF)
    SpanEmitter(provider).on_committed(WholeHistory.of(history()))
    provider.shutdown()
    assert exporter.get_finished_spans() == ()


def test_a_run_is_sampled_as_a_whole_and_the_same_on_every_host(exporter: InMemorySpanExporter) -> None:
    """Two hosts emit the two halves of 64 runs: a run has both halves or none."""
    provider = provider_of(exporter, sampler=TraceIdRatioBased(0.5))
    for number in range(64):
        whole = WholeHistory.of(history(f"run-{number}"))
        for first, last in ((0, 2), (2, 3)):
            half = WholeHistory(run=whole.run, position=first, events=whole.events[first:last], opened={})
            SpanEmitter(provider).on_committed(half)
    provider.shutdown()
    per_trace: dict[int, int] = {}
    for trace_id, _span_id in exported_ids(exporter):
        per_trace[trace_id] = per_trace.get(trace_id, 0) + 1
    assert set(per_trace.values()) == {2}
    assert 0 < len(per_trace) < 64


def test_a_disabled_sdk_gets_nothing(monkeypatch: pytest.MonkeyPatch, exporter: InMemorySpanExporter) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    provider = provider_of(exporter)
    emitter = SpanEmitter(provider)
    emitter.on_committed(WholeHistory.of(history()))
    emitter.shutdown()
    provider.shutdown()
    assert exporter.get_finished_spans() == ()


def test_a_broken_processor_costs_the_host_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> NoReturn:
            raise RuntimeError("out of order")

    with caplog.at_level(logging.ERROR, "sagas.telemetry"):
        SpanEmitter(Broken()).on_committed(WholeHistory.of(history()))
    (record,) = caplog.records
    assert "sub-1" in record.getMessage()


def test_a_stuck_exporter_does_not_hold_the_host_up() -> None:
    """More spans than a batch holds are emitted while the exporter stands still; all arrive when it goes on."""
    stuck, go_on = threading.Event(), threading.Event()
    arrived: list[ReadableSpan] = []

    class Stuck(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            stuck.set()
            go_on.wait()
            arrived.extend(spans)
            return SpanExportResult.SUCCESS

    emitter = SpanEmitter(Stuck())
    emitter.on_committed(WholeHistory.of(history("run-1", signals=600)))
    stuck.wait()
    emitter.on_committed(WholeHistory.of(history("run-2", signals=600)))
    assert arrived == []
    go_on.set()
    emitter.shutdown()
    assert len(arrived) == 2 * 601


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    code = """
import sys, sagas.telemetry, sagas.telemetry.caller
sagas.telemetry.caller.current_traceparent()
heavy = {"opentelemetry", "rich", "ray", "redis"} & {name.split(".")[0] for name in sys.modules}
sys.exit(f"imported: {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
