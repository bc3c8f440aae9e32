"""An activity by itself, under a step of the test's making; and the fixtures for pytest."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import sagas
from sagas import activity
from sagas.testing import step


@dataclass
class Place:
    row: int


@activity
async def copy(rows: int) -> str:
    here = sagas.step()
    begin = 0 if here.heartbeat_details is None else here.heartbeat_details["row"]
    for row in range(begin, rows):
        sagas.heartbeat(Place(row + 1))
    return f"{here.idempotency_key} {here.attempt}: {rows - begin} rows"


@activity
def told_in_a_thread() -> bool:
    sagas.heartbeat()
    return sagas.step().cancelled


@activity
async def book() -> None: ...


@book.compensation
async def unbook(_result: None) -> str | None:
    return sagas.step().undo_of


def test_it_runs_as_the_step_that_the_test_describes() -> None:
    with step(attempt=2, run_id="r", step_id=7, heartbeat_details=Place(3)) as alone:
        assert asyncio.run(copy(5)) == "r/7 2: 2 rows"
    assert (alone.beats, alone.details) == (2, [{"row": 4}, {"row": 5}])
    with step(idempotency_key="key", undo_of="of this"):
        assert asyncio.run(copy(0)) == "key 1: 0 rows"
        assert asyncio.run(unbook(None)) == "of this"


def test_outside_the_block_it_is_no_step() -> None:
    with step():
        pass
    with pytest.raises(sagas.NotInSaga):
        asyncio.run(copy(1))


def test_a_step_that_is_cancelled_hears_of_it_at_its_next_heartbeat_in_a_thread_too() -> None:
    with step() as alone:
        assert told_in_a_thread() is False
        alone.cancel()
        assert sagas.step().cancelled
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(asyncio.to_thread(told_in_a_thread))
    assert alone.beats == 1


def test_what_could_not_be_kept_is_refused_as_in_a_worker() -> None:
    with step() as alone, pytest.raises(sagas.PayloadError):
        sagas.heartbeat(b"x" * 100_000)
    assert alone.details == []
    with pytest.raises(sagas.PayloadError), step(heartbeat_details=object()):
        pass


def test_the_fixtures_for_pytest(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["sagas.testing.pytest_plugin"]\n')
    (tmp_path / "test_it.py").write_text(
        """
import asyncio
import datetime
import sagas

@sagas.saga
async def naps():
    await asyncio.sleep(3600)
    return sagas.now().isoformat()

def test_nap(in_virtual_time):
    async def story(env):
        return await env.client.execute(naps)

    start = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    assert in_virtual_time(story, start=start) == "2030-01-01T01:00:00+00:00"

async def test_another(saga_env):
    await saga_env.advance(days=1)
    assert saga_env.now.day == 2
"""
    )
    _run_pytest(tmp_path)


def _run_pytest(folder: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:valkey",
        "-p",
        "anyio",
        "-o",
        "anyio_mode=auto",
        str(folder),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
