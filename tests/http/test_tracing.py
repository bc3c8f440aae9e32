"""A request in its caller's trace, and its messages in the request's."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from sagas.http import tracing
from sagas.kernel.events import RunStarted, SignalReceived
from tests.http.calling import Api, run, serving

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STATE = "rojo=00f067aa0ba902b7"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What OpenTelemetry would export, were it configured."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing.trace, "get_tracer", provider.get_tracer)
    return exporter


async def traces_of(api: Api, id: str) -> list[str]:
    events = await api.client.get(id).history()
    return [event.trace for event in events if isinstance(event, RunStarted | SignalReceived)]


async def tally(api: Api, headers: dict[str, str]) -> list[str]:
    """The traces of a start and a signal that were sent with these headers."""
    await api.http.post("/v1/sagas", json={"type": "Tally", "args": ["t"], "id": "t"}, headers=headers)
    await api.http.post("/v1/sagas/t/signals/add", json={"args": [1]}, headers=headers)
    assert await api.ask("t", "total") == 1
    return await traces_of(api, "t")


def test_where_nothing_is_configured_the_caller_is_the_sender() -> None:
    async def scenario() -> None:
        async with serving() as api:
            assert await tally(api, {"traceparent": PARENT, "tracestate": STATE}) == [PARENT, PARENT]

    run(scenario())


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "nonsense",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        PARENT + "-more",
        PARENT.upper(),
        "x" * 10_000,
    ],
)
def test_what_is_no_trace_context_is_ignored(parent: str) -> None:
    async def scenario() -> None:
        async with serving() as api:
            assert await tally(api, {"traceparent": parent}) == ["", ""]

    run(scenario())


def test_two_parents_are_none() -> None:
    async def scenario() -> None:
        async with serving() as api:
            await api.http.post(
                "/v1/sagas",
                json={"type": "echo", "args": [1], "id": "e"},
                headers=[("traceparent", PARENT), ("traceparent", PARENT.replace("b7", "c8"))],
            )
            await api.result("e")
            assert await traces_of(api, "e") == [""]

    run(scenario())


def test_where_opentelemetry_is_configured_the_request_is_a_span(spans: InMemorySpanExporter) -> None:
    async def scenario() -> None:
        async with serving() as api:
            traces = await tally(api, {"traceparent": PARENT, "tracestate": STATE})
            start, signal, _query = spans.get_finished_spans()
            assert traces == [traceparent_of(start), traceparent_of(signal)]
            for span in (start, signal):
                assert span.kind is SpanKind.SERVER
                assert span.parent is not None
                assert span.parent.is_remote
                assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
                assert span.context.trace_state.to_header() == STATE
            assert (start.name, signal.name) == ("POST /v1/sagas", "POST /v1/sagas/{id}/signals/{name}")
            assert start.attributes is not None
            assert start.attributes["http.response.status_code"] == 201

    run(scenario())


def test_a_request_without_a_parent_begins_a_trace(spans: InMemorySpanExporter) -> None:
    async def scenario() -> None:
        async with serving() as api:
            traces = await tally(api, {})
            assert traces == [traceparent_of(span) for span in spans.get_finished_spans()[:2]]
            assert (await api.http.get("/nowhere")).status_code == 404
            assert spans.get_finished_spans()[-1].name == "GET"

    run(scenario())


def traceparent_of(span: ReadableSpan) -> str:
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{span.context.trace_flags:02x}"
