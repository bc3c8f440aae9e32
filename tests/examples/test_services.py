"""The services as a real process: one effect a key, faults on order, and a ledger that outlives a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from examples.subscription import wire
from examples.subscription.faults import Fault, FaultKind
from examples.subscription.ledger import Kind, Ledger, Op
from examples.subscription.process import ROOT, ServiceProcess

DEADLINE_S = 30.0


@pytest.fixture
def services(tmp_path: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path / "ledger.jsonl") as process:
        yield process


def eventually(holds: Callable[[], bool]) -> None:
    """Waits until the condition holds. Raises: AssertionError after the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, "the condition did not come to hold"
        time.sleep(0.01)


def charge(services: ServiceProcess, key: str, *, user: str = "ann", month: int = 1) -> tuple[int, str]:
    return wire.ask(services.url, Op.CHARGE, key, user=user, month=month, cents=990)


def ledger(services: ServiceProcess) -> Ledger:
    return Ledger.read(services.ledger)


def order(services: ServiceProcess, kind: FaultKind, op: Op = Op.CHARGE, **options: float | int) -> None:
    wire.order(services.url, Fault(kind=kind, op=op, user="ann", **options))  # type: ignore[arg-type]


def test_a_repeated_key_has_one_effect_and_one_answer(services: ServiceProcess) -> None:
    answers = {charge(services, "k1") for _ in range(3)}
    assert len(answers) == 1
    assert answers.pop()[0] == 200
    assert ledger(services).charges() == {("ann", 1): 1}
    assert ledger(services).count(Kind.REQUEST) == 3
    assert ledger(services).count(Kind.REPEAT) == 2


def test_repeats_at_the_same_time_have_one_effect(services: ServiceProcess) -> None:
    answers: list[tuple[int, str]] = []
    threads = [threading.Thread(target=lambda: answers.append(charge(services, "k1"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert len(set(answers)) == 1
    assert ledger(services).charges() == {("ann", 1): 1}


def test_other_keys_are_other_effects(services: ServiceProcess) -> None:
    assert charge(services, "k1") != charge(services, "k2")
    assert ledger(services).charges() == {("ann", 1): 2}


def test_a_declined_charge_stays_declined_under_its_key_only(services: ServiceProcess) -> None:
    order(services, FaultKind.DECLINE, times=2)
    assert [charge(services, key) for key in ("k1", "k1", "k2")] == [(402, "declined")] * 3
    assert charge(services, "k3")[0] == 200
    assert ledger(services).refusals(Op.CHARGE) == {"ann": 2}
    assert ledger(services).charges() == {("ann", 1): 1}


def test_a_fault_hits_its_user_its_operation_and_its_month_only(services: ServiceProcess) -> None:
    order(services, FaultKind.DECLINE, month=2)
    assert charge(services, "k1", user="bob", month=2)[0] == 200
    assert charge(services, "k2", month=1)[0] == 200
    assert wire.ask(services.url, Op.CHECK_CARD, "k3", user="ann")[0] == 200
    assert charge(services, "k4", month=2)[0] == 402


def test_failing_before_the_effect_leaves_none(services: ServiceProcess) -> None:
    order(services, FaultKind.ERROR_BEFORE)
    assert charge(services, "k1")[0] == 500
    assert ledger(services).charges() == {}
    assert charge(services, "k1")[0] == 200
    assert ledger(services).count(Kind.REPEAT) == 0


def test_failing_after_the_effect_leaves_one(services: ServiceProcess) -> None:
    order(services, FaultKind.ERROR_AFTER)
    assert charge(services, "k1")[0] == 500
    assert ledger(services).charges() == {("ann", 1): 1}
    assert charge(services, "k1")[0] == 200
    assert ledger(services).charges() == {("ann", 1): 1}
    assert ledger(services).count(Kind.REPEAT) == 1


def test_answering_too_late_is_after_the_effect(services: ServiceProcess) -> None:
    order(services, FaultKind.DELAY_AFTER, delay_s=3600.0)
    with pytest.raises(TimeoutError):
        charge(services, "k1")
    assert charge(services, "k1")[0] == 200
    assert ledger(services).charges() == {("ann", 1): 1}


def test_what_was_answered_is_noted_and_what_was_not_is_counted(services: ServiceProcess) -> None:
    order(services, FaultKind.ERROR_AFTER)
    charge(services, "k1")
    charge(services, "k1")
    eventually(lambda: ledger(services).count(Kind.ANSWERED) == 1)
    assert ledger(services).unanswered() == 1


@pytest.mark.parametrize(("kind", "charged"), [(FaultKind.CRASH_BEFORE, 0), (FaultKind.CRASH_AFTER, 1)])
def test_a_crash_forgets_nothing(services: ServiceProcess, kind: FaultKind, charged: int) -> None:
    wire.ask(services.url, Op.CREATE_ACCOUNT, "k0", user="ann")
    order(services, kind)
    pid, url = services.pid, services.url
    with pytest.raises(wire.NO_ANSWER):
        charge(services, "k1")
    assert services.wait_for_start(2, DEADLINE_S)
    assert (services.pid != pid, services.url) == (True, url)
    assert sum(ledger(services).charges().values()) == charged
    assert charge(services, "k1")[0] == 200  # the fault is used up
    assert ledger(services).charges() == {("ann", 1): 1}
    assert ledger(services).count(Kind.REPEAT) == charged
    assert wire.ask(services.url, Op.CREATE_ACCOUNT, "k2", user="ann") == (409, "the account exists")


def test_a_killed_process_comes_back_with_its_faults_and_answers(services: ServiceProcess) -> None:
    answer = charge(services, "k1")
    order(services, FaultKind.DECLINE)
    os.kill(services.pid, signal.SIGKILL)
    assert services.wait_for_start(2, DEADLINE_S)
    assert charge(services, "k1") == answer
    assert charge(services, "k2")[0] == 402


def test_a_line_that_was_being_written_is_cut_off(services: ServiceProcess, tmp_path: Path) -> None:
    charge(services, "k1")
    services.stop()
    whole = services.ledger.read_bytes()
    services.ledger.write_bytes(whole + b'{"seq": 99, "kind": "eff')
    assert ledger(services).charges() == {("ann", 1): 1}
    with ServiceProcess(services.ledger) as again:
        charge(again, "k2", month=2)
        assert ledger(again).charges() == {("ann", 1): 1, ("ann", 2): 1}


def test_an_undo_removes_the_account_it_names(services: ServiceProcess) -> None:
    wire.ask(services.url, Op.CREATE_ACCOUNT, "k1", user="ann")
    assert ledger(services).accounts() == {"ann": "k1"}
    wire.ask(services.url, Op.REMOVE_ACCOUNT, "u9", undo_of="k9", user="ann")  # of an action that made nothing
    assert ledger(services).accounts() == {"ann": "k1"}
    wire.ask(services.url, Op.REMOVE_ACCOUNT, "u1", undo_of="k1", user="ann")
    assert ledger(services).accounts() == {}


def test_an_action_that_comes_after_its_undo_is_refused(services: ServiceProcess) -> None:
    assert wire.ask(services.url, Op.REMOVE_ACCOUNT, "u1", undo_of="k1", user="ann")[0] == 200
    assert wire.ask(services.url, Op.CREATE_ACCOUNT, "k1", user="ann") == (409, "undone before it came")
    assert ledger(services).accounts() == {}


def test_the_running_services_show_their_ledger(services: ServiceProcess) -> None:
    charge(services, "k1")
    eventually(lambda: len(wire.entries(services.url)) == 3)
    assert [entry.kind for entry in wire.entries(services.url, after=1)] == [Kind.EFFECT, Kind.ANSWERED]


def test_a_request_that_makes_no_sense_is_refused_and_not_recorded(services: ServiceProcess) -> None:
    assert wire.ask(services.url, Op.CHARGE, "", user="ann")[0] == 400
    assert wire.ask(services.url, Op.CHARGE, "k1", nonsense=1)[0] == 400
    assert ledger(services).entries == ()


def test_the_process_ends_with_whoever_started_it(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "ledger.jsonl")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with parent:
        try:
            assert parent.stdout is not None
            url = parent.stdout.readline().strip()
            assert wire.entries(url) == []
        finally:
            parent.kill()
    eventually(lambda: not answers(url))


PARENT = """
import sys, time, pathlib
from examples.subscription.process import ServiceProcess
with ServiceProcess(pathlib.Path(sys.argv[1])) as services:
    print(services.url, flush=True)
    time.sleep(600)
"""


def answers(url: str) -> bool:
    try:
        wire.entries(url)
    except wire.NO_ANSWER:
        return False
    return True
