"""What a newcomer sees first: help, version, and a command line that is taken as it is typed."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from sagas.cli.parser import COMMANDS, build_parser
from tests.cli.console import ROOT, Console


def test_help_names_every_command(console: Console) -> None:
    answer = console.ok("--help")
    assert COMMANDS.keys() <= set(re.findall(r"^    (\w+)", answer.out, re.MULTILINE))
    assert "sagas dev shop" in answer.out


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args([command, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert f"sagas {command}" in said
    assert "examples:" in said


def test_no_command_shows_the_help_and_is_an_error(console: Console) -> None:
    answer = console.run()
    assert (answer.code, answer.out) == (2, "")
    assert "commands:" in answer.err


def test_version(console: Console) -> None:
    assert console.ok("--version").out.startswith("sagas ")


def test_an_unknown_command_is_an_error(console: Console) -> None:
    answer = console.run("strat")
    assert answer.code == 2
    assert "strat" in answer.err


def test_help_loads_nothing_heavy() -> None:
    probe = (
        "import sys; from sagas.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'ray', 'redis', 'rich', 'msgpack', 'opentelemetry', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "words",
    [
        ["shop:nap", "1", "two", "--id", "n"],
        ["shop:nap", "--id", "n", "1", "two"],
        ["--id", "n", "shop:nap", "1", "--json", "two"],
    ],
)
def test_options_and_arguments_come_in_any_order(words: list[str]) -> None:
    args = build_parser().parse_args(["start", *words])
    assert (args.type, args.args, args.id) == ("shop:nap", ["1", "two"], "n")


def test_arguments_may_look_like_numbers_or_options() -> None:
    assert build_parser().parse_args(["start", "shop:nap", "-5"]).args == ["-5"]
    assert build_parser().parse_args(["start", "shop:echo", "--id", "n", "--", "--json"]).args == ["--json"]
