from __future__ import annotations

from pathlib import Path

import pytest

from sagas.errors import InvalidArgument
from sagas.server import fsync
from sagas.server.fsync import FsyncLatency, judge_fsync, measure_fsync


def test_quantiles_are_those_of_the_times_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([float(ms) for ms in range(100, 0, -1)])
    monkeypatch.setattr(fsync, "_timed_append_ms", lambda descriptor: next(times))
    assert measure_fsync(tmp_path, n=100) == FsyncLatency(p50_ms=50.0, p99_ms=99.0)


def test_every_write_is_synced_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(fsync, "_sync", synced.append)
    measured = measure_fsync(tmp_path, n=7)
    assert len(synced) == 7
    assert 0 < measured.p50_ms <= measured.p99_ms
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_measure_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        measure_fsync(tmp_path, n=0)


def test_a_folder_that_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        measure_fsync(tmp_path / "none")


def test_over_five_milliseconds_is_warned_about() -> None:
    assert judge_fsync(FsyncLatency(p50_ms=0.3, p99_ms=5.0)).severity == "ok"
    slow = judge_fsync(FsyncLatency(p50_ms=4.0, p99_ms=5.1))
    assert (slow.severity, slow.subject) == ("warn", "fsync")
    assert "p99 5.10 ms" in slow.message
    assert slow.fix
