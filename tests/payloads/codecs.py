"""Codecs of tests, and a process that knows only those of one test."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sagas.payloads import sealing


class Xor:
    """No secret, but nothing of what went in can be read in what comes out; and it knows its own."""

    def __init__(self, name: str, key: int = 0x5A) -> None:
        self.name = name
        self._key = key

    def encode(self, data: bytes, /) -> bytes:
        return bytes(each ^ self._key for each in (*self.name.encode(), 0, *data))

    def decode(self, data: bytes, /) -> bytes:
        name, _, rest = bytes(each ^ self._key for each in data).partition(b"\0")
        if name != self.name.encode():
            raise ValueError("another key")
        return rest


Know = Callable[..., None]
"""``know(writer, *retired)``: this process has these codecs from now on, and no other."""


@pytest.fixture
def know(monkeypatch: pytest.MonkeyPatch) -> Know:
    """Ends with the codecs there were."""
    monkeypatch.setattr(sealing._Codecs, "writer", None)
    monkeypatch.setattr(sealing._Codecs, "readers", {})

    def only(writer: sealing.Codec | None = None, *retired: sealing.Codec) -> None:
        sealing._Codecs.readers = {}
        sealing.use_codec(writer, *retired)

    return only
