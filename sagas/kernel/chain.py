"""Chains: runs of one instance that follow each other, each begun in the commit that closes the one before it.

Law: a run's id says where in its chain it stands (``3f2a``, ``3f2a~1``, ``3f2a~2``, ...), so that whoever knows one run
of a chain knows them all, on either side of any crash.
"""

from __future__ import annotations

from typing import NamedTuple

from sagas.kernel.events import RunStarted

_MARK = "~"


class Chain(NamedTuple):
    """What ``RunStarted.chain`` holds, of a run that follows another.

    ``attempt``: which try of its arguments it is, from 1. ``episode`` and ``trace`` say where the trace of the run
    before ends: its last episode, and the traceparent it was started with.
    """

    first: str
    before: str
    attempt: int = 1
    episode: int = 0
    trace: str = ""


def chain_of(started: RunStarted) -> Chain | None:
    """None of the first run of a chain."""
    return Chain(*started.chain) if started.chain else None


def attempt_of(started: RunStarted) -> int:
    """Which try of its arguments a run is."""
    chain = chain_of(started)
    return 1 if chain is None else chain.attempt


def next_run_id(run_id: str) -> str:
    """The id of the run that follows."""
    first, place = _parted(run_id)
    return f"{first}{_MARK}{place + 1}"


def first_run_id(run_id: str) -> str:
    """The id of the chain's first run."""
    return _parted(run_id)[0]


def goes_on_in(run_id: str, later: str) -> bool:
    """Whether ``later`` is the run ``run_id`` itself, or one that follows it in its chain."""
    (first, place), (other, other_place) = _parted(run_id), _parted(later)
    return first == other and place <= other_place


def _parted(run_id: str) -> tuple[str, int]:
    first, mark, place = run_id.rpartition(_MARK)
    return (first, int(place)) if mark and place.isdecimal() else (run_id, 0)
