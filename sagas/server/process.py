"""One server process: started, watched until it ends, stopped by its own pid.

Law: a thread of its own starts the process and waits for it. So its end is an event, not something to poll for; it is
reaped at once; and because Linux ties "end with your parent" to the *thread* that started a process, it is tied
to one that lives as long as the server does, whichever thread called.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

from sagas.server import launch


class ServerProcess:
    """A child process, its pid, and the event of its end. Any thread may call any method."""

    def __init__(self, command: Sequence[str], *, log: Path, keep_open: int, die_with_parent: bool) -> None:
        """Start ``command``; its output is appended to ``log``, and it inherits the descriptor ``keep_open``.

        ``die_with_parent``: the kernel ends it when this process ends, however that happens (Linux only; elsewhere
        the wish is ignored).

        Raises: OSError when it cannot be started.
        """
        self.exited = threading.Event()
        self._log = log
        started: Future[subprocess.Popen[bytes]] = Future()
        arguments = _with_parent(command) if die_with_parent else list(command)
        keeper = threading.Thread(
            target=self._keep, args=(arguments, keep_open, started), name="sagas-server-keeper", daemon=True
        )
        keeper.start()
        self._popen = started.result()

    @property
    def pid(self) -> int:
        """The server's own pid, also when it was started to end with its parent."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """How it ended (negative: by that signal), or None while it runs."""
        return self._popen.returncode

    def last_log(self, lines: int = 12) -> str:
        """The end of what the server wrote, for an error that has to explain its death."""
        with contextlib.suppress(OSError):
            return "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        return ""

    def stop(self, timeout: float) -> None:
        """End it and wait: SIGTERM, and SIGKILL only when it has not ended within ``timeout`` seconds."""
        self._send(signal.SIGTERM)
        if not self.exited.wait(timeout):
            self._send(signal.SIGKILL)
            self.exited.wait()

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            if not self.exited.is_set():
                self._popen.send_signal(number)

    def _keep(self, command: list[str], keep_open: int, started: Future[subprocess.Popen[bytes]]) -> None:
        try:
            popen = self._start(command, keep_open)
        except OSError as error:
            started.set_exception(error)
            return
        started.set_result(popen)
        popen.wait()
        self.exited.set()

    def _start(self, command: list[str], keep_open: int) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            # A process group of its own: Ctrl-C in the terminal stops the program first, which then stops the
            # server, instead of both at once. The umask keeps the data and the socket private from the start.
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(keep_open,),
                process_group=0,
                umask=0o077,
            )


def _with_parent(command: Sequence[str]) -> list[str]:
    if sys.platform != "linux" or not sys.executable:
        return list(command)
    return [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), *command]
