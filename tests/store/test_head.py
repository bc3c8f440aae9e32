"""Heads on disk: what comes back, what older and newer writers may leave, what the admission script reads."""

from datetime import UTC, datetime

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagas.errors import HistoryError, PayloadError
from sagas.store.head import decode_head, encode_head
from sagas.store.port import Head, Status

LEAST = Head(status=Status.RUNNING, run_id="r1", type="Trip", version=0, events=0, started_ms=0, closed_ms=0)
MOST = Head(
    status=Status.TERMINATED,
    run_id="r" * 300,
    type="Trip",
    version=70_000,
    events=90_000,
    started_ms=1_700_000_000_000,
    closed_ms=1_700_000_000_001,
    compensation="stuck",
    parked="NameError: x",
    parked_timer_ms=1_700_000_000_002,
    paused=True,
    waiting=(("signal", "paid", 5), ("timer", "", 1_700_000_000_000)),
    attributes={"n": 1, "f": 0.5, "b": b"\x00", "none": None, "at": datetime(2026, 1, 2, tzinfo=UTC), "l": [1, "x"]},
    lifts=2,
    blobs=3,
    attempt=4,
    letters=5,
)

small = st.integers(0, 2**40)
words = st.text(max_size=8)
heads = st.builds(
    Head,
    status=st.sampled_from(Status),
    run_id=words,
    type=words,
    version=small,
    events=small,
    started_ms=small,
    closed_ms=small,
    compensation=st.sampled_from(("none", "running", "done", "stuck")),
    parked=words,
    parked_timer_ms=small,
    paused=st.booleans(),
    waiting=st.lists(st.tuples(words, words, small), max_size=3).map(tuple),
    attributes=st.dictionaries(words, st.none() | st.booleans() | small | words | st.binary(max_size=4), max_size=3),
    lifts=small,
    blobs=small,
    attempt=small,
    letters=small,
)


@given(heads)
def test_what_was_encoded_comes_back(head: Head) -> None:
    assert decode_head(encode_head(head)) == head


@pytest.mark.parametrize("head", [LEAST, MOST])
def test_the_least_and_the_most_come_back(head: Head) -> None:
    assert decode_head(encode_head(head)) == head


def test_trailing_defaults_cost_nothing() -> None:
    assert msgpack.unpackb(encode_head(LEAST)) == [0, "r1", "Trip"]


def test_places_are_fixed_for_ever() -> None:
    items = msgpack.unpackb(encode_head(MOST), timestamp=3)
    assert items == [
        5,
        MOST.run_id,
        "Trip",
        70_000,
        90_000,
        1_700_000_000_000,
        1_700_000_000_001,
        "stuck",
        "NameError: x",
        1_700_000_000_002,
        True,
        [["signal", "paid", 5], ["timer", "", 1_700_000_000_000]],
        dict(MOST.attributes),
        2,
        3,
        4,
        5,
    ]


def test_a_newer_writer_may_add_items() -> None:
    items = msgpack.unpackb(encode_head(MOST), timestamp=3)
    assert decode_head(msgpack.packb([*items, "new", 7], datetime=True)) == MOST


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        msgpack.packb([]),
        msgpack.packb([0, "r1"]),
        msgpack.packb([99, "r1", "Trip"]),
        msgpack.packb([0, 5, "Trip"]),
        msgpack.packb([0, "r1", "Trip", "x"]),
        msgpack.packb(7),
        encode_head(MOST)[:-1],
    ],
)
def test_what_is_no_head_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(HistoryError, match="head"):
        decode_head(data)


@pytest.mark.parametrize("value", [object(), {1, 2}, 2**70, datetime(2026, 1, 2, tzinfo=UTC).replace(tzinfo=None)])
def test_an_attribute_that_cannot_be_stored(value: object) -> None:
    with pytest.raises(PayloadError, match="attribute"):
        encode_head(
            Head(
                status=Status.RUNNING,
                run_id="r",
                type="T",
                version=0,
                events=0,
                started_ms=0,
                closed_ms=0,
                attributes={"x": value},
            )
        )
