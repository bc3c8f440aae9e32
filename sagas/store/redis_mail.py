"""Reading mailboxes: XREAD BLOCK on connections of their own, at most one reader on each.

Law: a blocked read is never cancelled to end it (Python 3.11 can swallow that inside redis-py): ``close`` sets a flag
and closes the connection under it. The server answers within ``BLOCK_MS``; one that does not in ``GRACE_S`` more is
gone, and its connection is closed the same way. No consumer group: who owns a shard reads it, from where it knows.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

from sagas.errors import StoreUnavailable
from sagas.store.keys import Keys
from sagas.store.port import Mail
from sagas.store.redis_errors import CLOSED, RedisFailure, unavailable
from sagas.store.redis_line import Address, Reply, Wire

BLOCK_MS = 5_000
GRACE_S = 15.0


class MailReader:
    """Reads the mailboxes of many shards with one command. Any number of readers may wait at once."""

    def __init__(self, address: Address, keys: Keys) -> None:
        self._address = address
        self._shard_of_key = {keys.mailbox(shard).encode(): shard for shard in range(len(keys.prefixes))}
        self._key_of_shard = {shard: key for key, shard in self._shard_of_key.items()}
        self._idle: list[Wire] = []
        self._reading: set[Wire] = set()
        self._closed = asyncio.Event()
        self._ends: set[asyncio.Task[None]] = set()

    async def read(self, after: Mapping[int, str], block_ms: int, limit: int) -> list[Mail]:
        """See ``Store.read_mail``. Empty, too, when the reader is closed meanwhile. Raises StoreUnavailable."""
        if self._closed.is_set():
            raise StoreUnavailable(CLOSED)
        block_ms = min(block_ms, BLOCK_MS)
        if not after:
            await self._rest(block_ms)
            return []
        wire = self._idle.pop() if self._idle else await self._address.open()
        if self._closed.is_set():
            await wire.disconnect(nowait=True)
            return []
        self._reading.add(wire)
        try:
            reply = await self._ask(wire, self._command(after, block_ms, limit), block_ms)
        except RedisFailure as error:
            if self._closed.is_set():
                return []
            raise unavailable(error, self._address.where) from error
        finally:
            self._reading.discard(wire)
        self._idle.append(wire)
        return self._mail(reply or [], limit)

    async def close(self) -> None:
        self._closed.set()
        for wire in (*self._idle, *self._reading):
            await wire.disconnect(nowait=True)
        if self._ends:
            await asyncio.wait(self._ends)

    async def _rest(self, block_ms: int) -> None:
        try:
            async with asyncio.timeout(max(block_ms, 0) / 1000):
                await self._closed.wait()
        except TimeoutError:
            return

    async def _ask(self, wire: Wire, command: list[object], block_ms: int) -> Reply:
        """One exchange; anything but a whole one, being cancelled included, costs the connection."""
        watch = asyncio.get_running_loop().call_later(max(block_ms, 0) / 1000 + GRACE_S, self._give_up, wire)
        try:
            await wire.send_packed_command(wire.pack_command(*command), check_health=False)
            return await wire.read_response(timeout=math.inf)
        except BaseException:
            await wire.disconnect(nowait=True)
            raise
        finally:
            watch.cancel()

    def _give_up(self, wire: Wire) -> None:
        task = asyncio.get_running_loop().create_task(wire.disconnect(nowait=True))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)

    def _command(self, after: Mapping[int, str], block_ms: int, limit: int) -> list[object]:
        # COUNT holds for each stream, so a share each keeps the answer within the limit.
        command: list[object] = ["XREAD", "COUNT", max(limit // len(after), 1)]
        if block_ms > 0:  # 0 would mean for ever
            command += ("BLOCK", block_ms)
        command.append("STREAMS")
        command += (self._key_of_shard[shard] for shard in after)
        command += after.values()
        return command

    def _mail(self, reply: Reply, limit: int) -> list[Mail]:
        mail = [
            Mail(shard=self._shard_of_key[key], entry=entry.decode(), id=fields[1].decode(), body=fields[3])
            for key, entries in reply
            for entry, fields in entries
        ]
        return mail[:limit]
