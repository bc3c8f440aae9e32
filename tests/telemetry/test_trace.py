"""Ids that never change, and the W3C header that joins traces."""

from __future__ import annotations

import pytest

from sagas.kernel.events import RunStarted
from sagas.telemetry import Kind
from sagas.telemetry.trace import Caller, parse_traceparent, trace_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def started(run_id: str) -> RunStarted:
    return RunStarted("sub-1", run_id, "Subscription", b"")


def test_ids_are_fixed_for_ever() -> None:
    """Hosts of two versions share a run: were they to hash differently, its trace would fall apart."""
    trace = trace_of(started("run-1"))
    assert f"{trace.trace_id:032x}" == "3bc52de5ba008bce4aed1cb4f343dfea"
    assert f"{trace.root_id:016x}" == "198579d754931773"
    assert f"{trace.span_id(Kind.STEP, 3):016x}" == "c7af80b7fcae4346"


def test_ids_differ_by_run_kind_and_number() -> None:
    runs = [trace_of(started(f"run-{number}")) for number in range(3)]
    assert len({run.trace_id for run in runs}) == 3
    ids = [run.span_id(kind, number) for run in runs for kind in Kind for number in range(50)]
    assert len(set(ids)) == len(ids)


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
