"""The ``sagas`` command. ``main`` reads the command line, runs one command and turns how it went into an exit code.

Law: a command is imported when it is called, so that ``sagas --help`` loads neither Ray nor Redis; what a command
prints on stdout is its answer, everything else goes to stderr; no error of ours ever ends in a traceback.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import cast

from sagas.cli.parser import COMMANDS, build_parser
from sagas.cli.verdict import OK, USAGE, verdict_on

MODULES = "SAGAS_MODULES"
"""Modules to import before any command, ``shop.sagas,shop.keys``: where a codec is used, the answers need it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (``verdict.py`` lists them).

    Raises: SystemExit from argparse, for ``--help``, ``--version`` and a command line that cannot be read.
    """
    _never_fail_to_encode()
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help(sys.stderr)
        return USAGE
    # Modules are looked for in the current folder first, as with `python -m`: a console script would not do so.
    here = os.getcwd()
    sys.path[:] = [here, *(entry for entry in sys.path if entry not in (here, ""))]
    try:
        if named := os.environ.get(MODULES):
            importlib.import_module("sagas.cli.target").modules_of(named.split(","))
        module, function = COMMANDS[args.command]
        run = cast("Callable[..., int]", getattr(importlib.import_module(module), function))
        code = run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read our answer has read enough (`sagas list | head`): Python's own flush at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (Exception, KeyboardInterrupt) as error:
        return verdict_on(error, debug=args.debug)


def _never_fail_to_encode() -> None:
    """A terminal that knows no UTF-8 gets escapes instead of a crash."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
