from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from sagas.server.process import ServerProcess
from tests.server.processes import has_ended, wait_until

DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
while True: time.sleep(60)
"""


def start(code: str, tmp_path: Path, *, die_with_parent: bool = False) -> ServerProcess:
    read, write = os.pipe()
    try:
        command = [sys.executable, "-c", code]
        return ServerProcess(command, log=tmp_path / "log", keep_open=read, die_with_parent=die_with_parent)
    finally:
        os.close(read)
        os.close(write)


def test_its_end_is_an_event(tmp_path: Path) -> None:
    process = start("print('one'); print('two'); raise SystemExit(7)", tmp_path)
    assert process.exited.wait(60)
    assert process.returncode == 7
    assert process.last_log(lines=1) == "two"
    process.stop(60)  # a process that has ended can be stopped


@pytest.mark.parametrize("die_with_parent", [False, True])
def test_one_that_ignores_sigterm_is_killed(tmp_path: Path, die_with_parent: bool) -> None:
    process = start(DEAF, tmp_path, die_with_parent=die_with_parent)
    wait_until(lambda: process.last_log() == "deaf", "the signal handler")
    process.stop(0.05)
    assert process.returncode == -signal.SIGKILL
    assert has_ended(process.pid)


def test_a_program_that_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ServerProcess([str(tmp_path / "none")], log=tmp_path / "log", keep_open=0, die_with_parent=False)


def test_a_terminal_ctrl_c_does_not_reach_it(tmp_path: Path) -> None:
    process = start("import time; time.sleep(600)", tmp_path)
    try:
        assert os.getpgid(process.pid) == process.pid != os.getpgrp()
    finally:
        process.stop(60)


def test_a_log_that_is_gone_is_no_error(tmp_path: Path) -> None:
    process = start("", tmp_path)
    assert process.exited.wait(60)
    (tmp_path / "log").unlink()
    assert process.last_log() == ""
