"""Large payloads beside a history: whatever is laid aside is put back, and a chunk keeps only names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagas.errors import HistoryError
from sagas.kernel.events import (
    Activated,
    Event,
    RunCompleted,
    RunStarted,
    SignalReceived,
    StepCompleted,
    StepScheduled,
    decode_chunk,
    encode_chunk,
)
from sagas.kernel.events.large import laid_aside, put_back, refers
from sagas.payloads import decode, encode
from tests.payloads.codecs import Xor

LEAST = 20
codec = Xor("a")
payloads = st.binary(max_size=60).map(encode) | st.binary(max_size=60).map(lambda data: b"\xc1" + codec.encode(data))
events = st.lists(
    st.builds(RunStarted, st.just("id"), st.just("run"), st.just("type"), payloads)
    | st.builds(StepScheduled, st.integers(1, 9), st.just("pay"), payloads)
    | st.builds(StepCompleted, st.integers(1, 9), st.just(1), payloads)
    | st.builds(SignalReceived, st.just("m"), st.just("name"), payloads)
    | st.builds(RunCompleted, payloads)
    | st.just(Activated()),
    max_size=6,
)


@given(events, st.integers(0, 1000))
def test_what_is_laid_aside_is_put_back(history: list[Event], first: int) -> None:
    light, blobs = laid_aside(history, first, LEAST)
    stored = decode_chunk(encode_chunk(light, 0))
    assert put_back(stored, dict(blobs)) == history
    assert refers(stored) == bool(blobs)
    assert all(len(data) >= LEAST for _, data in blobs)
    assert len(dict(blobs)) == len(blobs)


def test_a_stored_reference_is_read_for_ever() -> None:
    (light,), blobs = laid_aside([RunCompleted(b"x" * LEAST)], 7, LEAST)
    assert light == RunCompleted(b"\xc1\xc0\x92\xa87:result\x14")
    assert blobs == (("7:result", b"x" * LEAST),)


def test_a_payload_that_is_missing_or_of_another_size_is_said() -> None:
    light, blobs = laid_aside([RunCompleted(b"x" * LEAST)], 7, LEAST)
    with pytest.raises(HistoryError, match="missing"):
        put_back(light, {})
    with pytest.raises(HistoryError, match="20"):
        put_back(light, {"7:result": b"x"})
    with pytest.raises(Exception, match="beside the history"):
        decode(light[0].result)  # type: ignore[attr-defined]
    assert dict(blobs)
