"""Whether a worker answers: one that is frozen, or whose loop an activity blocks, keeps none of its own timeouts.

Law: only time in which this process itself was at work counts as silence of the other.
"""

from __future__ import annotations

import asyncio
import logging

from actors.calls import GONE, Peer

log = logging.getLogger("sagas.actors")

SILENT_S = 5.0
"""A worker that has answered nothing for so long is given nothing new, and has so much more time than its timeouts."""

_LOOK_S = 1.0


class Pings:
    """One question at a time: calls to a process that is frozen would only collect there."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._asked: asyncio.Task[None] | None = None
        self._looks = 0

    async def silent_s(self) -> float:
        """For how long it owes an answer, at least; 0 when it answers. Returns within a second."""
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_task(self._ask())
        answered, _ = await asyncio.wait((self._asked,), timeout=_LOOK_S)
        if answered:
            self._asked, self._looks = None, 0
        else:
            self._looks += 1
        return self._looks * _LOOK_S

    async def until_silent(self, for_s: float) -> None:
        """Returns when it has owed an answer for so long."""
        while True:
            silent_s = await self.silent_s()
            if silent_s >= for_s:
                return
            if not silent_s:
                await asyncio.sleep(_LOOK_S)

    async def _ask(self) -> None:
        try:
            await self._peer.call("ping")
        except GONE:
            return  # whether it died, others find out
        except Exception:
            log.exception("%s answers a ping with an error", self._peer.name)
