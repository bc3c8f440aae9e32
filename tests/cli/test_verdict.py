"""Errors as a person and a shell see them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sagas import errors
from sagas.cli.verdict import verdict_on


def raised(error: Exception) -> Exception:
    """The error with a traceback."""
    try:
        raise error
    except Exception as found:
        return found


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SagaFailed("t1", "CardDeclined", "no money"), 1),
        (errors.SagaCancelled("t1", "enough"), 1),
        (errors.SagaParked("t1", "a bug"), 1),
        (errors.QueryFailed("state", "KeyError", "x"), 1),
        (TimeoutError("it took too long"), 1),
        (errors.SagaNotFound("t1"), 2),
        (errors.SagaAlreadyStarted("t1"), 2),
        (errors.InvalidArgument("no id"), 2),
        (errors.DefinitionError("two of one name"), 2),
        (errors.StoreUnavailable("nobody answers"), 3),
        (errors.UnsafeStore("it evicts"), 3),
        (errors.Overloaded(2.0), 3),
    ],
)
def test_each_error_is_one_message_and_a_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verdict_on(error, debug=False) == code
    assert capsys.readouterr() == ("", f"sagas: {error}\n")


def test_an_interrupt_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict_on(KeyboardInterrupt(), debug=False) == 130
    assert capsys.readouterr() == ("", "")


def test_an_error_that_ray_carried_is_told_as_itself(capsys: pytest.CaptureFixture[str]) -> None:
    carried = RuntimeError("a traceback of an actor")
    carried.cause = errors.SagaNotFound("t1")  # type: ignore[attr-defined]
    assert verdict_on(carried, debug=False) == 2
    assert "traceback" not in capsys.readouterr().err


def test_an_unforeseen_error_leaves_its_traceback_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert verdict_on(raised(KeyError("missing")), debug=False) == 70
    said = capsys.readouterr().err
    assert said.startswith("sagas: unexpected KeyError: 'missing'\n")
    named = re.search(r"\S+sagas-error-\S+\.log", said)
    assert named is not None
    log = Path(named[0])
    assert 'test_verdict.py", line' in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict_on(raised(errors.SagaNotFound("t1")), debug=True) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_error_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    verdict_on(errors.SagaFailed("t1", "Boom", "\x1b[2J"), debug=False)
    assert "\x1b" not in capsys.readouterr().err
