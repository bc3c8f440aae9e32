"""Over the wire: what a collector gets from journeys, whatever it does meanwhile; and how tracing is switched on."""

from __future__ import annotations

import asyncio
import builtins
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import sagas
from sagas.kernel.events import Event
from sagas.telemetry import environment, exporter_from_environment, spans_of_history
from sagas.telemetry.export import SpanExport
from sagas.testing import Environment
from tests.telemetry.coverage import unspanned
from tests.telemetry.journeys import PLACES, Journey
from tests.telemetry.receiver import ReceivedSpan, Receiver, receiving

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving() as made:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield made


@asynccontextmanager
async def traced() -> AsyncGenerator[tuple[Environment, SpanExport]]:
    export = exporter_from_environment()
    assert export is not None
    export.start()
    async with sagas.testing.environment(on_committed=export.export) as env:
        try:
            yield env, export
        finally:
            await export.stop()


async def travelled(env: Environment, id: str, *plan: str) -> list[Event]:
    handle = await env.client.start(Journey, list(plan), id=id)
    await env.advance(days=7)
    return await handle.history()


def assert_as_projected(history: list[Event], received: list[ReceivedSpan]) -> None:
    projected = spans_of_history(history)
    assert [(s.name, s.trace_id, s.span_id, s.parent_id) for s in sorted(received, key=_id)] == [
        (s.name, s.trace_id, s.span_id, s.parent_id) for s in sorted(projected, key=_id)
    ]
    by_id = {span.span_id: span for span in received}
    for span in projected:
        found = by_id[span.span_id]
        assert found.attributes == dict(span.attributes)
        assert (found.start_ns, found.end_ns) == (span.start_ms * 1_000_000, span.end_ms * 1_000_000)
        assert (found.status, found.error) == (span.status.value, span.error)
        assert found.links == tuple((link.trace_id, link.span_id, link.why.value) for link in span.links)
        assert found.events == tuple((moment.name, moment.at_ms * 1_000_000) for moment in span.events)
        assert found.service == "sagas"


def _id(span: Any) -> int:
    identity: int = span.span_id
    return identity


def test_the_tree_of_every_kind_of_journey_arrives_as_projected(receiver: Receiver) -> None:
    async def scenario() -> dict[str, list[Event]]:
        async with traced() as (env, _):
            return {place: await travelled(env, place, "free", place, "nap", place) for place in PLACES}

    for place, history in asyncio.run(scenario()).items():
        assert_as_projected(history, receiver.of(place))
        assert unspanned(history, receiver.spans) == []


@pytest.mark.parametrize("trouble", ["refuse", "hang", "lose_answers"])
def test_what_happens_while_the_collector_is_in_trouble_arrives_afterwards(
    receiver: Receiver, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> list[Event]:
        async with traced() as (env, export):
            getattr(receiver, trouble)()
            first = await travelled(env, "trip", "free", "flaky", "nap", "full")
            await asyncio.to_thread(receiver.wait_for, lambda receiver: receiver.requests >= 2)
            assert export.waiting_bytes > 0
            receiver.accept()
            assert await asyncio.to_thread(export.flush, 30)
            return first

    with caplog.at_level(logging.CRITICAL, "opentelemetry"):
        history = asyncio.run(scenario())
    assert_as_projected(history, receiver.of("trip"))
    if trouble == "lose_answers":
        assert len(receiver.spans) > len(receiver.unique())


def test_a_collector_that_was_never_there_loses_nothing_that_still_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as gone:
        endpoint = gone.endpoint
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")

    async def scenario() -> tuple[bool, int]:
        export = exporter_from_environment()
        assert export is not None
        export.start()
        async with sagas.testing.environment(on_committed=export.export) as env:
            await travelled(env, "trip", "free")
            return await export.stop(0.2), export.waiting_bytes

    stopped, waiting = asyncio.run(scenario())
    assert not stopped
    assert waiting > 0


def test_the_callers_trace_holds_the_first_episode_alone(receiver: Receiver) -> None:
    from opentelemetry import context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    async def scenario() -> None:
        async with traced() as (env, _):
            token = context.attach(TraceContextTextMapPropagator().extract({"traceparent": CALLER}))
            await env.client.start(Journey, ["free", "nap", "free"], id="trip")
            context.detach(token)
            await env.advance(days=7)

    asyncio.run(scenario())
    caller_trace, caller_span = int(CALLER[3:35], 16), int(CALLER[36:52], 16)
    inside = {span.attributes["saga.kind"] for span in receiver.of("trip") if span.trace_id == caller_trace}
    assert inside == {"episode", "step", "attempt"}
    (root,) = [span for span in receiver.of("trip") if span.parent_id == caller_span]
    assert (root.attributes["saga.kind"], root.attributes["saga.episode"]) == ("episode", 0)


# --- switching it on


@pytest.mark.parametrize(
    ("variables", "on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "console, otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "soon"}, True),
    ],
)
def test_the_environment_alone_switches_it_on(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], on: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (exporter_from_environment() is not None) is on


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    environment._no_export.cache_clear()
    with caplog.at_level(logging.WARNING, "sagas.telemetry"):
        yield caplog
    environment._no_export.cache_clear()


def test_a_missing_extra_is_said_once(monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("opentelemetry.exporter"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(builtins, "__import__", without)
    assert (exporter_from_environment(), exporter_from_environment()) == (None, None)
    (record,) = said.records
    assert "ray-sagas[otlp]" in record.getMessage()


def test_a_protocol_that_is_not_spoken_is_said_once(
    monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert (exporter_from_environment(), exporter_from_environment()) == (None, None)
    (record,) = said.records
    assert "'grpc'" in record.getMessage()
