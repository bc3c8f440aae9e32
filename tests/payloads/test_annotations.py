"""Annotations that need a word of their own: aliases, generics, models, and classes that say nothing."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, Protocol, TypedDict, TypeVar
from uuid import UUID

import pydantic
import pydantic.dataclasses
import pytest
from typing_extensions import TypeAliasType

from sagas.errors import PayloadError
from sagas.payloads import decode, encode
from tests.payloads.values import Box, Colour, DateBox, Level, Money

Number = TypeVar("Number", int, Decimal)
Bounded = TypeVar("Bounded", bound=Money)
Json = TypeAliasType("Json", "dict[str, Json] | list[Json] | str | Money")  # type: ignore[misc]

DAY = date(2026, 1, 2)
EURO = Money(Decimal(1))


class Named(Protocol):
    name: str


K = TypeVar("K")


class Page(TypedDict, Generic[K]):
    items: list[K]


class Odd(Enum):
    NOTHING = None
    PRICE = EURO


@dataclass
class Holder:
    odd: Odd


@dataclass
class Middle(Box[list[K]], Generic[K]): ...


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (EURO, Bounded),
        (Decimal(1), Number),
        ({"a": [EURO, {"b": "c"}]}, TypeAliasType("Plain", "dict[str, list[Any]]")),  # type: ignore[misc]
        (5, Hashable),
        (5, "an annotation that stayed text"),
        (5, 42),
        (5, TypeVar("Free")),  # type: ignore[misc]
        (["a"], Iterable),
        ({"a": 1}, Mapping),
        ([1, "a"], list),
        ((1, "a"), tuple),
        ((), tuple[()]),
        (5, None),
        (DAY, Final[date]),
        (DAY, ClassVar[date]),
        (5, Named),
    ],
)
def test_annotations_that_say_little_take_what_comes(value: object, annotation: Any) -> None:
    decoded = decode(encode(value), annotation)
    assert encode(decoded) == encode(value)


def test_type_variables_are_bound_also_through_base_classes() -> None:
    raw = encode({"content": "2026-01-02", "spare": ["2026-01-02"], "label": "x"})
    assert decode(raw, Box[date]) == Box(DAY, [DAY])
    assert decode(raw, DateBox) == DateBox(DAY, [DAY], "x")
    assert decode(raw, Box[str]) == Box("2026-01-02", ["2026-01-02"])
    assert decode(raw, Box) == Box("2026-01-02", ["2026-01-02"])

    raw = encode({"content": ["2026-01-02"]})
    assert decode(raw, Middle[date]) == Middle([DAY])


def test_generic_typed_dicts_and_models() -> None:
    class Answer(pydantic.BaseModel, Generic[K]):
        value: K

    assert decode(encode({"items": ["2026-01-02"]}), Page[date]) == {"items": [DAY]}
    assert decode(encode(Answer[Money](value=EURO)), Answer[Money]).value == EURO


def test_models_travel_by_field_name_without_what_they_compute() -> None:
    class Link(pydantic.BaseModel):
        url: pydantic.HttpUrl = pydantic.Field(alias="href")
        by: dict[Level, UUID]

        @pydantic.computed_field
        def host(self) -> str:
            return self.url.host or ""

        model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    link = Link(href="https://a.example/x", by={Level.HIGH: UUID(int=1)})
    assert decode(encode(link)) == {"url": "https://a.example/x", "by": {2: UUID(int=1)}}
    assert decode(encode(link), Link) == link
    assert decode(encode(link.url), pydantic.HttpUrl) == link.url


def test_root_models_and_pydantic_dataclasses() -> None:
    @pydantic.dataclasses.dataclass
    class Row:
        n: int

    root = pydantic.RootModel[list[date]]
    assert decode(encode(root([DAY])), root) == root([DAY])
    assert decode(encode([Row(1)]), list[Row]) == [Row(1)]
    with pytest.raises(PayloadError, match=r"value\[0\]\.n: expected int, found str"):
        decode(encode([{"n": "x"}]), list[Row])


def test_secrets_are_refused_instead_of_lost() -> None:
    class Login(pydantic.BaseModel):
        password: pydantic.SecretStr

    with pytest.raises(PayloadError, match=r"value\.password: object of type pydantic\.types\.SecretStr cannot be"):
        encode(Login(password=pydantic.SecretStr("x")))


def test_pydantic_is_not_needed() -> None:
    program = "import sys, sagas.payloads as p; p.decode(p.encode({1}), set[int]); print('pydantic' in sys.modules)"
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "False\n"


def test_a_union_prefers_what_was_sent_to_what_it_could_become() -> None:
    assert decode(encode("2026-01-02"), date | str) == "2026-01-02"
    assert decode(encode("2026-01-02"), date | int) == DAY
    assert decode(encode(DAY), str | date) == DAY
    assert decode(encode({1}), list[int] | set[int]) == {1}
    assert decode(encode((1,)), list[int] | tuple[int, ...]) == (1,)
    assert decode(encode("red"), Colour | int) is Colour.RED
    assert decode(encode("1"), Decimal | UUID | None) == Decimal(1)
    assert decode(encode(None), Colour | Money | None) is None
    assert decode(encode(5), Money | Any) == 5


def test_an_enum_may_hold_none_and_records() -> None:
    for odd in Odd:
        assert decode(encode([odd]), list[Odd]) == [odd]
        assert decode(encode(Holder(odd)), Holder) == Holder(odd)


def test_special_dicts_come_back_as_themselves() -> None:
    decoded = decode(encode(defaultdict(list, {"a": [1]})), defaultdict[str, list[int]])
    assert (type(decoded), decoded.default_factory, decoded) == (defaultdict, None, {"a": [1]})


def test_subclasses_of_containers_are_made_from_them() -> None:
    class Tags(list[str]): ...

    class Refusing(int):
        def __new__(cls, value: int) -> Refusing:
            raise LookupError("no")

    assert type(decode(encode(Tags(["a"])), Tags)) is Tags
    with pytest.raises(PayloadError, match=r"Refusing refused the value: LookupError: no"):
        decode(encode(1), Refusing)


def test_recursive_aliases_decode_lazily() -> None:
    assert decode(encode({"a": [{"amount": Decimal(1), "currency": "EUR"}, "x"]}), dict[str, list[Money | str]]) == {
        "a": [EURO, "x"]
    }
    assert decode(encode(["x"]), Json) == ["x"]


def test_dates_and_times_of_the_same_day_are_not_confused() -> None:
    noon = datetime(2026, 1, 2, 12)  # noqa: DTZ001 - naive is the case
    assert decode(encode([noon, DAY]), list[date | datetime]) == [noon, DAY]
    assert type(decode(encode(DAY), date)) is date
