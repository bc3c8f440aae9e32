"""What a person mistypes is told in one message, with what to do; nothing is started, nothing is left."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.cli.console import Console
from tests.server.processes import RawServer
from tests.servers import binary_of


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["start", "shop:Nope"], "there are: shop:Approval, shop:Subscription USER"),
        (["start", "shop:book"], "names no saga"),
        (["start", "nowhere:nap"], "'nowhere' cannot be found"),
        (["start", "shop.py:nap"], "dotted name"),
        (["start", "./shop:nap"], "dotted name"),
        (["start", ":nap"], "dotted name"),
        (["start", ""], "no name of a saga type"),
        (["start", "shop:nap"], "missing a required argument: 'seconds'"),
        (["start", "shop:nap", "1", "2"], "too many positional arguments"),
        (["start", "shop:nap", "soon"], "expected float"),
        (["start", "shop:book_trip", '{"cty": "Rome"}'], "lacks city"),
        (["start", "shop:nap", "1", "--id", ""], "non-empty"),
        (["start", "shop:nap", "1", "--id", "a\x07b"], "control character"),
        (["start", "shop:nap", "1", "--attributes", "plan"], "name=value"),
        (["start", "shop:nap", "1", "--attributes", "plan=[1]"], "'plan' is a list"),
        (["start", "shop:nap", "1", "--on-conflict", "shrug"], "invalid choice: 'shrug'"),
        (["list", "status is running"], "expected field = 'value'"),
        (["list", "colour = 'red'"], "unknown field 'colour'"),
        (["list", "--namespace", "a b"], "namespace 'a b'"),
        (["list", "--limit", "0"], "'0' is no count"),
        (["list", "--url", "http://example.org"], "no Redis URL"),
        (["describe"], "required: ID"),
        (["result", "x", "--timeout", "soon"], "invalid float value"),
    ],
)
def test_a_wrong_command_line_is_told(hostless: Console, words: list[str], named: str) -> None:
    answer = hostless.run(*words)
    assert (answer.code, answer.out) == (2, "")
    assert named in answer.err
    assert "\x07" not in answer.err


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("x = ", "SyntaxError"),
        ("import no_such_package", "No module named 'no_such_package'"),
        ("1 / 0", "mine.py, line 1"),
        ("raise SystemExit(3)", "SystemExit"),
        ("x = 1", "no @saga and no @activity"),
        ("import sagas\n@sagas.saga\ndef flow(): ...", "async def"),
    ],
)
@pytest.mark.parametrize("command", ["dev", "up"])
def test_a_module_that_cannot_be_used_is_told_before_anything_is_started(
    console: Console, command: str, code: str, named: str
) -> None:
    (console.folder / "mine.py").write_text(code)
    answer = console.run(command, "mine", "--url", "redis://127.0.0.1:1")
    assert (answer.code, answer.out) == (2, "")
    assert named in answer.err


def test_dev_leaves_nothing_behind_for_a_module_that_is_not_there(console: Console) -> None:
    answer = console.run("dev", "shopp")
    assert (answer.code, answer.out) == (2, "")
    assert "'shopp' cannot be found" in answer.err
    assert not (console.folder / ".sagas").exists()


@pytest.mark.parametrize("name", ["actors", "compensations"])
def test_a_file_that_shadows_a_package_of_ours_is_told(console: Console, name: str) -> None:
    (console.folder / f"{name}.py").write_text("ACTORS = ['Bogart']\n")
    answer = console.run("dev", "shop")
    assert (answer.code, answer.out) == (2, "")
    assert f"{name}.py shadows the package" in answer.err
    assert not (console.folder / ".sagas").exists()


def test_a_file_named_sagas_is_told_by_the_installed_command(console: Console) -> None:
    """With ``python -m sagas`` it would be the program itself; the script ``sagas`` finds ours first."""
    (console.folder / "sagas.py").write_text("")
    script = "import sys; sys.path.remove(''); from sagas.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", script, "dev", "shop"],
        cwd=console.folder,
        env=console.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "sagas.py shadows the package 'sagas'" in done.stderr


@pytest.mark.parametrize("words", [["list"], ["start", "shop:nap", "1"], ["up", "shop"], ["doctor"]])
def test_no_store_is_named(console: Console, words: list[str]) -> None:
    answer = console.run(*words)
    assert (answer.code, answer.out) == (3, "")
    assert "sagas dev" in answer.err
    assert "SAGAS_URL" in answer.err


@pytest.mark.parametrize("words", [["list"], ["doctor"], ["result", "t1"]])
def test_a_store_that_does_not_answer(console: Console, words: list[str]) -> None:
    answer = console.run(*words, "--url", f"unix://{console.folder}/nobody.sock")
    assert (answer.code, answer.out) == (3, "")
    assert "cannot be reached" in answer.err


def test_no_message_shows_a_password(console: Console) -> None:
    answer = console.run("list", "--url", "redis://app:hunter2@127.0.0.1:1/0")
    assert answer.code == 3
    assert "hunter2" not in answer.err
    assert "***" in answer.err


def test_an_unsafe_store_is_refused_and_the_doctor_says_why(console: Console) -> None:
    binary = binary_of("debian") or binary_of("valkey")
    if binary is None:
        pytest.skip("no server is installed")
    with tempfile.TemporaryDirectory(prefix="sg") as folder:
        server = RawServer(Path(binary), Path(folder), {"maxmemory-policy": "allkeys-lru"}, tcp=False)
        try:
            refused = console.run("list", "--url", server.url)
            examined = console.run("doctor", "--url", server.url)
            listed = console.run("doctor", "--url", server.url, "--json")
        finally:
            server.stop()
    assert refused.code == 3
    assert "maxmemory-policy" in refused.err
    assert examined.code == 1
    assert "noeviction" in examined.out
    assert "not safe" in examined.err
    assert "maxmemory-policy" in [finding["subject"] for finding in listed.lines if finding["severity"] == "refuse"]


def test_down_wants_to_know_what(console: Console) -> None:
    answer = console.run("down")
    assert answer.code == 2
    assert "RAY_ADDRESS" in answer.err
    assert "there was none" in console.ok("down", "--data", ".sagas").err
    assert not (console.folder / ".sagas").exists()


def test_down_says_when_no_ray_listens(console: Console) -> None:
    answer = console.run("down", RAY_ADDRESS="127.0.0.1:1")
    assert answer.code == 2
    assert "RAY_ADDRESS=127.0.0.1:1 cannot be reached" in answer.err


def test_debug_shows_the_traceback(console: Console) -> None:
    answer = console.run("list", "--debug")
    assert answer.code == 3
    assert "Traceback" in answer.err
