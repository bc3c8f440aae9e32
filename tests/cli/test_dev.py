"""``sagas dev`` as a newcomer runs it: two terminals, a real Ray, a real Redis; and nothing left after Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagas.server import EmbeddedServer
from sagas.server.url import read_url
from tests.cli.console import Console
from tests.server.processes import has_ended, wait_until


class Terminal:
    """The first terminal: a command that goes on, and the lines it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def saw(self, *parts: str) -> None:
        """Wait for a line with all of these in it."""
        wait_until(lambda: self._has(parts) or self.process.poll() is not None, f"a line with {parts}: {self.lines}")
        assert self._has(parts), self.lines

    def interrupt(self) -> None:
        """Ctrl-C: every process of the terminal's foreground group gets the signal."""
        os.killpg(self.process.pid, signal.SIGINT)

    def ended(self) -> int:
        code = self.process.wait()
        self._reader.join()
        return code

    def _has(self, parts: tuple[str, ...]) -> bool:
        return any(all(part in line for part in parts) for line in self.lines)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self.lines.append(line.rstrip())


@contextlib.contextmanager
def terminal(console: Console, *words: str) -> Iterator[Terminal]:
    process = console.open(*words)
    try:
        yield Terminal(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def processes_of(folder: Path) -> dict[int, str]:
    """Processes that work in this folder: the command, its Redis, and what Ray has started for it."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            pid = int(entry.name)
            if str(folder) in str((entry / "cwd").readlink()) or str(folder) in (entry / "environ").read_text():
                found[pid] = (entry / "cmdline").read_text().replace("\0", " ")
    return found


@pytest.mark.timeout(600)
def test_dev_runs_sagas_of_another_terminal_and_leaves_nothing(console: Console) -> None:
    console.environment["PWD"] = str(console.folder)  # inherited by all it starts: how this test finds them
    with terminal(console, "dev", "shop", "--hosts", "1", "--workers", "1") as first:
        first.saw("sagas list")
        first.saw("sagas execute shop:book_trip TRIP")
        started = processes_of(console.folder)
        assert len(started) > 4
        answer = console.ok("execute", "shop:book_trip", '{"city": "Rome"}', "--id", "trip-1", "--json")
        assert answer.json == {"hotel": "a hotel in Rome", "cents": 100}
        first.saw("started", "book_trip", "trip-1")
        first.saw("completed", "trip-1", "a hotel in Rome")
        assert console.run("execute", "shop:book_trip", '{"city": "Rome", "cents": 900}', "--id", "trip-2").code == 1
        first.saw("failed", "trip-2", "CardDeclined: no money")
        console.ok("execute", "shop:loud", "hello", "--id", "loud-1")
        for line in ("printed hello", "logged hello", "complained hello"):
            first.saw("worker-default-0", line)
        console.ok("start", "shop:buggy", "--id", "bug-1")
        first.saw("parked", "bug-1", "KeyError: 'a bug'")
        console.ok("start", "shop:nap", "86400", "--id", "nap-1")
        first.saw("started", "nap-1")
        first.interrupt()
        assert first.ended() == 0
        output = "\n".join(first.lines)
        assert "Traceback" not in output
        assert "Warning" not in output
        assert "\x1b" not in output  # it is no terminal
    for pid, command in started.items():
        wait_until(lambda pid=pid: has_ended(pid), f"the end of {command}")  # type: ignore[misc]
    assert processes_of(console.folder) == {}
    assert read_url(console.folder / ".sagas") is None
    # What was acknowledged is still there at the next start.
    with EmbeddedServer.start(console.folder / ".sagas", die_with_parent=True):
        assert console.ok("describe", "nap-1", "--json").json["status"] == "running"


@pytest.mark.timeout(600)
def test_ctrl_c_while_ray_starts_leaves_nothing(console: Console) -> None:
    console.environment["PWD"] = str(console.folder)
    with terminal(console, "dev", "shop", "--hosts", "1", "--workers", "1") as first:
        first.saw("starting one of its own")
        first.interrupt()
        assert first.ended() == 0
        assert first.lines[-1] == "stopped"
    wait_until(lambda: processes_of(console.folder) == {}, f"the end of {processes_of(console.folder)}")
    assert read_url(console.folder / ".sagas") is None


@contextlib.contextmanager
def ray_head(console: Console) -> Iterator[None]:
    """A Ray that others may join, named by RAY_ADDRESS in this console."""
    console.environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    head = subprocess.Popen(
        [sys.executable, Path(__file__).parent / "ray_head.py", console.folder / "ray"],
        env=console.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with head:
        assert head.stdout is not None
        console.environment["RAY_ADDRESS"] = head.stdout.readline().strip()
        yield
        head.communicate()


@pytest.mark.timeout(600)
def test_up_and_down_on_a_ray_that_is_there(console: Console) -> None:
    console.environment["PWD"] = str(console.folder)
    with EmbeddedServer.start(console.folder / ".sagas", die_with_parent=True), ray_head(console):
        with terminal(console, "up", "shop", "--hosts", "1", "--workers", "1", "--namespace", "team") as first:
            first.saw("sagas list --namespace team")
            assert console.ok("execute", "shop:echo", "hello", "--namespace", "team").out == "hello\n"
            assert "there were none" in console.ok("down").err  # in the namespace "default"
            assert "stopped" in console.ok("down", "--namespace", "team").err
            first.interrupt()
            assert first.ended() == 0
            assert "Traceback" not in "\n".join(first.lines)
        assert "there were none" in console.ok("down", "--namespace", "team").err
    wait_until(lambda: processes_of(console.folder) == {}, f"the end of {processes_of(console.folder)}")


def test_down_stops_a_server_that_was_left_running(console: Console) -> None:
    with EmbeddedServer.start(console.folder / ".sagas", die_with_parent=True) as server:
        assert "stopped" in console.ok("down", "--data", ".sagas").err
        wait_until(lambda: has_ended(server.pid), "the end of the server")
