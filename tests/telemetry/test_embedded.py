"""The whole way in one process: a program's span, the saga it starts, its steps, the spans its activities make."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import sagas
from sagas import Retry, activity, compensating, saga
from sagas.kernel.events import Event
from tests.telemetry.coverage import unspanned
from tests.telemetry.receiver import Receiver, receiving

users = InMemorySpanExporter()
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(users))
tracer = provider.get_tracer("shop")


@activity(retry=Retry(initial=0.01, jitter=0))
async def reserve(hotel: str) -> str:
    with tracer.start_as_current_span("ask the hotel"):
        if sagas.step().attempt == 1:
            raise OSError("nobody answers")
        return hotel


@reserve.compensation
def release(reserved: str | None, hotel: str) -> None:
    with tracer.start_as_current_span("tell the hotel"):
        return


@saga
async def travel(hotel: str) -> None:
    async with compensating():
        await reserve(hotel)
        await sagas.sleep(0.01)
        raise ValueError("it rains")


@saga
class Doorbell:
    def __init__(self) -> None:
        self.rung = False

    async def run(self) -> None:
        await sagas.wait_until(lambda: self.rung)

    @sagas.signal
    def ring(self) -> None:
        self.rung = True


@activity
async def walk_to(door: str) -> None:
    with tracer.start_as_current_span("at the door"):
        return


@saga
async def visit(door: str) -> None:
    await walk_to(door)
    await sagas.instance(door).signal(Doorbell.ring)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    users.clear()
    with receiving() as made:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield made


def test_from_the_caller_down_to_what_activities_do(receiver: Receiver) -> None:
    async def scenario() -> tuple[int, int, list[Event]]:
        async with sagas.embedded() as client:
            with tracer.start_as_current_span("checkout") as caller:
                handle = await client.start(travel, "Ritz", id="trip")
            with pytest.raises(sagas.SagaFailed):
                await handle.result(timeout=30)
            context = caller.get_span_context()
            return context.trace_id, context.span_id, await handle.history()

    trace_id, span_id, history = asyncio.run(scenario())
    spans = receiver.of("trip")
    assert unspanned(history, spans) == []
    first, second = sorted(
        (span for span in spans if span.attributes["saga.kind"] == "episode"), key=lambda span: span.start_ns
    )
    assert (first.trace_id, first.parent_id) == (trace_id, span_id)
    assert (second.parent_id, second.attributes["saga.status"], second.status) == (None, "failed", "error")
    attempts = {(span.trace_id, span.span_id): span for span in spans if span.attributes["saga.kind"] == "attempt"}
    made = [span for span in users.get_finished_spans() if span.name != "checkout"]
    assert [span.name for span in made] == ["ask the hotel", "ask the hotel", "tell the hotel"]
    parents = [attempts[span.parent.trace_id, span.parent.span_id] for span in made if span.parent is not None]
    assert [(span.name, span.attributes["saga.attempt"]) for span in parents] == [
        ("reserve attempt", 1),
        ("reserve attempt", 2),
        ("release attempt", 1),
    ]


def test_a_signal_from_one_saga_to_another_links_their_traces(receiver: Receiver) -> None:
    async def scenario() -> None:
        async with sagas.embedded() as client:
            waiting = await client.start(Doorbell, id="door")
            await client.execute(visit, "door", id="guest")
            await waiting.result(timeout=30)

    asyncio.run(scenario())
    (sent,) = [span for span in receiver.of("guest") if span.attributes["saga.kind"] == "outgoing"]
    (received,) = [span for span in receiver.of("door") if span.attributes["saga.kind"] == "message"]
    assert received.links == ((sent.trace_id, sent.span_id, "sender"),)
    roots = [span for span in receiver.of("door") if span.attributes["saga.kind"] == "episode"]
    assert [link for root in roots for link in root.links if link[2] == "sender"] == list(received.links)
