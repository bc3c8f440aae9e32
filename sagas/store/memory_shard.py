"""What the memory store keeps of one shard; ``keys.py`` says the same of Redis."""

from __future__ import annotations

from collections import defaultdict

from sagas.store.head import decode_head
from sagas.store.memory_mailbox import Mailbox
from sagas.store.memory_scores import Scores
from sagas.store.port import Admitted, Origin, Outgoing, Status, Token


class MemoryShard:
    """Plain state; ``memory_admission.py`` and ``memory_commit.py`` decide what may change it."""

    __slots__ = (
        "admitted",
        "blobs",
        "busy",
        "claimed_at",
        "earlier",
        "expiries",
        "heads",
        "histories",
        "indexes",
        "known",
        "lease",
        "mailbox",
        "marks",
        "outbox",
        "sequence",
        "sources",
        "steps",
        "timers",
        "token",
    )

    def __init__(self, shard: int) -> None:
        self.token = Token(counter=0, nonce="")
        self.sequence = 0
        self.claimed_at = 0  # the sequence when the token was claimed
        self.lease: tuple[str, int] | None = None  # owner, when it ends
        self.mailbox = Mailbox(shard)
        self.admitted: dict[str, str] = {}
        self.heads: dict[str, bytes] = {}
        self.histories: dict[tuple[str, str], list[bytes]] = {}
        self.blobs: dict[tuple[str, str], dict[str, bytes]] = {}
        self.earlier: dict[str, set[str]] = {}  # the runs before that of the head
        self.expiries = Scores()  # of "<id>:<run>"
        self.steps: dict[str, bytes] = {}
        self.timers = Scores()
        self.busy: set[str] = set()
        self.indexes: defaultdict[str, Scores] = defaultdict(Scores)
        self.known = MessageIds()
        self.outbox: dict[str, Outgoing] = {}  # by entry, in order
        self.sources: dict[int, tuple[Origin, Admitted]] = {}  # of each source shard: the last origin, its answer
        self.marks: dict[tuple[str, str], int] = {}

    def take(self, token: Token, owner: str, until_ms: int) -> None:
        """It is ``owner``'s now."""
        self.token, self.claimed_at, self.lease = token, self.sequence, (owner, until_ms)

    def current_run(self, id: str) -> tuple[str, Status] | None:
        """The run messages go to now, and how it stands; None when there never was one."""
        if id in self.admitted:
            return self.admitted[id], Status.RUNNING
        if id not in self.heads:
            return None
        head = decode_head(self.heads[id])
        return head.run_id, head.status


class MessageIds:
    """Message ids already accepted, each with its run, for as long as its admission said."""

    __slots__ = ("_runs", "_sweep_at")

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str], tuple[str, int]] = {}
        self._sweep_at = 1024

    def run_of(self, id: str, message_id: str, now_ms: int) -> str | None:
        run_id, until_ms = self._runs.get((id, message_id), ("", now_ms))
        return run_id if until_ms > now_ms else None

    def remember(self, id: str, message_id: str, run_id: str, now_ms: int, for_ms: int) -> None:
        if for_ms > 0:
            self._runs[id, message_id] = (run_id, now_ms + for_ms)
        if len(self._runs) >= self._sweep_at:
            self._runs = {message: run for message, run in self._runs.items() if run[1] > now_ms}
            self._sweep_at = max(2 * len(self._runs), 1024)
