"""Events of a run as a whole: its start, its ends, and the standstills an operator can lift."""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar, Final

from sagas.kernel.events.base import Decision, Fact, tagged
from sagas.value import value

FailureRow = tuple[Any, ...]
"""A failure as stored; ``kernel.failure.Failure`` is its typed form."""

EPISODES: Final = "episodes"
CONTINUOUS: Final = "continuous"
"""Trace modes: a trace each burst of activity, or one for the whole run."""


@tagged(1)
@value(frozen=True, slots=True)
class RunStarted(Fact):
    """A run was admitted. ``args`` is an argument payload; ``trace`` the caller's W3C traceparent, or "".

    ``trace_mode`` says how its history is cut into traces: EPISODES, or CONTINUOUS (one for the whole run).
    ``deadline_ms`` ends the whole chain of runs (0: never), ``not_before_ms`` holds ``run`` back (0: at once).
    ``chain`` of a run that follows another: ``kernel.chain.Chain``.
    ``parent`` of a child: (id, run, number of the decision). ``seed``: what its dice are thrown with, "" its run id.
    """

    id: str
    run_id: str
    type: str
    args: bytes
    attributes: dict[str, Any] = field(default_factory=dict)
    trace: str = ""
    message_id: str = ""
    trace_mode: str = EPISODES
    deadline_ms: int = 0
    not_before_ms: int = 0
    chain: tuple[Any, ...] = ()
    parent: tuple[Any, ...] = ()
    seed: str = ""


@tagged(2)
@value(frozen=True, slots=True)
class Activated(Fact):
    """All facts before it were applied and the code ran until nothing was ready; its decisions follow."""


@tagged(3)
@value(frozen=True, slots=True)
class RunCompleted(Decision):
    """``run`` returned; ``result`` is an encoded value."""

    result: bytes


@tagged(4)
@value(frozen=True, slots=True)
class RunFailed(Decision):
    """``run`` raised an ordinary error; open scopes were undone first."""

    failure: FailureRow


@tagged(5)
@value(frozen=True, slots=True)
class RunCancelled(Decision):
    """The run was asked to cancel and ended by it; open scopes were undone first."""

    reason: str


@tagged(6)
@value(frozen=True, slots=True)
class RunTimedOut(Decision):
    """The saga timeout was reached; open scopes were undone first."""

    reason: str


@tagged(7)
@value(frozen=True, slots=True)
class RunTerminated(Fact):
    """Ended from outside at once: no code ran, nothing was undone. ``successor``: the run that goes on in its place."""

    reason: str
    message_id: str = ""
    successor: str = ""


@tagged(8)
@value(frozen=True, slots=True)
class CancelRequested(Fact):
    """Somebody asked the run to cancel."""

    reason: str
    message_id: str = ""


@tagged(9)
@value(frozen=True, slots=True)
class Parked(Fact):
    """The run stands still until somebody acts: what it was about to do is discarded, its facts are kept.

    ``code``: the code that could not go on, when the code is to blame; an owner with other code tries by itself.
    """

    reason: str
    code: str = ""


@tagged(10)
@value(frozen=True, slots=True)
class Resumed(Fact):
    """A parked or paused run may go on."""

    by: str = ""
    message_id: str = ""


@tagged(11)
@value(frozen=True, slots=True)
class Paused(Fact):
    """An operator stopped the run from being activated; facts are still recorded."""

    by: str = ""
    message_id: str = ""


@tagged(12)
@value(frozen=True, slots=True)
class RunContinued(Decision):
    """``run`` ended by ``continue_as_new``: the run ``next_run`` began in the same commit, with ``args``."""

    args: bytes
    next_run: str


@tagged(13)
@value(frozen=True, slots=True)
class AttributesSet(Decision):
    """The code changed what its run can be found by; None takes one away. Values are not compared on replay."""

    IDENTITY: ClassVar[tuple[str, ...]] = ("names",)

    attributes: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """Of the attributes it changes, sorted."""
        return sorted(self.attributes)


@tagged(14)
@value(frozen=True, slots=True)
class Patched(Decision):
    """The code asked here, for the first time, whether to take the new branch of a change: it does."""

    IDENTITY: ClassVar[tuple[str, ...]] = ("change_id",)

    change_id: str


@tagged(95)
@value(frozen=True, slots=True)
class RunForked(Fact):
    """What stands before it was taken over from the run ``origin_run`` of ``origin``, up to its event ``event``.

    RunStarted has the ids of the new run, which goes on from here; one that was parked or paused there does so too.
    """

    origin: str
    origin_run: str
    event: int
