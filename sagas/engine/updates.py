"""The updates of an instance in memory: which mail becomes a fact, who waits for an outcome, and what they are told.

Law: an answer says only what is durable with the commit it waits for (a rejection waits for one too, if only an empty
one: it proves the lease). Telling is best effort; whoever is silent asks again under the same id. An outcome is pushed
once, and never read out again: the answer names its run, whose history is there with or without a host.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from sagas.engine.message import CLOSED, OPEN, RECORDED, REJECTED, Reply, Update, UpdateAsked
from sagas.kernel.events import (
    Event,
    UpdateAccepted,
    UpdateCompleted,
    UpdateFailed,
    UpdateReceived,
    UpdateRefused,
)
from sagas.kernel.state import RunState

_NONE: Mapping[str, str] = {}

Told = tuple[str, Reply]
"""A channel, and what to say there."""


class Updates:
    """See the module's law.

    Of the present turn: ``mail`` and ``discard``, entries that it applied or needs not; ``rejected``, message ids of
    updates that are not to be recorded, and why.
    """

    __slots__ = ("_new", "_waiting", "discard", "mail", "rejected")

    def __init__(self) -> None:
        self.mail: list[str] = []
        self.discard: list[str] = []
        self.rejected: Mapping[str, str] = _NONE
        self._new: dict[str, str] = {}  # updates of this turn -> their entries
        self._waiting: dict[str, set[str]] = {}  # update -> channels

    def load(self, state: RunState) -> None:
        """Whoever sent the open ones still waits."""
        for id, update in state.updates.items():
            if update is not None and not state.closed:
                self._join(id, update.reply_to)

    def begin(self) -> None:
        """A turn begins."""
        if self.mail or self.discard:
            self.mail, self.discard, self._new, self.rejected = [], [], {}, _NONE

    def take(self, entry: str, update: Update | UpdateAsked, state: RunState, now_ms: int) -> Event | Reply:
        """The fact that a message of this turn becomes, or what its sender hears because it becomes none."""
        id, run_id = update.update_id, "" if state.started is None else state.started.run_id
        known = id in state.updates
        if known and state.updates[id] is None:
            return self._answer(entry, Reply(message_id=id, standing=RECORDED, run_id=run_id))
        if isinstance(update, UpdateAsked) and update.run_id != run_id and not known:  # meant for another run
            return self._answer(entry, Reply(message_id=id, standing=RECORDED, run_id=update.run_id))
        if state.started is None or state.closed:
            return self._answer(entry, _closed(id, state))
        self._join(id, update.reply_to)
        if known or id in self._new:
            return self._answer(entry, Reply(message_id=id, standing=OPEN))
        self._new[id] = entry
        return UpdateReceived(id, update.name, update.args, update.reply_to, update.trace, at_ms=now_ms)

    def settle(self, events: Iterable[Event], state: RunState, moved: Collection[str] = ()) -> Iterator[Told]:
        """The turn has made ``events``: sort its mail, and tell whoever waits for what is decided now.

        ``moved``: updates that are the next run's, whose senders wait on.
        """
        if not self._new and not self._waiting:
            return
        recorded: set[str] = set()
        for event in events:
            if isinstance(event, UpdateReceived | UpdateAccepted):
                recorded.add(event.message_id)
            elif isinstance(event, UpdateCompleted | UpdateFailed | UpdateRefused):
                yield from self._tell(event.message_id, outcome(event))
        for id, entry in self._new.items():
            (self.mail if id in recorded else self.discard).append(entry)
        for id, reason in self.rejected.items():
            yield from self._tell(id, Reply(message_id=id, error=("", reason), standing=REJECTED))
        if state.closed:
            for id in [id for id in self._waiting if id not in moved]:
                yield from self._tell(id, _closed(id, state))

    def _answer(self, entry: str, reply: Reply) -> Reply:
        self.discard.append(entry)
        return reply

    def _join(self, id: str, channel: str) -> None:
        if channel:
            self._waiting.setdefault(id, set()).add(channel)

    def _tell(self, id: str, reply: Reply) -> Iterator[Told]:
        return ((channel, reply) for channel in sorted(self._waiting.pop(id, ())))


def outcome(event: UpdateCompleted | UpdateFailed | UpdateRefused) -> Reply:
    """What a recorded outcome is told as."""
    match event:
        case UpdateCompleted():
            return Reply(message_id=event.message_id, value=event.result)
        case UpdateFailed():
            _, cause_type, message, *_ = event.failure
            return Reply(message_id=event.message_id, error=(cause_type, message))
        case UpdateRefused():
            return Reply(message_id=event.message_id, error=("", event.reason), standing=REJECTED)


def _closed(id: str, state: RunState) -> Reply:
    return Reply(message_id=id, error=("", state.status.value), standing=CLOSED)
