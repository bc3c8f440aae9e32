"""The public API under mypy --strict: right calls are accepted with the right types, wrong ones are type errors."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def _mypy(file: Path, cache: Path) -> str:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(cache), str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def test_what_users_write_is_accepted(cache: Path) -> None:
    assert _mypy(HERE / "accepted.py", cache) == ""


def test_wrong_calls_are_type_errors(cache: Path) -> None:
    file = HERE / "refused.py"
    lines = file.read_text().splitlines()
    wanted = {(n, code) for n, line in enumerate(lines, 1) for code in re.findall(r"# E: ([\w-]+)", line)}
    errors = re.findall(r"refused\.py:(\d+): error: .*\[([\w-]+)\]$", _mypy(file, cache), re.MULTILINE)
    found = {(int(n), code) for n, code in errors}
    assert {n for n, _ in found} == {n for n, _ in wanted}
    assert wanted <= found
