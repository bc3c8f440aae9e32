"""The history's wire form: what was ever written stays readable, and what is not understood is never guessed at."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagas.errors import HistoryError
from sagas.kernel.events import SCHEMA, Event, decode_chunk, encode_chunk, same
from sagas.kernel.events.base import BOUND, _classes, tagged

# Tag -> (name, fields in their stored order). Never edit a row: append fields at its end, append rows.
GOLDEN: dict[int, tuple[str, tuple[str, ...]]] = {
    1: (
        "RunStarted",
        (
            *("id", "run_id", "type", "args", "attributes", "trace", "message_id", "trace_mode"),
            *("deadline_ms", "not_before_ms", "chain", "parent", "seed"),
        ),
    ),
    2: ("Activated", ()),
    3: ("RunCompleted", ("result",)),
    4: ("RunFailed", ("failure",)),
    5: ("RunCancelled", ("reason",)),
    6: ("RunTimedOut", ("reason",)),
    7: ("RunTerminated", ("reason", "message_id", "successor")),
    8: ("CancelRequested", ("reason", "message_id")),
    9: ("Parked", ("reason", "code")),
    10: ("Resumed", ("by", "message_id")),
    11: ("Paused", ("by", "message_id")),
    12: ("RunContinued", ("args", "next_run")),
    13: ("AttributesSet", ("attributes",)),
    14: ("Patched", ("change_id",)),
    20: ("StepScheduled", ("step", "activity", "args", "options", "scope")),
    21: ("StepCompleted", ("step", "attempt", "result", "errors", "started_ms")),
    22: ("StepFailed", ("step", "attempt", "failure", "errors", "started_ms")),
    23: ("StepCancelRequested", ("step",)),
    30: ("TimerSet", ("timer", "due_ms")),
    31: ("TimerFired", ("timer",)),
    32: ("TimerCancelled", ("timer",)),
    40: ("SignalReceived", ("message_id", "name", "args", "trace")),
    41: ("SignalDeadLettered", ("message_id", "name", "reason", "ran")),
    42: ("UpdateAccepted", ("message_id", "name", "args", "reply_to", "trace")),
    43: ("UpdateCompleted", ("message_id", "result")),
    44: ("UpdateFailed", ("message_id", "failure")),
    45: ("DeadLetterRedelivered", ("letter", "by", "message_id")),
    46: ("UpdateReceived", ("message_id", "name", "args", "reply_to", "trace")),
    47: ("UpdateRefused", ("message_id", "reason")),
    50: ("CompensationStarted", ("scope", "reason")),
    51: ("CompensationScheduled", ("step", "activity", "args", "undo_of", "scope", "options")),
    52: ("CompensationCompleted", ("step", "attempt", "errors", "started_ms")),
    53: ("CompensationFailed", ("step", "attempt", "failure", "errors", "started_ms")),
    54: ("CompensationEnded", ("scope",)),
    60: ("MessageSent", ("number", "target", "kind", "name", "args", "reason", "child")),
    61: ("MessageDelivered", ("number",)),
    62: ("MessageRefused", ("number", "reason", "status")),
    70: ("ChildScheduled", ("number", "id", "run_id", "type", "args", "on_parent_close")),
    71: ("ChildStarted", ("number",)),
    72: ("ChildRefused", ("number", "run_id", "status")),
    73: ("ChildCompleted", ("number", "id", "result")),
    95: ("RunForked", ("origin", "origin_run", "event")),
    74: ("ChildFailed", ("number", "id", "status", "failure", "reason")),
}

GOLDEN |= {
    80: ("CallbackOpened", ("number", "secret")),
    81: ("CallbackCompleted", ("number", "result", "message_id")),
    82: ("CallbackFailed", ("number", "failure", "message_id")),
}

_numbers = st.integers(0, 2**53)
_words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_plain = st.none() | st.booleans() | _numbers | _words | st.binary(max_size=20)
_rows = st.lists(_plain, max_size=6).map(tuple)
BY_FIELD: dict[str, st.SearchStrategy[Any]] = {
    "args": st.binary(max_size=50),
    "secret": st.binary(max_size=16),
    "ran": st.booleans(),
    "result": st.binary(max_size=50),
    "attributes": st.dictionaries(_words, _plain, max_size=3),
    "options": st.none() | st.dictionaries(_words, _plain, max_size=3),
    "failure": _rows,
    "errors": st.lists(_rows, max_size=3).map(tuple),
    **dict.fromkeys(("step", "attempt", "timer", "due_ms", "scope", "undo_of", "number", "started_ms"), _numbers),
}


def names_of(cls: type[Event]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls) if field.name != "at_ms")


def events_of(cls: type[Event]) -> st.SearchStrategy[Event]:
    return st.builds(cls, **{name: BY_FIELD.get(name, _words) for name in names_of(cls)})


EVENTS = st.one_of([events_of(cls) for cls, _ in _classes.values()])


def test_tags_and_fields_are_as_they_were_frozen() -> None:
    stands = {tag: (cls.__name__, names_of(cls)) for tag, (cls, _) in _classes.items()}
    frozen = {tag: (name, fields[: len(stands[tag][1])]) for tag, (name, fields) in GOLDEN.items()}
    assert {tag: stands[tag] for tag in GOLDEN} == frozen
    assert not set(stands) - set(GOLDEN), "a new event: append its row to the table"


def test_every_field_added_after_the_first_writing_has_a_default() -> None:
    for cls, _ in _classes.values():
        fields = [field for field in dataclasses.fields(cls) if field.name != "at_ms"]
        optional = [
            field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
            for field in fields
        ]
        assert optional == sorted(optional), f"{cls.__name__}: a field without a default follows one with"


def test_a_tag_cannot_be_given_twice() -> None:
    with pytest.raises(ValueError, match="taken by RunStarted"):
        tagged(1)(Event)


@given(st.lists(EVENTS, max_size=5), _numbers)
def test_every_event_comes_back_as_it_went_in(events: list[Event], at_ms: int) -> None:
    read = decode_chunk(encode_chunk(events, at_ms))
    assert read == [dataclasses.replace(event, at_ms=at_ms) for event in events]
    assert [type(event) for event in read] == [type(event) for event in events]


@given(EVENTS)
def test_an_event_is_the_same_as_itself_read_back(event: Event) -> None:
    assert same(event, decode_chunk(encode_chunk([event], 1))[0])
    assert type(event).__name__ in event.identity()


@pytest.mark.parametrize("tag", GOLDEN)
def test_missing_trailing_fields_are_read_with_their_defaults(tag: int) -> None:
    cls, _ = _classes[tag]
    fields = [field for field in dataclasses.fields(cls) if field.name != "at_ms"]
    required = [field for field in fields if field.default is field.default_factory is dataclasses.MISSING]
    whole = cls(**{field.name: f"the {field.name}" for field in required})
    for kept in range(len(required), len(fields) + 1):
        row = (tag, *(getattr(whole, field.name) for field in fields[:kept]))
        assert decode_chunk(msgpack.packb((SCHEMA, 7, [row]))) == [dataclasses.replace(whole, at_ms=7)]


@pytest.mark.parametrize(
    ("chunk", "says"),
    [
        ((SCHEMA + 2, 7, []), "upgrade the host"),
        ((BOUND, 0, [b""]), "damaged"),
        ((BOUND, 0, 5), "damaged"),
        ((BOUND, 0, [msgpack.packb((BOUND, 0, []))]), "damaged"),
        ((BOUND, 0, [msgpack.packb((SCHEMA + 2, 7, []))]), "upgrade the host"),
        ((SCHEMA, 7, [(999, 1)]), "upgrade the host"),
        ((SCHEMA, 7, [(2, "a field Activated does not have yet")]), "upgrade the host"),
        ((SCHEMA, 7, [(31,)]), "damaged"),
        ((SCHEMA, 7, [()]), "damaged"),
        ((SCHEMA, 7, [{}]), "damaged"),
        ((SCHEMA, 7, 5), "damaged"),
        ((SCHEMA, 7), "damaged"),
        (5, "damaged"),
    ],
)
def test_what_is_newer_or_damaged_is_refused_as_such(chunk: Any, says: str) -> None:
    with pytest.raises(HistoryError, match=says):
        decode_chunk(msgpack.packb(chunk))


@given(st.binary(max_size=60))
def test_fuzzed_bytes_raise_history_error_alone(chunk: bytes) -> None:
    try:
        decode_chunk(chunk)
    except HistoryError:
        return


_anything = st.recursive(
    _plain | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_words | _numbers, inner, max_size=3),
)


@given(st.tuples(st.just(SCHEMA), _anything, st.lists(_anything | st.lists(_anything).map(lambda row: [1, *row]))))
def test_fuzzed_values_raise_history_error_alone(chunk: tuple[Any, ...]) -> None:
    try:
        decode_chunk(msgpack.packb(chunk))
    except HistoryError:
        return


@given(st.lists(EVENTS, min_size=1, max_size=3), st.data())
def test_a_chunk_cut_short_is_refused(events: list[Event], data: st.DataObject) -> None:
    chunk = encode_chunk(events, 1)
    cut = data.draw(st.integers(0, len(chunk) - 1))
    with pytest.raises(HistoryError):
        decode_chunk(chunk[:cut])
