"""What a process ran when it died: charged by whoever comes after, until it is not run any more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sagas.engine.conduct import Conduct
from sagas.engine.slots import Slots, open_slots
from tests.engine.bench import Bench
from tests.engine.dying import harmless

_LEAVE = """
import os, sys
from pathlib import Path
from sagas.engine.slots import Slots
slots = Slots(Path(sys.argv[1]))
for word in sys.argv[2:]:
    slots.write(word) if word != "-" else slots.clear()
os._exit(1)
"""
_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def die(folder: Path, *words: str) -> None:
    """A process ends that has run these instances; "-" is the end of one."""
    subprocess.run([sys.executable, "-c", _LEAVE, str(folder), *words], check=False, env=_ENVIRONMENT)


def test_a_death_is_charged_once_to_whom_it_ran(tmp_path: Path) -> None:
    folder = tmp_path / "user" / "slots"
    folder.parent.mkdir()
    living, other = Slots(folder), Slots(folder)
    living.write("alive")
    die(folder, "a long name of the first", "-", "bé")
    die(folder, "somebody", "-")
    for _ in range(2):
        other.look()
        assert [other.charges(id) for id in ("bé", "somebody", "alive")] == [1, 0, 0]
    die(folder, "bé")
    living.look()
    other.look()
    assert (living.charges("bé"), other.charges("bé")) == (2, 2)
    living.forgive("bé")
    other.look()
    assert other.charges("bé") == 0
    for each in (living, other):
        each.close()
        each.close()
        each.write("what still runs, runs unwatched")
    assert list(folder.glob("*.slot")) == []


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    assert open_slots(tmp_path / "file" / "slots") is None
    assert "cannot be used" in caplog.text


class Condemned(Conduct):
    """Everybody is, until forgiven."""

    def __init__(self) -> None:
        super().__init__()
        self.guilty = True

    def sentence(self, id: str) -> str:
        return "Poisonous: so they say" if self.guilty else ""

    def forgive(self, id: str) -> None:
        self.guilty = False


def test_a_condemned_instance_parks_before_it_runs_and_takes_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    conduct = Condemned()
    bench = Bench(harmless)
    bench.resident._conduct, bench.resident._sentence = conduct, conduct.sentence("id-1")
    assert bench.turn(bench.start(harmless)).drop
    assert bench.kinds() == ["RunStarted", "Parked"]
    assert bench.stored.parked == "Poisonous: so they say"

    made = bench._made
    monkeypatch.setattr(bench, "_made", lambda name: _conducted(made(name), conduct))
    bench.reload()
    bench.turn(bench.pause())
    assert bench.stored.parked
    bench.reload()
    bench.turn(bench.resume())
    assert not conduct.guilty
    inputs = bench.resident.inputs
    bench.reload()
    bench.turn(*inputs)
    assert bench.kinds()[-1] == "RunCompleted"


def _conducted(resident: object, conduct: Condemned) -> object:
    resident._conduct, resident._sentence = conduct, conduct.sentence("id-1")  # type: ignore[attr-defined]
    return resident


@pytest.mark.parametrize("how", ["kill", "exit"])
def test_a_saga_that_kills_three_hosts_parks_before_the_fourth_runs_it(
    debian_redis_url: str, namespace: str, tmp_path: Path, how: str
) -> None:
    def host(how: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.engine.dying", debian_redis_url, namespace, str(tmp_path), how]
        return subprocess.run(command, env=_ENVIRONMENT, capture_output=True, text=True, timeout=100, check=False)

    died = [host(how).returncode for _ in range(3)]
    assert died == [-9 if how == "kill" else 3] * 3
    fourth = host(how)
    assert (fourth.returncode, fourth.stdout.splitlines()[-1:]) == (0, ["1"]), fourth.stderr
    assert "Poisonous: 3 processes in a row died" in fourth.stdout
    mended = host("mended")
    assert (mended.returncode, mended.stdout) == (0, "7"), mended.stderr
