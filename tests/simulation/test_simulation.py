"""Some seeds of the simulator at every test run, and that it would see a promise broken. Many: ``make sim``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sagas.engine.resident import Resident
from sagas.errors import StoreUnavailable
from sagas.kernel.events import SignalReceived
from sagas.store.port import Admission, AdmissionVerdict, Batch, CommitVerdict
from tests.simulation.faulty_store import CALM, Faults, FaultyStore
from tests.simulation.oracle import expected
from tests.simulation.simulator import Broken, Simulation
from tests.simulation.time_skipping import LoopClock, NothingLeft, run


@pytest.mark.parametrize("seed", range(20))
def test_every_saga_ends_as_it_must_whatever_fails(seed: int) -> None:
    Simulation(seed).play()


def test_without_faults_every_saga_ends_as_it_must() -> None:
    Simulation(1000, CALM, chaos=False).play()


def test_all_faults_at_once() -> None:
    everything = Faults(before_write=0.1, after_write=0.1, delayed=0.05, theft=0.1, reads=0.1)
    simulation = Simulation(1001, everything)
    simulation.play()
    assert set(simulation.store.injected) == {"before_write", "after_write", "delayed", "theft", "reads"}


def test_a_seed_is_one_program_and_one_course_of_events() -> None:
    def course() -> list[list[str]]:
        simulation = Simulation(7)
        simulation.play()
        return [[f"{type(e).__name__} {e.at_ms}" for e in simulation.history(case.id)] for case in simulation.cases]

    assert course() == course()


# --- it would be seen


def test_a_lost_signal_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(self: Resident, mail: Any, now_ms: int, original: Any = Resident._on_mail) -> None:
        original(self, mail, now_ms)
        if self._facts and isinstance(self._facts[-1], SignalReceived) and self._facts[-1].message_id.endswith("/2"):
            self._facts.pop()

    monkeypatch.setattr(Resident, "_on_mail", forgetful)
    with pytest.raises(Broken, match=r"signal .*/2 is recorded|never end"):
        for seed in range(5):
            Simulation(seed, CALM, chaos=False).play()


def test_a_step_that_nobody_recovers_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Resident, "_needs_an_owner", lambda self: False)
    with pytest.raises(Broken):
        for seed in range(5):
            Simulation(seed).play()


# --- its parts


def test_the_oracle_knows_scopes() -> None:
    inner = ["scope", False, [["undoable", "b", 0, 0]]]
    must = expected(
        [["undoable", "a", 0, 0], ["try", [["scope", False, [inner, ["step", "c", 0, 0], ["refused", "r"]]]]]]
    )
    assert must.trail == sorted(["undoable", "undoable", "scope", "step", "caught r", "try"])
    assert (must.effects, must.standing) == (["a", "b", "c"], ["a", "c"])
    assert expected([["refused", "r"]]).trail is None


def test_the_loop_skips_time_and_says_when_nothing_is_left() -> None:
    async def nap() -> int:
        before = LoopClock().now_ms()
        await asyncio.sleep(86_400)
        return LoopClock().now_ms() - before

    async def hang() -> None:
        await asyncio.get_running_loop().create_future()

    assert run(nap()) == 86_400_000
    with pytest.raises(NothingLeft):
        run(hang())


ADMISSION = Admission(id="a", kind="start", message_id="m", mail=b"x", run_id="r")


@pytest.mark.parametrize(
    ("faults", "again"),
    [
        (Faults(before_write=1), AdmissionVerdict.OK),
        (Faults(after_write=1), AdmissionVerdict.KNOWN),
        (Faults(delayed=1), AdmissionVerdict.KNOWN),
    ],
)
def test_a_failed_write_was_made_or_not_as_its_fault_says(faults: Faults, again: AdmissionVerdict) -> None:
    async def scenario() -> None:
        store = FaultyStore(LoopClock().now_ms, 0, faults)
        with pytest.raises(StoreUnavailable):
            await store.enqueue(ADMISSION)
        store.calm()
        await store.settle()
        assert (await store.enqueue(ADMISSION)).verdict is again

    run(scenario())


def test_a_stolen_shard_fences_the_commit_and_is_free_again() -> None:
    async def scenario() -> None:
        store = FaultyStore(LoopClock().now_ms, 0, Faults(theft=1))
        claim = await store.claim(3, "me", 1000)
        assert claim is not None
        (verdict,) = await store.commit([Batch(shard=3, token=claim.token, sequence=1)])
        assert verdict.verdict is CommitVerdict.FENCED
        assert await store.claim(3, "somebody", 1000) is not None

    run(scenario())
