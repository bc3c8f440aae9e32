"""The guard while a saga runs: what would part its replays, or hold up its host, is refused with what to use instead.

Law: the same as of ``kernel/refusals.py`` (``Refused`` parks the instance unless its code catches it, in every replay
alike). It acts only on the thread, and for the time, in which an instance's loop is the running one; to everybody else
in the process the functions are what they were. Not watched: ``datetime.now()`` and its kin, methods of a class in C
that nobody can replace (the check at definition finds them), and functions that a module bound by ``from time import
time`` before the first host was made (likewise).

Imports, source lines for tracebacks, warnings, logging, time zones, debuggers and tracing pass: they read files and
clocks, and nothing of it reaches what a saga decides.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from sagas.kernel.current import current
from sagas.kernel.forbidden import AUDITED, WATCHED
from sagas.kernel.loop import InstanceLoop
from sagas.kernel.unguarded import is_unguarded

_PASSING = frozenset(
    {
        *("importlib", "_frozen_importlib", "_frozen_importlib_external", "zipimport"),
        *("linecache", "traceback", "warnings", "logging", "zoneinfo"),
        *("pdb", "bdb", "debugpy", "pydevd", "_pydevd_bundle", "_pydev_bundle", "coverage", "opentelemetry"),
    }
)
"""Packages in whose name the world may be asked, wherever they stand between the saga's code and the call."""

_CODECS = "sagas.payloads.sealing"
"""A codec may throw dice for its nonces: payloads are no part of what a replay compares."""

_BOTTOM = "sagas.kernel.loop"
_installed = False


def install() -> None:
    """Put the guard in place, once a process; before any saga runs in it, a replay too."""
    global _installed  # noqa: PLW0603  # an audit hook can never be taken away again
    if _installed:
        return
    _installed = True
    for name, instead in WATCHED.items():
        _watch(name, instead)
    sys.addaudithook(_heard)


def _watch(name: str, instead: str) -> None:
    """Replace the function of that name by one that is refused to sagas."""
    module, *path, last = name.split(".")
    owner: Any = importlib.import_module(module)
    for each in path:
        owner = getattr(owner, each)
    function = getattr(owner, last, None)
    if function is not None:  # some are of newer Pythons
        setattr(owner, last, _watched(function, f"saga code called {name}(), that is {instead}"))


def _watched(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    running = asyncio._get_running_loop

    @functools.wraps(function)
    def watched(*args: Any, **kwargs: Any) -> Any:
        if type(running()) is InstanceLoop and not _passes():
            current().refuse(what)
        return function(*args, **kwargs)

    return watched


def _heard(event: str, args: tuple[Any, ...], *, running: Callable[[], object] = asyncio._get_running_loop) -> None:
    if event in AUDITED and type(running()) is InstanceLoop and not _passes() and not _is_time_zone(event, args):
        current().refuse(f"saga code asked Python for {event}, that is {AUDITED[event]}")


def _passes() -> bool:
    """Whether the call is made in a name that may, or inside ``with sagas.unguarded()``."""
    if is_unguarded():
        return True
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name == _BOTTOM:
            return False
        if name == _CODECS or name.partition(".")[0] in _PASSING:
            return True
        frame = frame.f_back  # type: ignore[assignment]  # typeshed's type of a local is its first value's
    return False


def _is_time_zone(event: str, args: tuple[Any, ...]) -> bool:
    """``zoneinfo`` opens its files in C, so that no frame tells."""
    zones = sys.modules.get("zoneinfo")
    if event != "open" or zones is None:
        return False
    return str(args[0]).startswith(tuple(f"{folder}{os.sep}" for folder in zones.TZPATH))
