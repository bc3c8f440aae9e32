"""The real console: ``python -m sagas`` as a process of its own, in a folder with a user's module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Console:
    """Commands in ``folder``; nothing of the tests' own environment names a store or a Ray."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        gone = ("SAGAS_URL", "RAY_ADDRESS")
        self.environment = {name: value for name, value in os.environ.items() if name not in gone}
        self.environment |= {"PYTHONPATH": str(ROOT), "COLUMNS": "100"}

    def run(self, *words: str, **environment: str) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "sagas", *words],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert "Traceback" not in done.stderr or "--debug" in words, done.stderr
        return Answer(done.returncode, done.stdout, done.stderr)

    def ok(self, *words: str) -> Answer:
        """As ``run``, for a command that must not fail."""
        answer = self.run(*words)
        assert answer.code == 0, answer
        return answer

    def open(self, *words: str) -> subprocess.Popen[str]:
        """A command that goes on: its stdout and stderr are one pipe, and it has a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "sagas", *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
