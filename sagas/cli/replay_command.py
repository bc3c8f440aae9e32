"""``sagas replay``: the operator's code over downloaded histories, in this process, without a store."""

from __future__ import annotations

import argparse
import linecache
import pdb
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from sagas.cli.show import print_json, tell
from sagas.cli.target import modules_of
from sagas.cli.text import one_line
from sagas.cli.verdict import FAILED, OK
from sagas.errors import InvalidArgument, NondeterminismError
from sagas.kernel.events import Event
from sagas.kernel.registry import Registry
from sagas.replaying import histories_in, replay_one, started_of


def replay(args: argparse.Namespace) -> int:
    """A line for each history; FAILED when any parts from the code."""
    registry = Registry(modules_of(args.module))
    good = True
    for path in args.files:
        for history in histories_in(path):
            error = _replayed(registry, history)
            good = good and error is None
            _say(args, history, error)
            if error is not None and args.pdb:
                _debug(error)
    return OK if good else FAILED


def _replayed(registry: Registry, history: Sequence[Event]) -> NondeterminismError | None:
    """What came of it. Raises: InvalidArgument when no module holds its saga."""
    started = started_of(history)
    saga_type = registry.saga(started.type)
    if saga_type is None:
        known = ", ".join(registry.saga_names) or "none"
        raise InvalidArgument(f"no --module holds saga {started.type!r} of {started.id!r}; there are: {known}")
    try:
        replay_one(saga_type, history)
    except NondeterminismError as error:
        return error
    return None


def _say(args: argparse.Namespace, history: Sequence[Event], error: NondeterminismError | None) -> None:
    started = started_of(history)
    if args.json:
        parted = {"position": error.position, "expected": error.expected, "found": error.found} if error else None
        of = {"id": started.id, "run_id": started.run_id, "type": started.type, "events": len(history)}
        print_json({**of, "parts": parted})
        return
    run = f"{one_line(started.id)}  {one_line(started.type)}  {len(history)} events"
    if error is None:
        tell(f"ok     {run}")
        return
    tell(f"parts  {run}")
    tell(f"       at event {error.position}")
    tell(f"       the history holds   {one_line(error.expected, 400)}")
    tell(f"       the code asked for  {one_line(error.found, 400)}")
    if place := _users_frames(error):
        file, line = place[-1].tb_frame.f_code.co_filename, place[-1].tb_lineno
        tell(f"       in {file}, line {line}: {linecache.getline(file, line).strip()}")


def _users_frames(error: NondeterminismError) -> list[TracebackType]:
    """The way to the line of the user's code that asked; empty where the code asked for nothing any more."""
    ours = (str(Path(__file__).parents[1]), sysconfig.get_path("stdlib"))
    way, at = [], error.__traceback__
    while at is not None:
        way.append(at)
        at = at.tb_next
    while way and way[-1].tb_frame.f_code.co_filename.startswith(ours):
        way.pop()
    return way


def _debug(error: NondeterminismError) -> None:
    """The debugger, at the line that asked: the frames of a coroutine outlive it in its error."""
    shown: TracebackType | None = None
    for each in reversed(_users_frames(error)):
        shown = TracebackType(shown, each.tb_frame, each.tb_lasti, each.tb_lineno)
    pdb.post_mortem(shown or error.__traceback__)
