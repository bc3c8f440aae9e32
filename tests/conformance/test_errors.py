"""Errors: one root, picklable, and a message that says what happened."""

from __future__ import annotations

import pickle

import pytest

import sagas
from sagas import Outcome, Permanent, Rejected


class Declined(Rejected): ...


class Shortage(Permanent):
    def __init__(self, item: str, wanted: int) -> None:
        super().__init__(item, wanted)
        self.item = item
        self.wanted = wanted


INSTANCES = [
    sagas.SagaNotFound("sub-1"),
    sagas.SagaClosed("sub-1", "completed"),
    sagas.SagaAlreadyStarted("sub-1", "run-1", "running"),
    sagas.QueryFailed("total", "ValueError", "cannot say"),
    sagas.SagaFailed("sub-1", "ValueError", "no", ("undo",)),
    sagas.SagaCancelled("sub-1", "changed my mind"),
    sagas.SagaTimedOut("sub-1", "30 days"),
    sagas.SagaTerminated("sub-1", "by hand"),
    sagas.SagaParked("sub-1", "NameError: x"),
    sagas.Overloaded(2.5),
    sagas.NondeterminismError(3, "StepScheduled a", "StepScheduled b"),
    sagas.ActivityFailed("charge", 3, "OSError", "down", Outcome.UNKNOWN),
    sagas.ActivityTimeout("charge", "total", 2, Outcome.UNKNOWN),
    sagas.DefinitionError("declared wrongly"),
    sagas.StoreUnavailable("nobody answers"),
    Declined("u1", 500),
    Shortage("pen", 3),
]


@pytest.mark.parametrize("error", INSTANCES, ids=lambda error: type(error).__name__)
def test_errors_pickle_with_their_facts(error: sagas.SagaError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert copy.args == error.args
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


@pytest.mark.parametrize("error", INSTANCES, ids=lambda error: type(error).__name__)
def test_errors_are_saga_errors_and_name_their_facts(error: sagas.SagaError) -> None:
    assert isinstance(error, sagas.SagaError)
    for fact in error.args[:1]:
        assert str(fact) in str(error)


def test_the_parking_error_says_what_to_do() -> None:
    assert "resume" in str(sagas.SagaParked("sub-1", "NameError: x"))


def test_timeouts_of_steps_are_timeout_errors() -> None:
    assert issubclass(sagas.ActivityTimeout, TimeoutError)


def test_outcomes_are_three() -> None:
    assert {outcome.name for outcome in Outcome} == {"NONE", "DONE", "UNKNOWN"}


def test_status_and_compensation_are_string_enums() -> None:
    assert sorted(sagas.Status) == sorted(["running", "completed", "failed", "cancelled", "timed_out", "terminated"])
    assert sorted(sagas.Compensation) == sorted(["none", "running", "done", "stuck"])


def test_every_public_name_can_be_imported() -> None:
    for name in sagas.__all__:
        assert getattr(sagas, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = sagas.no_such_name
