"""The query language: what it says, what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from sagas.errors import InvalidArgument
from sagas.filter import Filter

ROW = {"status": "running", "type": "Subscription", "id": "it's", "compensation": "none", "parked": ""}
ATTRIBUTES: dict[str, Any] = {"plan": "pro", "seats": 5, "rate": 0.5, "trial": True, "five": "5", "a b's": "x"}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "status = 'running' and type='Subscription'",
        "id = 'it''s' AND parked = ''",
        "attributes.plan = 'pro'",
        "attributes.plan != 'basic' and attributes.seats = 5 and attributes.seats = 5.0",
        "attributes.rate = 5e-1 and attributes.rate = 0.5",
        "attributes.trial = true and attributes.trial != false and attributes.trial != 1",
        "attributes.five = '5' and attributes.five != 5 and attributes.seats != '5'",
        "attributes.unknown != 'x' and attributes.unknown != 0 and attributes.unknown != false",
        "attributes.'a b''s' = 'x'",
        "attributes.seats != -5",
    ],
)
def test_what_holds(query: str) -> None:
    assert Filter.parse(query).matches(ROW, ATTRIBUTES)


@pytest.mark.parametrize(
    "query",
    [
        "status = 'failed'",
        "status = 'running' and attributes.plan = 'basic'",
        "attributes.seats = 6",
        "attributes.trial = 1",
        "attributes.seats = '5'",
        "attributes.unknown = ''",
        "attributes.plan != 'pro'",
    ],
)
def test_what_does_not(query: str) -> None:
    assert not Filter.parse(query).matches(ROW, ATTRIBUTES)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("status is 'running'", "expected field = 'value' at"),
        ("status = running", "expected field = 'value' at"),
        ("attributes.seats = 5x", "expected field = 'value' at"),
        ("attributes.seats = 5 6", "expected 'and' at"),
        ("attributes. = 5", "expected field = 'value' at"),
        ("status = 'running' or type = 'x'", "expected 'and' at"),
        ("attributes = 'pro'", "unknown field 'attributes'"),
        ("plan = 'pro'", "unknown field 'plan'"),
        ("status.plan = 'pro'", "unknown field 'status.plan'"),
        ("id = 5", "id is a text: write id = '5'"),
    ],
)
def test_what_is_refused(query: str, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        Filter.parse(query)
