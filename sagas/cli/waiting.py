"""Why an instance is waiting, in words, and what somebody can do about it. Pure; ``sagas describe`` shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from compensations import Compensation
from sagas.cli.show import ago, at
from sagas.description import Description, Wait


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that holds an instance up. ``next`` is "" when it goes on by itself."""

    why: str
    next: str = ""


def reasons(found: Description, missing_host: str, now: datetime) -> list[Reason]:
    """Everything that holds it up, what is first to be mended first; ``missing_host`` as of ``no_host``."""
    if found.closed is not None:
        return []
    return [*_standstill(found, missing_host), *(_wait(found.id, wait, now) for wait in found.waiting_for)]


def _standstill(found: Description, missing_host: str) -> Iterator[Reason]:
    if found.parked is not None:
        yield Reason(
            f"it is parked: {found.parked}",
            f"mend the cause and start the hosts with the new code, then `sagas resume {found.id}`; "
            f"or give it up with `sagas cancel {found.id}` (undoes what it did) or `sagas terminate {found.id}`",
        )
    if found.compensation is Compensation.STUCK:
        yield Reason("an undo has failed for good, so that what it did is not undone whole",
                     f"`sagas history {found.id}` says which; undo that by hand")  # fmt: skip
    if found.paused:
        yield Reason("somebody paused it", f"`sagas resume {found.id}`")
    if missing_host:
        yield Reason(missing_host)


def _wait(id: str, wait: Wait, now: datetime) -> Reason:
    since = f"since {at(wait.at)} ({ago(wait.at, now)})"
    match wait.kind:
        case "timer" if wait.at <= now:
            return Reason(
                f"its timer fell due at {at(wait.at)} ({ago(wait.at, now)}): a host fires it as soon as it can"
            )
        case "timer":
            return Reason(f"it sleeps until {at(wait.at)} ({ago(wait.at, now)}), then goes on by itself")
        case "step":
            return Reason(f"step {wait.what!r} has not ended, {since}: it runs, is tried again, or waits for a worker")
        case "child":
            return Reason(f"its child {wait.what!r} has not ended, {since}", f"`sagas describe {wait.what}`")
        case "delivery":
            return Reason(
                f"its message to {wait.what!r} has not arrived, {since}: a host delivers it as soon as it can"
            )
        case "callback":
            return Reason(
                f"it waits for callback {wait.what} to be completed, {since}",
                "whoever has its token calls `sagas complete TOKEN VALUE`, or `sagas fail TOKEN ERROR`",
            )
        case "code":
            return Reason(wait.what, "start a host with the module that declares it: `sagas dev MODULE`")
        case _:
            return Reason(f"it waits for a message, {since}", f"`sagas signal {id} NAME [ARG...]`")
