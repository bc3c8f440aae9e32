"""The README's first screen is the example's own code and its own output."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


def test_the_output_shown_is_what_the_example_prints() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.quickstart"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == _blocks("text")[0]
    assert done.stderr == ""


def test_the_code_shown_is_the_code_that_runs() -> None:
    def lines(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.strip()]

    shown, runs = lines(_blocks("python")[0]), lines((ROOT / "examples" / "quickstart.py").read_text())
    assert [line for line in shown if line not in runs] == []
