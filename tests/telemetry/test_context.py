"""W3C context on its way into what an activity calls: its spans, and those below, are children of the attempt."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import sagas
from sagas import Retry, activity, compensating, saga
from sagas.engine.attempt import AttemptRunner
from sagas.engine.clock import SystemClock
from sagas.engine.resident import Resident, Turn
from sagas.engine.steps import StepReport, StepTask, decode_tasks, encode_tasks
from sagas.kernel.registry import Registry
from sagas.payloads import decode
from sagas.store.port import Status
from sagas.telemetry import Kind, Span, attempt_traceparent, spans_of_history
from sagas.telemetry.caller import current_traceparent
from tests.engine.bench import DUE, Bench

exporter = InMemorySpanExporter()
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = provider.get_tracer("shop")
TASK = StepTask("id-1", "run-1", 2, 1, "", b"", "default", None)
UNSAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


async def outcome(runner: AttemptRunner, task: StepTask) -> StepReport:
    """What becomes of an attempt."""
    reported: asyncio.Future[StepReport] = asyncio.get_running_loop().create_future()
    runner.begin(task, reported.set_result)
    return await reported


@activity(retry=Retry(jitter=0))
async def pay(cents: int) -> str:
    with tracer.start_as_current_span("pay the bank"):
        await asyncio.sleep(0)
        with tracer.start_as_current_span("sign"):
            if sagas.step().attempt == 1:
                raise OSError("nobody answers")
    return sagas.step().traceparent


@activity
def post(letter: str) -> str:
    with tracer.start_as_current_span("post it"):
        return sagas.step().traceparent


@pay.compensation
async def pay_back(paid: str | None, cents: int) -> str:
    with tracer.start_as_current_span("pay back"):
        return sagas.step().traceparent


@activity
async def look() -> str:
    return current_traceparent()


@saga
async def buy(cents: int) -> None:
    async with compensating():
        await pay(cents)
        await post("thanks")
        raise ValueError("changed my mind")


class TracedBench(Bench):
    """Its resident makes headers, as a host that exports spans has it do."""

    def _made(self, id: str) -> Resident:
        return Resident(id, self.registry, draw=lambda: 0.5, traceparent=attempt_traceparent)


@pytest.fixture(autouse=True)
def no_spans() -> None:
    exporter.clear()


def made() -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


async def attempted(bench: Bench, turn: Turn) -> list[StepReport]:
    runner = AttemptRunner(bench.registry, SystemClock())
    try:
        # Over the wire, as a worker gets it.
        return [await outcome(runner, task) for task in decode_tasks(encode_tasks(turn.effects.dispatch))]
    finally:
        runner.close()


def bought(bench: Bench) -> list[Span]:
    """The whole saga on a bench; every attempt is made by a runner with nothing but its task."""

    async def scenario() -> None:
        turn = bench.turn(bench.start(buy, 500))
        while bench.stored.status is Status.RUNNING:
            if turn.effects.dispatch:
                turn = bench.turn(*await attempted(bench, turn))
            else:
                turn = bench.turn(DUE, after_ms=2000)  # the pause before the next attempt is over

    asyncio.run(scenario())
    return spans_of_history(bench.history())


def test_spans_of_async_and_thread_activities_are_children_of_their_attempts() -> None:
    attempts = [span for span in bought(TracedBench(buy, pay, post, pay_back)) if span.kind is Kind.ATTEMPT]
    assert [(span.name, span.attributes["saga.attempt"]) for span in attempts] == [
        ("pay attempt", 1),
        ("pay attempt", 2),
        ("post attempt", 1),
        ("pay_back attempt", 1),
    ]
    by_name: dict[str, list[ReadableSpan]] = {}
    for span in exporter.get_finished_spans():
        by_name.setdefault(span.name, []).append(span)
    users = [*by_name["pay the bank"], *by_name["post it"], *by_name["pay back"]]
    for attempt, user in zip(attempts, users, strict=True):
        assert user.parent is not None
        assert user.parent.is_remote
        assert (user.parent.trace_id, user.parent.span_id) == (attempt.trace_id, attempt.span_id)
    for inner, outer in zip(by_name["sign"], by_name["pay the bank"], strict=True):
        assert inner.parent == outer.context


def test_without_tracing_nothing_is_passed_on() -> None:
    bought(Bench(buy, pay, post, pay_back))
    assert {span.parent for name, span in made().items() if name != "sign"} == {None}


def ran(function: Any, task: StepTask, *args: Any) -> StepReport:
    async def scenario() -> StepReport:
        registry = Registry()
        registry.learn(function)
        runner = AttemptRunner(registry, SystemClock())
        try:
            before = trace.get_current_span()
            encoded = function.signature.encode(args, {})
            report = await outcome(runner, replace(task, activity=function.name, args=encoded))
            assert trace.get_current_span() is before, "the context of an attempt ends with it"
            return report
        finally:
            runner.close()

    return asyncio.run(scenario())


def result(report: StepReport) -> Any:
    assert report.result is not None, report.failure
    return decode(report.result, str)


def test_an_activity_can_ask_for_the_header_and_its_messages_carry_it() -> None:
    header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert result(ran(post, replace(TASK, trace=header), "hello")) == header
    assert result(ran(look, replace(TASK, trace=header))) == header
    assert result(ran(post, TASK, "hello")) == ""


def test_what_was_not_sampled_is_not_sampled_below() -> None:
    report = ran(post, replace(TASK, trace=UNSAMPLED), "hello")
    assert result(report) == UNSAMPLED
    assert made() == {}


def test_a_damaged_header_costs_the_attempt_nothing() -> None:
    assert result(ran(post, replace(TASK, trace="nonsense"), "hello")) == "nonsense"
    assert made()["post it"].parent is None


def test_threads_do_not_see_each_others_context() -> None:
    inside = threading.Barrier(2, timeout=30)
    seen: dict[str, str] = {}

    @activity
    def meet(name: str) -> None:
        inside.wait()
        seen[name] = current_traceparent()
        inside.wait()

    headers = {name: f"00-{'0' * 31}{name}-{'0' * 15}{name}-01" for name in "12"}

    async def scenario() -> None:
        registry = Registry()
        registry.learn(meet)
        runner = AttemptRunner(registry, SystemClock())
        tasks = [
            StepTask("id", "run", 1, 1, meet.name, meet.signature.encode((name,), {}), "default", None, trace=header)
            for name, header in headers.items()
        ]
        await asyncio.gather(*(outcome(runner, task) for task in tasks))
        runner.close()

    asyncio.run(scenario())
    assert seen == headers
