"""What goes in comes out, by the annotation, for every supported type and nesting."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagas.errors import PayloadError
from sagas.payloads import decode, encode
from tests.payloads.values import Cents, Colour, Email, Level, Money, Pair, Place, pairs, patient, plain_values


def assert_same(decoded: object, value: object) -> None:
    """Equal, of one type, and so in every part: the bytes tell 1 from True, a list from a tuple, fold 0 from 1."""
    assert type(decoded) is type(value)
    assert decoded == value
    assert encode(decoded) == encode(value)


@given(data=st.data(), pair=pairs)
@patient
def test_any_value_comes_back_as_its_annotation_says(data: st.DataObject, pair: Pair) -> None:
    annotation, values = pair
    value = data.draw(values)
    assert_same(decode(encode(value), annotation), value)


@given(plain_values)
@patient
def test_builtin_values_need_no_annotation(value: object) -> None:
    assert_same(decode(encode(value)), value)


def test_annotations_need_not_be_hashable() -> None:
    annotation = Annotated[list[Money], ["metadata"]]
    assert_same(decode(encode([Money(Decimal(1))]), annotation), [Money(Decimal(1))])


@pytest.mark.parametrize("value", [2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**100, -(256**9)])
def test_ints_have_no_largest(value: int) -> None:
    assert_same(decode(encode(value)), value)
    assert_same(decode(encode({value: [value]})), {value: [value]})


@pytest.mark.parametrize("text", ["NaN", "sNaN123", "-Infinity", "-0", "0E+10", "1E-28", "1.00"])
def test_decimals_keep_their_digits(text: str) -> None:
    assert str(decode(encode(Decimal(text)))) == text


def test_a_zone_is_kept_by_its_key_with_fold() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    value = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=berlin)
    decoded = decode(encode(value))
    assert decoded.tzinfo is berlin
    assert (decoded, decoded.fold, decoded.utcoffset()) == (value, 1, timedelta(hours=1))
    assert decode(encode(time(2, 30, tzinfo=berlin))).tzinfo is berlin


def test_an_offset_is_kept_to_the_microsecond() -> None:
    zone = timezone(timedelta(hours=-3, seconds=7, microseconds=9))
    assert_same(decode(encode(datetime(1, 1, 1, tzinfo=zone))), datetime(1, 1, 1, tzinfo=zone))
    assert decode(encode(datetime(2026, 1, 1, tzinfo=UTC))).tzinfo is UTC


def test_subclasses_of_builtins_travel_as_their_base() -> None:
    class Clock(datetime):
        def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:
            return "what a test clock prints"

    assert decode(encode(Clock(2026, 1, 2))) == datetime(2026, 1, 2)  # noqa: DTZ001 - naive
    assert type(decode(encode(Email("a@b")))) is str
    assert type(decode(encode(Email("a@b")), Email)) is Email
    assert type(decode(encode(Level.HIGH))) is int


def test_without_annotation_records_come_back_as_plain_values() -> None:
    assert decode(encode(Money(Decimal(1)))) == {"amount": Decimal(1), "currency": "EUR"}
    assert decode(encode(Place(1.0))) == [1.0, 0.0]
    assert decode(encode(Colour.RED)) == "red"
    assert decode(encode({Money(Decimal(1))})) == [{"amount": Decimal(1), "currency": "EUR"}]
    assert decode(encode({Money(Decimal(1)): 5})) == [({"amount": Decimal(1), "currency": "EUR"}, 5)]


def test_none_is_accepted_for_every_annotation() -> None:
    for annotation in (int, Money, list[int], Cents, Colour, tuple[int, str], Any):
        assert decode(encode(None), annotation) is None
    assert decode(encode({"amount": Decimal(1), "currency": None}), Money) == Money(Decimal(1), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sent", "annotation", "expected"),
    [
        ("2026-01-02", date, date(2026, 1, 2)),
        ("2026-01-02T03:04:05Z", datetime, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("03:04", time, time(3, 4)),
        (1.5, timedelta, timedelta(seconds=1.5)),
        ("1.10", Decimal, Decimal("1.10")),
        (1.1, Decimal, Decimal("1.1")),
        ([1, 2], set[int], {1, 2}),
        ([1, "a"], tuple[int, str], (1, "a")),
        ([1, "a"], tuple[Any, ...], (1, "a")),
        ((1, 2), list[int], [1, 2]),
        (3, float, 3),
    ],
)
def test_the_forms_of_json_fit_the_real_types(sent: object, annotation: object, expected: object) -> None:
    assert_same(decode(encode(sent), annotation), expected)


def test_msgpack_timestamps_of_other_writers_are_read() -> None:
    stamp = msgpack.packb(msgpack.Timestamp(0, 0))
    assert decode(stamp, datetime) == datetime(1970, 1, 1, tzinfo=UTC)


def test_payload_errors_travel_between_processes() -> None:
    with pytest.raises(PayloadError) as caught:
        encode(object())
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
