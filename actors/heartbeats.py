"""A worker's heartbeats on their way to hosts: the latest of each step, a batch a call, as often as the host answers.

Law: nothing is lost with a host that is away: what it has not taken goes again, as long as it is the one to be told.
One that has taken a shard over is told everything anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from actors.calls import GONE, Background, Peer
from sagas.engine.steps import Heartbeat, StepKey, encode_heartbeats

log = logging.getLogger("sagas.actors")

_AGAIN_S = 0.5
_BATCH = 500


class Heartbeats:
    """All heartbeats of one worker."""

    def __init__(self, background: Background, namespace: str, told: Callable[[StepKey], str]) -> None:
        """``told``: the host that waits for a step's outcome; "" when it does not run here any more."""
        self._background = background
        self._namespace = namespace
        self._told = told
        self._latest: dict[str, dict[StepKey, Heartbeat]] = {}  # by host; a host that is listed is being served

    def tell(self, host: str, heartbeat: Heartbeat) -> None:
        """``host`` is to know how far an attempt has come."""
        serving = host in self._latest
        self._latest.setdefault(host, {})[heartbeat.key] = heartbeat
        if not serving:
            self._background.start(self._serve(host))

    async def _serve(self, host: str) -> None:
        peer, latest = Peer(host, self._namespace), self._latest[host]
        try:
            while latest:
                batch = [latest.pop(key) for key in list(latest)[:_BATCH]]
                if not await self._sent(peer, batch):
                    for heartbeat in batch:
                        if self._told(heartbeat.key) == host:
                            latest.setdefault(heartbeat.key, heartbeat)
                    await asyncio.sleep(_AGAIN_S)
        finally:
            del self._latest[host]

    async def _sent(self, peer: Peer, batch: list[Heartbeat]) -> bool:
        try:
            await peer.call("heard", encode_heartbeats(batch))
        except GONE as error:
            log.info("%s is away (%s): heartbeats wait for it", peer.name, type(error).__name__)
            return False
        except Exception:
            log.exception("heartbeats to %s stay here for now", peer.name)
            return False
        return True
