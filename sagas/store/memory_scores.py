"""Ids with scores, in the order of a Redis sorted set: by score, then by the bytes of the id."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort


class Scores:
    """A sorted set in memory. Code points sort as their UTF-8 bytes do, so ``str`` order is Redis' order."""

    __slots__ = ("_order", "_scores")

    def __init__(self) -> None:
        self._scores: dict[str, int] = {}
        self._order: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._order)

    def put(self, id: str, score: int | None) -> None:
        """Give ``id`` a score, or take it out (None)."""
        before = self._scores.pop(id, None)
        if before is not None:
            del self._order[bisect_left(self._order, (before, id))]
        if score is not None:
            self._scores[id] = score
            insort(self._order, (score, id))

    def score(self, id: str) -> int | None:
        """The score of ``id``, None when it is not in."""
        return self._scores.get(id)

    def upto(self, score: int, limit: int) -> tuple[list[tuple[str, int]], int | None]:
        """Up to ``limit`` (id, score) with a score <= ``score``, least first, and the next score after those."""
        end = min(bisect_right(self._order, score, key=lambda item: item[0]), limit)
        following = self._order[end][0] if end < len(self._order) else None
        return [(id, at) for at, id in self._order[:end]], following

    def after(self, place: tuple[int, str] | None, limit: int) -> list[tuple[int, str]]:
        """Up to ``limit`` (score, id) that come after ``place`` (None: from the start)."""
        start = 0 if place is None else bisect_right(self._order, place)
        return self._order[start : start + limit]
