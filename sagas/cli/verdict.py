"""How a command that failed says so: one clear line on stderr, and an exit code. Every exit code lives here."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from typing import Final

from sagas.cli.text import plain
from sagas.errors import (
    HistoryError,
    Overloaded,
    QueryFailed,
    SagaCancelled,
    SagaError,
    SagaFailed,
    SagaParked,
    SagaRunning,
    SagaTerminated,
    SagaTimedOut,
    StoreUnavailable,
    UnsafeStore,
    UpdateFailed,
    UpdateRejected,
)

OK: Final = 0
FAILED: Final = 1
"""The saga said no: it failed, was cancelled, is parked, refused a query, or did not end in time."""
USAGE: Final = 2
"""The command line, or something it names, is wrong."""
STORE: Final = 3
"""The store cannot be reached, is not safe, or is full."""
BUG: Final = 70
"""An error nobody foresaw (sysexits.h: EX_SOFTWARE)."""
INTERRUPTED: Final = 130
"""Ctrl-C (128 + SIGINT)."""

_SAID_NO = (
    SagaFailed,
    SagaCancelled,
    SagaTimedOut,
    SagaTerminated,
    SagaParked,
    SagaRunning,
    QueryFailed,
    UpdateFailed,
    UpdateRejected,
    HistoryError,
    TimeoutError,
)
_STORE_TROUBLE = (StoreUnavailable, UnsafeStore, Overloaded)


def verdict_on(error: BaseException, *, debug: bool) -> int:
    """Tell a person what went wrong, and the shell its exit code. ``debug`` adds the traceback."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    error = _original(error)
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, SagaError | TimeoutError):
        complain(str(error) or "it took too long: try again, or give it more --timeout")
        return _code_of(error)
    complain(_unforeseen(error, debug=debug))
    return BUG


def complain(message: str) -> None:
    """One message on stderr; what came from elsewhere cannot steer the terminal."""
    print(f"sagas: {plain(message)}", file=sys.stderr)


def _code_of(error: BaseException) -> int:
    if isinstance(error, _SAID_NO):
        return FAILED
    return STORE if isinstance(error, _STORE_TROUBLE) else USAGE


def _original(error: BaseException) -> BaseException:
    """The error itself, when Ray carried it here from an actor: its wrapper's text is the actor's traceback."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error


def _unforeseen(error: BaseException, *, debug: bool) -> str:
    said = f"unexpected {type(error).__name__}: {error}"
    if debug:
        return said
    descriptor, path = tempfile.mkstemp(prefix="sagas-error-", suffix=".log")
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as log:
        traceback.print_exception(error, file=log)
    return f"{said}\nThe details are in {path}; --debug shows them here. This is a bug in sagas, or in what it calls."
