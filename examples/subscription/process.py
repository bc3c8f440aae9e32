"""The services as a child process that comes back: on the same port, with the same ledger.

Law: however the process ends (told to crash, killed), it is started again until ``stop``; and it never outlives whoever
started it, because it ends when its standard input does.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
"""Where ``examples`` can be imported from."""


class ServiceProcess:
    """``with ServiceProcess(ledger_path) as services: ... services.url``; the URL stays the same over restarts."""

    def __init__(self, ledger: Path) -> None:
        self.ledger = ledger
        self.url = ""
        self.starts = 0
        self._port = 0
        self._stopping = False
        self._turn = threading.Condition()

    def __enter__(self) -> ServiceProcess:
        self._process = self._start()
        self._keeper = threading.Thread(target=self._keep, name="services", daemon=True)
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Of the process that runs now, or ran last."""
        with self._turn:
            return self._process.pid

    def stop(self) -> None:
        """Ends the process for good; the ledger stays."""
        with self._turn:
            self._stopping = True
            self._process.kill()
        self._keeper.join()

    def wait_for_start(self, number: int, timeout_s: float) -> bool:
        """Blocks until the process was started ``number`` times in all; False when that took too long."""
        with self._turn:
            return self._turn.wait_for(lambda: self.starts >= number, timeout_s)

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "examples.subscription.services", "--with-parent"]
        process = subprocess.Popen(
            [*command, "--port", str(self._port), "--ledger", str(self.ledger)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,  # Ctrl-C in a terminal is for whoever started it, who then stops it
        )
        assert process.stdout is not None
        self.url = process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError(f"the services did not start (exit status {process.wait()}); see their standard error")
        self._port = urlsplit(self.url).port or 0
        self.starts += 1
        return process

    def _keep(self) -> None:
        while True:
            self._process.wait()  # before its pipes are closed: it lives as long as its standard input
            with self._process, self._turn:
                if self._stopping:
                    return
                self._process = self._start()
                self._turn.notify_all()
