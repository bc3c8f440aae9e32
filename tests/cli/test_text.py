"""Values as text: what comes from elsewhere cannot steer a terminal, and JSON stays JSON."""

from __future__ import annotations

import enum
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sagas.cli.text import one_line, plain, to_json


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: float
    y: object


def test_control_characters_are_shown_as_escapes() -> None:
    assert plain("a\x1b[31mb\x07\u202e\nc\td") == "a\\x1b[31mb\\x07\\u202e\nc\td"
    assert plain("Zürich 東京") == "Zürich 東京"


def test_json_is_json_whatever_the_text_holds() -> None:
    text = "\x1b[31m\x9b \u202e \U000e0001 é"
    written = to_json({"text": text})
    assert json.loads(written) == {"text": text}
    assert written.isprintable()


def test_values_that_json_does_not_know() -> None:
    instant = datetime(2026, 5, 1, 12, tzinfo=UTC)
    key = uuid.UUID(int=1)
    value = {
        "when": instant,
        "took": timedelta(seconds=1.5),
        "bytes": b"\x00\xff",
        "set": {3, 1, 2},
        "price": Decimal("1.10"),
        "point": Point(float("nan"), (1, None)),
        "colour": Colour.RED,
        7: key,
    }
    assert json.loads(to_json(value)) == {
        "when": "2026-05-01T12:00:00+00:00",
        "took": 1.5,
        "bytes": "AP8=",
        "set": [1, 2, 3],
        "price": "1.10",
        "point": {"x": "nan", "y": [1, None]},
        "colour": "red",
        "7": str(key),
    }


def test_one_line_is_one_line_and_short() -> None:
    assert one_line("a\n  b\tc") == "a b c"
    assert one_line(["a\nb"]) == '["a\\nb"]'
    assert one_line("x" * 200, 10) == "x" * 9 + "…"
