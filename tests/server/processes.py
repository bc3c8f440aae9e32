"""Processes that these tests start: raw servers with chosen settings, and whether a pid has ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

DEADLINE_S = 60.0


def wait_until(happened: Callable[[], bool], what: str) -> None:
    """Return as soon as it has happened; fail when it has not within a generous time."""
    deadline = time.monotonic() + DEADLINE_S
    while not happened():
        assert time.monotonic() < deadline, f"waited {DEADLINE_S:g} s in vain: {what}"
        time.sleep(0.01)


def has_ended(pid: int) -> bool:
    """Whether the process runs no more; a zombie nobody has reaped yet has ended too."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


def tcp_listeners(pid: int) -> set[str]:
    """The local addresses (hex) on which this process listens for TCP."""
    held = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        held.add(os.readlink(entry))
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()]
    return {row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in held}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RawServer:
    """A server with exactly these settings, on a Unix socket and, if asked for, on a free loopback port."""

    def __init__(self, binary: Path, folder: Path, settings: dict[str, str], *, tcp: bool) -> None:
        self.port = free_port() if tcp else 0
        self.socket = folder / "s"
        self.url = f"unix://{self.socket}"
        words = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "unixsocket": str(self.socket),
            "dir": str(folder),
            "save": "",
        } | settings
        arguments = [part for name, value in words.items() for part in (f"--{name}", *value.split("\0"))]
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([binary, *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(self._answers, "a server that answers")

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5)
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
