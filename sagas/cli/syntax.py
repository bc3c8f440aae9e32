"""How a command of ours is written: words in any order, help that shows examples, and the options that many have."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class CommandParser(argparse.ArgumentParser):
    """Takes options and arguments in any order.

    Plain argparse gives ``ARG...`` the (no) words before the first option, and then refuses those after it:
    ``sagas start shop:book_trip --id t1 ROME`` would not work.
    """

    _inside = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._inside:
            return super().parse_known_args(args, namespace)
        self._inside = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._inside = False


def command(commands: Any, name: str, summary: str, about: str, examples: Sequence[str]) -> argparse.ArgumentParser:
    """A new command: ``summary`` is its line in the overview and begins its help, ``about`` follows."""
    shown = "\n".join(f"  {example}" for example in examples)
    made: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. {about}",
        epilog=f"examples:\n{shown}",
        formatter_class=Help,
        allow_abbrev=False,
    )
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return made


class Overview(argparse.RawDescriptionHelpFormatter):
    """Leaves room for the longest command's name."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=16)


class Help(argparse.HelpFormatter):
    """Wraps the description, keeps the lines of the examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("examples:") else super()._fill_text(text, width, indent)


def add_store(command: argparse.ArgumentParser) -> None:
    command.add_argument("--url", metavar="URL", help="the Redis (else SAGAS_URL, else what `sagas dev` left)")
    add_data(command, "where `sagas dev` left its address")
    add_namespace(command)


def add_data(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("--data", type=Path, default=Path(".sagas"), metavar="FOLDER", help=f"{what} (.sagas)")


def add_namespace(command: argparse.ArgumentParser) -> None:
    command.add_argument("--namespace", default="default", metavar="NAME", help="whose sagas (default)")


def add_id(command: argparse.ArgumentParser) -> None:
    command.add_argument("id", metavar="ID", help="the saga's id")


def add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("--run", metavar="RUN_ID", help="an earlier run of this id (else the latest)")


def add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="for machines: one JSON value a line")


def count(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no count: give a whole number from 1 on")
    return number


def port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number from 0 to 65535")
    return int(text)
