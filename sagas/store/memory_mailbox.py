"""A mailbox in memory: a Redis stream's order, ids and deletion by exact id."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from sagas.store.mailbox import Place, place_of
from sagas.store.port import Mail


class Mailbox:
    """Entries in the order they came. Ids only grow, also when the clock goes back or everything was deleted."""

    __slots__ = ("_last", "_mail", "_places", "_shard")

    def __init__(self, shard: int) -> None:
        self._shard = shard
        self._last: Place = (0, 0)
        self._places: list[Place] = []
        self._mail: list[Mail] = []

    def __len__(self) -> int:
        return len(self._mail)

    def add(self, id: str, body: bytes, now_ms: int) -> None:
        ms, sequence = self._last
        self._last = (now_ms, 0) if now_ms > ms else (ms, sequence + 1)
        self._places.append(self._last)
        entry = f"{self._last[0]}-{self._last[1]}"
        self._mail.append(Mail(shard=self._shard, entry=entry, id=id, body=body))

    def after(self, entry: str, limit: int) -> list[Mail]:
        start = bisect_right(self._places, place_of(entry))
        return self._mail[start : start + limit]

    def newest_after(self, place: Place) -> dict[str, Place]:
        """Of each instance that has mail past ``place``: where its last entry stands."""
        start = bisect_right(self._places, place)
        return {self._mail[at].id: self._places[at] for at in range(start, len(self._mail))}

    def delete(self, entries: Iterable[str]) -> None:
        """Delete by exact id; what is not there is no error."""
        for place in map(place_of, entries):
            at = bisect_left(self._places, place)
            if at < len(self._places) and self._places[at] == place:
                del self._places[at], self._mail[at]
