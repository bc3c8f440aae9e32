"""A thread beside a host that breaks off saga code which keeps the host's loop for too long.

It counts looks and reads no clock: a machine that gives the process no time stops both. While a debugger has the code,
nothing is counted.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import sysconfig
import threading
from pathlib import Path
from types import FrameType

from sagas.kernel.breaking import RUNNING, Blocked, break_off
from sagas.kernel.instance import Instance

LOOKS = 8
"""Looks at one activation until it is broken off."""

_NOT_THEIRS = (str(Path(__file__).parents[1]), sysconfig.get_path("stdlib"))
_DEBUGGERS = frozenset({"bdb", "pdb", "pydevd", "_pydevd_bundle", "debugpy"})


class Watchdog:
    """From ``start``, on the thread that is watched, to ``stop``."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sagas watchdog", daemon=True)
        self._watched = 0

    def start(self) -> None:
        """Begin to look."""
        self._watched = threading.get_ident()
        self._thread.start()

    def stop(self) -> None:
        """Look no more; returns at once."""
        self._stopping.set()

    # --- on its own thread

    def _run(self) -> None:
        strike = functools.partial(
            ctypes.pythonapi.PyThreadState_SetAsyncExc, ctypes.c_ulong(self._watched), ctypes.py_object(Blocked)
        )
        seen: tuple[Instance, int] | None = None
        looks = 0
        while not self._stopping.wait(self._limit_s / LOOKS):
            instance = RUNNING.get(self._watched)
            now = None if instance is None else (instance, instance.activations)
            frame = sys._current_frames().get(self._watched)
            looks = looks + 1 if now is not None and now == seen and not _is_debugged(frame) else 0
            seen = now
            if looks >= LOOKS and now is not None:
                looks = 0
                break_off(self._watched, *now, self._why(frame), strike)

    def _why(self, frame: FrameType | None) -> Blocked:
        return Blocked(
            f"the saga kept its host for {self._limit_s:g} s without coming to rest{_place(frame)}: long computations "
            "and calls that block belong in an @activity"
        )


def _is_debugged(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] in _DEBUGGERS:
            return True
        frame = frame.f_back
    return False


def _place(frame: FrameType | None) -> str:
    """Where it stands: the innermost line that is neither the library's nor Python's."""
    while frame is not None and frame.f_code.co_filename.startswith(_NOT_THEIRS):
        frame = frame.f_back
    return "" if frame is None else f" (at {frame.f_code.co_filename}, line {frame.f_lineno})"
