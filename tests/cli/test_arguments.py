"""Arguments as typed: JSON or text, and what a signature makes of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from sagas.cli.arguments import attributes_of, fitted, value_of
from sagas.errors import ArgumentMismatch, InvalidArgument
from sagas.payloads import Signature


@dataclass
class Trip:
    city: str
    day: date
    cents: int = 100


async def book(trip: Trip, order: str, *extras: int) -> None: ...


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500", 500),
        ('"500"', "500"),
        ("true", True),
        ("null", None),
        ("u1", "u1"),
        ("", ""),
        ('{"a": [1.5]}', {"a": [1.5]}),
        ('{"a": ', '{"a": '),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("1e3", 1000.0),
        ("9" * 5000, "9" * 5000),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_what_can_be_read_as_json_is_json(text: str, value: Any) -> None:
    assert value_of(text) == value


def test_what_overflows_is_still_a_number() -> None:
    assert value_of("1e999") == math.inf


def test_arguments_become_what_the_signature_asks_for() -> None:
    args = fitted(Signature.of(book), ['{"city": "Rome", "day": "2026-05-01"}', "500", "1", "2"])
    assert args == (Trip("Rome", date(2026, 5, 1)), "500", 1, 2)


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        ([], "trip"),
        (['{"city": "Rome"}', "x"], "day"),
        (['{"city": "Rome", "day": "2026-05-01"}', "x", "many"], "args[2]"),
        (["Rome", "x"], "Trip"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_the_signature(texts: list[str], named: str) -> None:
    with pytest.raises(ArgumentMismatch) as refused:
        fitted(Signature.of(book), texts)
    assert "book(" in str(refused.value)
    assert named in str(refused.value).replace("book(trip: ", "book(")


def test_attributes() -> None:
    assert attributes_of(["plan=pro", "n=3", "note=a=b", "empty="]) == {
        "plan": "pro",
        "n": 3,
        "note": "a=b",
        "empty": "",
    }


@pytest.mark.parametrize("pair", ["plan", "=pro", ""])
def test_an_attribute_without_name_or_value_is_refused(pair: str) -> None:
    with pytest.raises(InvalidArgument, match="name=value"):
        attributes_of([pair])
