"""Through the real SDK: what an exporter gets is the projection, and a broken or slow one costs the host nothing."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import StatusCode

import sagas
from sagas.kernel.events import Activated, Event, RunCompleted, RunStarted, SignalReceived
from sagas.telemetry import Span, Turn, WholeHistory, attempt_traceparent, spans_of_history
from sagas.telemetry.export import SpanExport
from sagas.telemetry.parcel import Pace
from tests.telemetry.journeys import Journey

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"
QUICK = Pace(batch=64, delay_s=0.01, first_s=0.01, longest_s=0.05)
SUCCESS, FAILURE = SpanExportResult.SUCCESS, SpanExportResult.FAILURE


def history(run_id: str = "run-1", trace: str = "", signals: int = 1) -> list[Event]:
    """Two spans, and one a signal."""
    started = RunStarted("sub-1", run_id, "Subscription", b"", {}, trace, at_ms=1000)
    received = [SignalReceived(f"m-{number}", "poke", b"", at_ms=1000) for number in range(signals)]
    return [started, *received, Activated(at_ms=1000), RunCompleted(b"", at_ms=3000)]


def whole(run_id: str = "run-1", trace: str = "", signals: int = 1) -> WholeHistory:
    return WholeHistory.of(history(run_id, trace, signals))


def ids(spans: Sequence[Span]) -> list[tuple[int, int]]:
    return [(span.trace_id, span.span_id) for span in spans]


def ids_of(spans: Sequence[ReadableSpan]) -> list[tuple[int, int]]:
    return [(span.context.trace_id, span.context.span_id) for span in spans if span.context is not None]


@asynccontextmanager
async def exporting(
    exporter: SpanExporter, pace: Pace = QUICK, **options: Any
) -> AsyncGenerator[tuple[SpanExport, list[tuple[Turn, bool]]]]:
    """An export at work, and what it says became of turns."""
    settled: list[tuple[Turn, bool]] = []
    export = SpanExport(exporter, pace=pace, **options)
    export.start(lambda turns, arrived: settled.extend((turn, arrived) for turn in turns))
    try:
        yield export, settled
    finally:
        await export.stop()


def exported(*turns: Turn, **options: Any) -> list[ReadableSpan]:
    async def scenario() -> list[ReadableSpan]:
        exporter = InMemorySpanExporter()
        async with exporting(exporter, **options) as (export, _):
            for turn in turns:
                export.export(turn)
        return list(exporter.get_finished_spans())

    return asyncio.run(scenario())


class Moody(SpanExporter):
    """Answers as ``mood`` says; keeps what it took, and counts what it was offered."""

    def __init__(self, mood: Callable[[Sequence[ReadableSpan]], SpanExportResult]) -> None:
        self.mood = mood
        self.took: list[ReadableSpan] = []
        self.offers: list[int] = []
        self.asked = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.offers.append(len(spans))
        self.asked.set()
        answer = self.mood(spans)
        if answer is SUCCESS:
            self.took.extend(spans)
        return answer


def test_a_journey_arrives_at_the_exporter_as_it_is_in_the_history() -> None:
    exporter = InMemorySpanExporter()

    async def scenario() -> list[Span]:
        async with (
            exporting(exporter) as (export, _),
            sagas.testing.environment(on_committed=export.export) as env,
        ):
            handle = await env.client.start(Journey, ["free", "flaky", "nap", "full"], id="trip")
            await env.advance(days=2)
            return spans_of_history(await handle.history())

    expected = asyncio.run(scenario())
    found = exporter.get_finished_spans()
    assert ids_of(found) == ids(expected)
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
        assert [dict(link.attributes or {}) for link in sent.links] == [{"saga.link": link.why} for link in span.links]
        assert sent.instrumentation_scope is not None
        assert sent.instrumentation_scope.name == "sagas"
        assert sent.to_json()
    assert found[-1].status.status_code is StatusCode.ERROR


def test_the_root_of_a_run_started_within_a_trace_has_a_remote_parent() -> None:
    signal, run, root = exported(whole(trace=f"{CALLER}-01"))
    assert root.parent is not None
    assert signal.parent is not None
    assert (root.parent.is_remote, root.parent.span_id) == (True, 0x00F067AA0BA902B7)
    assert (signal.parent.is_remote, signal.parent, run.parent) == (False, root.context, root.context)


# --- sampling


def test_what_the_caller_did_not_sample_is_not_exported() -> None:
    assert exported(whole(trace=f"{CALLER}-00")) == []


def test_the_span_that_surrounds_the_host_decides_nothing() -> None:
    unsampled = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False).get_tracer("test")
    with unsampled.start_as_current_span("the program that embeds the host"):
        signal, _run, root = exported(whole())
    assert root.parent is None
    assert signal.parent == root.context


def test_a_run_is_sampled_as_a_whole_and_the_same_on_every_host() -> None:
    """Two hosts export the two halves of 64 runs: a run has both halves or none, whatever its traces are."""
    first, second = InMemorySpanExporter(), InMemorySpanExporter()

    async def scenario() -> None:
        sampler = TraceIdRatioBased(0.5)
        async with (
            exporting(first, sampler=sampler) as (one, _),
            exporting(second, sampler=sampler) as (other, _),
        ):
            for number in range(64):
                events = history(f"run-{number}")
                events[2:] = [Activated(at_ms=1000), SignalReceived("m", "x", b"", at_ms=2000), Activated(at_ms=2000)]
                whole = WholeHistory.of(events[:3])
                one.export(whole)
                other.export(WholeHistory.of(events, 3))
                run = events[0]
                assert isinstance(run, RunStarted)
                decided = one.samples(run)
                assert other.samples(run) is decided
                assert one.traceparent(run, 1, 2, 3) == attempt_traceparent(run, 1, 2, 3, sampled=decided)

    asyncio.run(scenario())
    per_run = Counter(span.attributes["saga.run_id"] for span in first.get_finished_spans() if span.attributes)
    assert per_run == Counter(span.attributes["saga.run_id"] for span in second.get_finished_spans() if span.attributes)
    assert set(per_run.values()) == {2}
    assert 0 < len(per_run) < 64


def test_the_sampler_is_the_one_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    assert exported(whole()) == []


def test_a_run_is_asked_about_once_and_no_memory_is_kept_of_all_of_them() -> None:
    from sagas.telemetry import sampling

    asked: list[str] = []

    class Counting(sampling.RunSampler):
        def _ask(self, run: RunStarted) -> bool:
            asked.append(run.run_id)
            return super()._ask(run)

    counting = Counting()
    for _ in range(3):
        for number in range(3):
            assert counting.samples(RunStarted("id", f"run-{number}", "T", b""))
    assert asked == ["run-0", "run-1", "run-2"]
    for number in range(2 * sampling._REMEMBERED):
        counting.samples(RunStarted("id", f"other-{number}", "T", b""))
    assert len(counting._known) <= sampling._REMEMBERED


class Broken(Sampler):
    """Somebody's own, with a defect."""

    def should_sample(self, *_args: Any, **_more: Any) -> SamplingResult:
        raise RuntimeError("a defect of the sampler")

    def get_description(self) -> str:
        return "broken"


def test_a_sampler_that_raises_traces_nothing_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with exporting(InMemorySpanExporter(), sampler=Broken()) as (export, settled):
            for number in range(3):
                run = RunStarted("id", f"run-{number}", "T", b"")
                assert not export.samples(run)
                assert export.traceparent(run, 1, 2, 3).endswith("-00")
                export.export(whole(f"run-{number}"))
            assert settled == []

    asyncio.run(scenario())
    assert [record.message for record in caplog.records if "sampler raised" in record.message] == [
        "the sampler raised: runs that it does not decide are not traced; said once"
    ]


# --- the service


def test_the_service_is_sagas_unless_the_environment_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def service() -> object:
        return exported(whole())[0].resource.attributes["service.name"]

    assert service() == "sagas"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    assert service() == "shop"


def test_a_resource_may_be_given() -> None:
    (span, *_) = exported(whole(), resource=Resource({"service.name": "shop"}))
    assert span.resource.attributes["service.name"] == "shop"


# --- an exporter that does not work


def test_each_turn_is_acknowledged_on_the_hosts_loop_after_its_spans_have_arrived() -> None:
    exporter = Moody(lambda _spans: SUCCESS)
    heard: list[tuple[Turn, bool, int, int]] = []

    async def scenario() -> None:
        export, loop_thread, both = SpanExport(exporter, pace=QUICK), threading.get_ident(), asyncio.Event()

        def hear(turns: Sequence[Turn], arrived: bool) -> None:
            heard.extend((turn, arrived, len(exporter.took), threading.get_ident()) for turn in turns)
            if len(heard) == 2:
                both.set()

        export.start(hear)
        turns = [whole("run-1"), whole("run-2")]
        for turn in turns:
            export.export(turn)
        async with asyncio.timeout(30):
            await both.wait()
        assert [turn for turn, *_ in heard] == turns
        assert all(arrived and thread == loop_thread for _, arrived, _, thread in heard)
        assert heard[-1][2] == 6
        assert export.waiting_bytes == 0
        assert await export.stop()

    asyncio.run(scenario())


def test_what_is_refused_is_sent_again_until_it_is_taken() -> None:
    answers = iter([FAILURE, FAILURE, RuntimeError("broken"), SUCCESS])

    def mood(_spans: Sequence[ReadableSpan]) -> SpanExportResult:
        answer = next(answers, SUCCESS)
        if isinstance(answer, Exception):
            raise answer
        return answer

    exporter = Moody(mood)

    async def scenario() -> None:
        async with exporting(exporter) as (export, settled):
            turn = whole()
            export.export(turn)
            assert await asyncio.to_thread(export.flush, 30)
            await asyncio.sleep(0)
            assert settled == [(turn, True)]

    asyncio.run(scenario())
    assert exporter.offers == [3, 3, 3, 3]
    assert len(exporter.took) == 3


def test_a_span_that_no_collector_takes_holds_nothing_else_up() -> None:
    def mood(spans: Sequence[ReadableSpan]) -> SpanExportResult:
        poison = any((span.attributes or {}).get("saga.message_id") == "m-7" for span in spans)
        return FAILURE if poison else SUCCESS

    exporter = Moody(mood)

    async def scenario() -> None:
        async with exporting(exporter) as (export, settled):
            poisoned = whole("run-1", signals=8)
            export.export(poisoned)
            for number in range(2, 12):
                export.export(whole(f"run-{number}"))
                await asyncio.to_thread(exporter.asked.wait, 30)
                exporter.asked.clear()
            async with asyncio.timeout(30):
                while len(exporter.took) < 9 + 10 * 3:
                    await asyncio.sleep(0.01)
            assert poisoned not in [turn for turn, _ in settled]
            assert not await asyncio.to_thread(export.flush, 0.05)
            exporter.mood = lambda _spans: SUCCESS
            assert await asyncio.to_thread(export.flush, 30)

    asyncio.run(scenario())
    assert max(Counter(ids_of(exporter.took)).values()) == 1
    assert len(exporter.took) == 10 + 10 * 3


def test_a_stuck_exporter_does_not_hold_the_host_up_and_all_arrives_when_it_goes_on() -> None:
    stuck, go_on = threading.Event(), threading.Event()

    def mood(_spans: Sequence[ReadableSpan]) -> SpanExportResult:
        stuck.set()
        go_on.wait()
        return SUCCESS

    exporter = Moody(mood)

    async def scenario() -> None:
        async with exporting(exporter) as (export, _):
            export.export(whole("run-1", signals=600))
            await asyncio.to_thread(stuck.wait)
            export.export(whole("run-2", signals=600))
            assert exporter.took == []
            go_on.set()

    asyncio.run(scenario())
    assert len(exporter.took) == 2 * 602


def test_a_full_queue_refuses_turns_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    go_on = threading.Event()

    def mood(_spans: Sequence[ReadableSpan]) -> SpanExportResult:
        go_on.wait()
        return SUCCESS

    exporter = Moody(mood)
    pace = Pace(batch=64, delay_s=0.01, first_s=0.01, longest_s=0.05, queue_bytes=2000)

    async def scenario() -> None:
        async with exporting(exporter, pace) as (export, settled):
            turns = [whole(f"run-{number}") for number in range(5)]  # 2,000 bytes each
            for turn in turns:
                export.export(turn)
            await asyncio.sleep(0)
            assert settled == [(turn, False) for turn in turns[1:]]
            go_on.set()
            assert await asyncio.to_thread(export.flush, 30)
            settled.clear()
            export.export(turns[1])
            assert await asyncio.to_thread(export.flush, 30)
            await asyncio.sleep(0)
            assert settled == [(turns[1], True)]

    with caplog.at_level(logging.WARNING, "sagas.telemetry"):
        asyncio.run(scenario())
    assert [record.getMessage() for record in caplog.records if "full" in record.getMessage()] != []
    assert len([record for record in caplog.records if "full" in record.getMessage()]) == 1
    assert len(exporter.took) == 6


def test_histories_are_owed_only_while_half_the_queue_is_free() -> None:
    pace = Pace(queue_bytes=5000)

    async def scenario() -> None:
        async with exporting(InMemorySpanExporter(), pace) as (export, settled):
            progress = export.progress([("sub-1", "run-1", 0)])
            export.export(whole("run-2"))
            export.export(whole("run-3"))  # 4,000 bytes
            assert progress.owed() == []
            assert await asyncio.to_thread(export.flush, 30)
            ((_, _, first),) = progress.owed()
            events = history("run-1")
            progress.offered("sub-1", "run-1", len(events))
            export.export_history(events, first)
            assert await asyncio.to_thread(export.flush, 30)
            await asyncio.sleep(0)
            progress.settled([turn for turn, _ in settled], True)
            assert progress.marking([]).unmarks == (("sub-1", "run-1"),)

    asyncio.run(scenario())


def test_a_history_that_cannot_be_read_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with exporting(InMemorySpanExporter()) as (export, _):
            export.export_history(history()[1:], 0)
            assert export.waiting_bytes == 0

    with caplog.at_level(logging.WARNING, "sagas.telemetry"):
        asyncio.run(scenario())
    assert "cannot be exported" in caplog.text


def test_a_turn_that_cannot_be_projected_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    broken = WholeHistory(run=whole().run, position=0, events=history(), trail=None)  # type: ignore[arg-type]
    with caplog.at_level(logging.ERROR, "sagas.telemetry"):
        spans = exported(broken, whole("run-2"))
    assert len(spans) == 3
    (record,) = caplog.records
    assert "sub-1" in record.getMessage()


def test_stop_gives_up_on_a_collector_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Moody(lambda _spans: FAILURE)

    async def scenario() -> None:
        export, settled = SpanExport(exporter, pace=QUICK), []
        export.start(lambda turns, arrived: settled.append((turns, arrived)))
        export.export(whole())
        with caplog.at_level(logging.WARNING, "sagas.telemetry"):
            assert not await export.stop(0.2)
        assert settled == []
        export.export(whole())  # a host that is stopping too: nothing is kept for nobody
        assert export.waiting_bytes == 2000

    asyncio.run(scenario())
    assert "not all spans could be sent" in caplog.text


def test_sending_spans_makes_no_spans() -> None:
    """Else an instrumented HTTP client would trace its own exports for ever."""
    seen: list[object] = []

    def mood(_spans: Sequence[ReadableSpan]) -> SpanExportResult:
        seen.append(otel_context.get_value(otel_context._SUPPRESS_INSTRUMENTATION_KEY))
        return SUCCESS

    async def scenario() -> None:
        async with exporting(Moody(mood)) as (export, _):
            export.export(whole())

    asyncio.run(scenario())
    assert seen == [True]


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    code = """
import sys, sagas.telemetry, sagas.telemetry.caller, sagas.engine.attempt
sagas.telemetry.caller.current_traceparent()
assert sagas.telemetry.exporter_from_environment() is None
heavy = {"opentelemetry", "rich", "ray", "redis"} & {name.split(".")[0] for name in sys.modules}
sys.exit(f"imported: {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
