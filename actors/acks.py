"""What a host owes one worker: which of its reports are durable, and which this host cannot take."""

from __future__ import annotations


class Acks:
    """Collected between two calls of the worker; each number is told once."""

    def __init__(self) -> None:
        self._settled: list[int] = []
        self._refused: list[int] = []

    def receipt(self, number: int) -> _Receipt:
        """For the report of this number."""
        return _Receipt(self._settled, self._refused, number)

    def settled(self) -> list[int]:
        """What has become durable since this was asked last."""
        told = list(self._settled)
        self._settled.clear()
        return told

    def refused(self) -> list[int]:
        """What somebody else must take, since this was asked last."""
        told = list(self._refused)
        self._refused.clear()
        return told


class _Receipt:
    __slots__ = ("_number", "_refused", "_settled")

    def __init__(self, settled: list[int], refused: list[int], number: int) -> None:
        self._settled = settled
        self._refused = refused
        self._number = number

    def settled(self) -> None:
        self._settled.append(self._number)

    def refused(self) -> None:
        self._refused.append(self._number)
