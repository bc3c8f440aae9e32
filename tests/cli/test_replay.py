"""``sagas history --download`` and ``sagas replay``: from a real store into a file, and held against changed code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.cli.console import Console


def test_a_downloaded_history_is_replayed_until_the_code_changes(shop: Console, console: Console) -> None:
    shop.ok("execute", "shop:book_trip", '{"city": "Rome"}', "--id", "replayed-1")
    saved = shop.ok("history", "replayed-1", "--download", str(console.folder / "one.history"))
    assert saved.out == ""
    assert "`sagas replay " in saved.err
    assert "ok     replayed-1  book_trip  " in console.ok("replay", "one.history", "--module", "shop").out

    code = Path(console.folder, "shop.py")
    code.write_text(
        code.read_text().replace("cents = await charge", "await sagas.sleep(1)\n        cents = await charge")
    )
    parted = console.run("replay", "one.history", "--module", "shop")
    assert (parted.code, parted.err) == (1, "")
    assert "parts  replayed-1" in parted.out
    assert "the history holds   StepScheduled(step=" in parted.out
    assert "the code asked for  TimerSet(timer=" in parted.out
    assert "shop.py, line " in parted.out
    assert ": await sagas.sleep(1)" in parted.out
    told = console.run("replay", "one.history", "--module", "shop", "--json")
    (line,) = told.out.splitlines()
    assert json.loads(line)["parts"]["found"].startswith("TimerSet(timer=")

    debugged = subprocess.run(
        [sys.executable, "-m", "sagas", "replay", "one.history", "--module", "shop", "--pdb"],
        cwd=console.folder,
        env=console.environment,
        input="p trip.city\nq\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert debugged.returncode == 1
    assert "'Rome'" in debugged.stdout


def test_what_cannot_be_replayed_is_a_wrong_command_line(shop: Console, console: Console) -> None:
    shop.ok("execute", "shop:echo", "hi", "--id", "replayed-2")
    shop.ok("history", "replayed-2", "--download", str(console.folder / "echo.history"))
    Path(console.folder, "empty.py").write_text("import sagas\n@sagas.saga\nasync def other() -> None: ...\n")
    refused = console.run("replay", "echo.history", "--module", "empty")
    assert refused.code == 2
    assert "no --module holds saga 'echo'" in refused.err
    assert console.run("replay", "nowhere.history", "--module", "shop").code == 2
    assert console.run("replay", "shop.py", "--module", "shop").code == 1
