"""The traces of a chain of runs: each run has its own, linked to the run before."""

from __future__ import annotations

import asyncio

import pytest

import sagas
from sagas import saga
from sagas.kernel.events import RunStarted
from sagas.telemetry import Span
from sagas.telemetry.span import Kind, Link, SpanStatus, Why
from tests.telemetry.journeys import recorded

CALLER = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


@saga
async def episodes(turn: int) -> None:
    if turn == 2:
        await sagas.sleep(60)
    if turn < 4:
        sagas.continue_as_new(turn + 1)


@saga(trace_mode="continuous")
async def continuous(turn: int) -> None:
    if turn == 2:
        await sagas.sleep(60)
    if turn < 4:
        sagas.continue_as_new(turn + 1)


@pytest.mark.parametrize("flow", [episodes, continuous])
@pytest.mark.parametrize("caller", ["", CALLER])
def test_each_run_is_linked_to_the_one_before(flow: object, caller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def spans() -> tuple[list[Span], list[str]]:
        async with recorded() as (env, recorder):
            await (await env.client.start(flow, 1, id="chain")).result()  # type: ignore[call-overload]
            starts = [event for turn in recorder.turns for event in turn.events if isinstance(event, RunStarted)]
            return recorder.of("chain"), [start.run_id for start in starts]

    monkeypatch.setattr("sagas.client.current_traceparent", lambda: caller)
    made, runs = asyncio.run(spans())
    assert len(runs) == 4
    spans_of_run = [[span for span in made if span.attributes["saga.run_id"] == run] for run in runs]
    ends = [next(span for span in each if span.kind is Kind.RUN) for each in spans_of_run]
    root = Kind.RUN if flow is continuous else Kind.EPISODE
    begins = [next(span for span in each if span.kind is root) for each in spans_of_run]
    assert len({span.trace_id for span in begins}) == 4, "a chain is no endless trace"
    assert not [link for link in begins[0].links if link.why is Why.BEFORE]
    for before, after in zip(ends, begins[1:], strict=False):
        assert Link(trace_id=before.trace_id, span_id=before.span_id, why=Why.BEFORE) in after.links
    assert [end.attributes.get("saga.next_run_id") for end in ends] == [*runs[1:], None]
    assert {end.status for end in ends} == {SpanStatus.OK}
