"""Ids that never change, and the W3C header that joins traces."""

from __future__ import annotations

import pytest

from sagas.kernel.events import CONTINUOUS, RunStarted
from sagas.telemetry import Kind, attempt_traceparent, message_traceparent
from sagas.telemetry.trace import Caller, parse_traceparent, traces_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def started(run_id: str = "run-1", trace: str = "", mode: str = "episodes") -> RunStarted:
    return RunStarted("sub-1", run_id, "Subscription", b"", trace=trace, trace_mode=mode)


def test_ids_are_fixed_for_ever() -> None:
    """Hosts of two versions share a run: were they to hash differently, its trace would fall apart."""
    traces = traces_of(started())
    assert f"{traces.trace_id(0):032x}" == "3bc52de5ba008bce4aed1cb4f343dfea"
    assert f"{traces.trace_id(7):032x}" == "f62a506a41de59a7de60253d91d40b7a"
    assert f"{traces.run_trace_id(7):032x}" == "a276057063416bd70db076919bfb0910"
    assert f"{traces.root_id(7):016x}" == "3d0c1b6128da9e3b"
    assert f"{traces.span_id(Kind.STEP, 3):016x}" == "c7af80b7fcae4346"
    assert f"{traces.span_id(Kind.ATTEMPT, 3, 2):016x}" == "c60e03a2fed6eeb5"
    continuous = traces_of(started(mode=CONTINUOUS))
    assert f"{continuous.root_id(7):016x}" == "198579d754931773"


def test_ids_differ_by_run_kind_and_number() -> None:
    runs = [traces_of(started(f"run-{number}")) for number in range(3)]
    assert len({run.trace_id(episode) for run in runs for episode in range(3)}) == 9
    ids = [run.span_id(kind, number) for run in runs for kind in Kind for number in range(50)]
    assert len(set(ids)) == len(ids)


def test_a_child_run_whose_id_looks_like_an_episode_has_traces_of_its_own() -> None:
    parent, child = traces_of(started("run-1")), traces_of(started("run-1/1"))
    assert parent.trace_id(1) != child.trace_id(0)


@pytest.mark.parametrize(("mode", "same"), [("episodes", False), ("continuous", True)])
def test_only_the_first_episode_lies_in_the_callers_trace_unless_continuous(mode: str, same: bool) -> None:
    traces = traces_of(started(trace=f"00-{TRACE}-{SPAN}-01", mode=mode))
    assert traces.trace_id(0) == int(TRACE, 16)
    assert (traces.trace_id(1) == int(TRACE, 16)) is same
    assert (traces.run_trace_id(0) == int(TRACE, 16)) is True
    assert (traces.run_trace_id(1) == int(TRACE, 16)) is same


@pytest.mark.parametrize(
    ("caller", "decided", "flags"),
    [("", None, "01"), ("01", None, "01"), ("00", None, "00"), ("", False, "00"), ("00", True, "01")],
)
def test_a_traceparent_carries_the_decision_on_the_run(caller: str, decided: bool | None, flags: str) -> None:
    run = started(trace=f"00-{TRACE}-{SPAN}-{caller}" if caller else "")
    traces = traces_of(run)
    header = attempt_traceparent(run, 2, 5, 3, sampled=decided)
    assert header == f"00-{traces.trace_id(2):032x}-{traces.span_id(Kind.ATTEMPT, 5, 3):016x}-{flags}"
    assert parse_traceparent(header) is not None
    sent = parse_traceparent(message_traceparent(run, 2, 5, sampled=decided))
    assert sent is not None
    assert (sent.trace_id, sent.span_id) == (traces.trace_id(2), traces.span_id(Kind.OUTGOING, 5))


@pytest.mark.parametrize(("flags", "sampled"), [("01", True), ("00", False), ("03", True), ("02", False)])
def test_a_traceparent_names_its_caller(flags: str, sampled: bool) -> None:
    expected = Caller(trace_id=int(TRACE, 16), span_id=int(SPAN, 16), sampled=sampled)
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-{flags}") == expected


def test_a_later_version_may_say_more() -> None:
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-01-what-comes") is not None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
    ],
)
def test_anything_else_names_nobody(header: str) -> None:
    assert parse_traceparent(header) is None
