"""The relay: brings messages from the outboxes of a host's shards to the shards of their targets.

Law: messages of one source shard to one target shard go in order, one at a time, and one that was refused holds the
next back until its answer is committed: the target remembers one refusal a source. An entry leaves the outbox with the
commit that records its answer, so a new owner sends again what the last had not finished, and the target knows it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from sagas.engine.envelope import Envelope
from sagas.engine.resident import Relayed
from sagas.engine.shard import Shard
from sagas.errors import HistoryError, StoreUnavailable
from sagas.store.keys import shard_of
from sagas.store.mailbox import place_of
from sagas.store.port import Admission, AdmissionVerdict, Admitted, Outgoing, Store

log = logging.getLogger("sagas.engine")

_PAGE = 1000
_AGAIN_S = 0.2


class Relay:
    """The outboxes of the shards one host owns."""

    def __init__(
        self,
        store: Store,
        shards: Mapping[int, Shard],
        feed: Callable[[Shard, str, Relayed], None],
        errand: Callable[[Coroutine[Any, Any, None]], None],
        rested: Callable[[], None],
    ) -> None:
        self._rested = rested
        self._store = store
        self._shards = shards
        self._feed = feed
        self._errand = errand
        self._wanted: dict[int, Shard] = {}
        self._awake = asyncio.Event()
        self._reading = False
        self._lines: dict[tuple[int, int], _Line] = {}

    @property
    def busy(self) -> bool:
        """Whether messages are on their way."""
        return bool(self._wanted) or self._reading or bool(self._lines)

    def want(self, shard: Shard) -> None:
        """There is something new in its outbox, or may be."""
        self._wanted[shard.number] = shard
        self._awake.set()

    def committed(self, shard: Shard, entries: tuple[str, ...]) -> None:
        """The answers to these are durable."""
        for (source, _), line in self._lines.items():
            if source == shard.number:
                line.committed(entries)

    def forget(self, shard: Shard) -> None:
        """It is another host's now."""
        for line in list(self._lines.values()):
            if line.shard is shard:
                line.end()

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Relay until stopped."""
        while not stopped():
            await self._awake.wait()
            self._awake.clear()
            for shard in list(self._wanted.values()):
                self._reading = True
                try:
                    await self._read(shard)
                except StoreUnavailable as error:
                    log.warning("an outbox cannot be read: %s", error)
                    self._awake.set()
                    await asyncio.sleep(_AGAIN_S)
                finally:
                    self._reading = False
                    self._rested()

    def _owns(self, shard: Shard) -> bool:
        return self._shards.get(shard.number) is shard

    async def _read(self, shard: Shard) -> None:
        if self._wanted.get(shard.number) is shard:
            del self._wanted[shard.number]
        while self._owns(shard):
            try:
                page = await self._store.outbox(shard.number, shard.relayed_upto, _PAGE)
            except StoreUnavailable:
                self._wanted.setdefault(shard.number, shard)
                raise
            for each in page:
                # Two readers never run at once, but a commit may have come between; an entry is taken once.
                if place_of(each.entry) > place_of(shard.relayed_upto):
                    shard.relayed_upto = each.entry
                    self._take(shard, each)
            if len(page) < _PAGE:
                return

    def _take(self, shard: Shard, each: Outgoing) -> None:
        try:
            envelope = Envelope.decode(each.body)
        except HistoryError as error:
            log.warning("message %s of shard %d stays in the outbox: %s", each.entry, shard.number, error)
        else:
            self._line(shard, shard_of(envelope.target)).put(each)

    def _line(self, shard: Shard, target: int) -> _Line:
        key = (shard.number, target)
        line = self._lines.get(key)
        if line is None or line.shard is not shard:
            line = self._lines[key] = _Line(self, shard, key)
            self._errand(line.run())
        return line

    async def send(self, each: Outgoing, envelope: Envelope, shard: Shard) -> Admitted | None:
        """Until the target's shard has answered; None when the source is another host's now."""
        admission = Admission(
            id=envelope.target,
            kind=envelope.kind,
            message_id=envelope.message_id,
            mail=envelope.mail,
            run_id=envelope.run,
            origin=each.origin,
        )
        while self._owns(shard):
            try:
                admitted = await self._store.enqueue(admission)
            except StoreUnavailable as error:
                log.warning("a message for %r waits for the store: %s", envelope.target, error)
            else:
                if admitted.verdict is not AdmissionVerdict.OVERLOADED:
                    return admitted
            await asyncio.sleep(_AGAIN_S)
        return None

    def answered(self, shard: Shard, each: Outgoing, envelope: Envelope, admitted: Admitted) -> None:
        """Tell the sender."""
        standing = admitted.verdict in (AdmissionVerdict.CLOSED, AdmissionVerdict.ALREADY_STARTED)
        relayed = Relayed(
            entry=each.entry,
            run_id=envelope.run_id,
            number=envelope.number,
            delivered=_is_delivered(admitted),
            status=admitted.status.name.lower() if standing else "",
            met=admitted.run_id,
        )
        self._feed(shard, envelope.sender, relayed)

    def ended(self, key: tuple[int, int], line: _Line) -> None:
        """A line has nothing left to send."""
        if self._lines.get(key) is line:
            del self._lines[key]


def _is_delivered(admitted: Admitted) -> bool:
    return admitted.verdict in (AdmissionVerdict.OK, AdmissionVerdict.KNOWN)


class _Line:
    """From one source shard to one target shard, in order."""

    def __init__(self, relay: Relay, shard: Shard, key: tuple[int, int]) -> None:
        self.shard = shard
        self._relay = relay
        self._key = key
        self._queue: deque[Outgoing] = deque()
        self._held_by = ""  # the refused entry whose answer is not committed yet
        self._free = asyncio.Event()

    def put(self, each: Outgoing) -> None:
        self._queue.append(each)

    def end(self) -> None:
        self._queue.clear()
        self._free.set()

    def committed(self, entries: tuple[str, ...]) -> None:
        if self._held_by in entries:
            self._free.set()

    async def run(self) -> None:
        try:
            while self._queue:
                each = self._queue.popleft()
                envelope = Envelope.decode(each.body)
                admitted = await self._relay.send(each, envelope, self.shard)
                if admitted is None:
                    return
                if not _is_delivered(admitted):
                    self._held_by = each.entry
                    self._free.clear()
                self._relay.answered(self.shard, each, envelope, admitted)
                if self._held_by:
                    await self._free.wait()
                    self._held_by = ""
        finally:
            self._relay.ended(self._key, self)
