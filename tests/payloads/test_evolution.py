"""Code changes while payloads lie in Redis: fields and parameters come and go."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field, make_dataclass
from typing import Any, Literal, NamedTuple, TypedDict

import pydantic
import pytest

from sagas.errors import PayloadError
from sagas.payloads import Signature, decode, encode


@dataclass
class Old:
    a: int
    b: str = "old"


@dataclass
class Grown:
    a: int
    b: str = "new"
    c: list[int] = field(default_factory=lambda: [7])


@dataclass
class Shrunk:
    b: str


@dataclass
class Demanding:
    a: int
    d: int


def test_an_added_field_takes_its_default() -> None:
    assert decode(encode(Old(1)), Grown) == Grown(1, "old", [7])


def test_a_removed_field_is_ignored() -> None:
    assert decode(encode(Old(1)), Shrunk) == Shrunk("old")


def test_an_added_field_without_default_is_named() -> None:
    with pytest.raises(PayloadError, match=r"value\[0\]: Demanding lacks d; a field added later needs a default"):
        decode(encode([Old(1)]), list[Demanding])


def test_models_grow_and_shrink() -> None:
    class Before(pydantic.BaseModel):
        a: int
        gone: str = ""

    class After(pydantic.BaseModel):
        a: int
        new: int = 3

    assert decode(encode(Before(a=1)), After) == After(a=1, new=3)


def test_named_tuples_grow_and_shrink_at_the_end() -> None:
    class Two(NamedTuple):
        a: int
        b: int = 2

    class Three(NamedTuple):
        a: int
        b: int
        c: int = 3

    assert decode(encode(Two(1)), Three) == Three(1, 2, 3)
    assert decode(encode(Three(1, 2)), Two) == Two(1, 2)
    with pytest.raises(PayloadError, match="Three lacks b"):
        decode(encode([1]), Three)


def test_typed_dicts_keep_keys_they_do_not_know() -> None:
    class Known(TypedDict):
        a: float

    assert decode(encode({"a": 1.0, "b": 2}), Known) == {"a": 1.0, "b": 2}
    with pytest.raises(PayloadError, match="Known lacks a"):
        decode(encode({"b": 2}), Known)


def test_fields_outside_the_constructor_are_restored() -> None:
    @dataclass(frozen=True)
    class Sum:
        parts: list[int]
        total: int = field(init=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "total", sum(self.parts))

    value = Sum([1, 2])
    value.parts.append(3)  # the total is now older than the parts: what was sent is what comes back
    assert decode(encode(value), Sum).total == 3


def test_what_the_constructor_changes_is_not_changed_twice() -> None:
    @dataclass
    class Doubling:
        value: int
        factor: InitVar[int] = 2

        def __post_init__(self, factor: int) -> None:
            self.value *= factor

    assert decode(encode(Doubling(2)), Doubling).value == 4


def test_a_field_that_was_never_set_stays_unset() -> None:
    @dataclass
    class Lazy:
        a: int
        b: int
        later: str = field(init=False)

    decoded = decode(encode(Lazy(1, 2)), Lazy)
    assert (decoded.a, hasattr(decoded, "later")) == (1, False)


def test_what_could_never_be_decoded_is_not_encoded() -> None:
    @dataclass
    class Hashed:
        digest: str
        secret: InitVar[str]

    with pytest.raises(PayloadError, match=r"dataclass .*Hashed cannot be made again without 'secret'"):
        encode([Hashed("d", "s")])


def test_union_members_are_told_apart_by_their_fields() -> None:
    assert decode(encode(Old(1)), Grown | Old | Shrunk) == Old(1)
    assert decode(encode(Grown(1)), Grown | Old | Shrunk) == Grown(1)
    assert decode(encode(Shrunk("x")), Grown | Old | Shrunk) == Shrunk("x")
    assert decode(encode({"a": 1, "z": 2}), Old | dict[str, int]) == {"a": 1, "z": 2}


def test_union_members_of_equal_fields_are_told_apart_by_a_literal() -> None:
    one: Any = make_dataclass("One", [("tag", Literal["one"]), ("n", int)])
    two: Any = make_dataclass("Two", [("tag", Literal["two"]), ("n", int)])
    for value in (one("one", 1), two("two", 1)):
        assert type(decode(encode(value), one | two)) is type(value)
        assert type(decode(encode(value), two | one)) is type(value)


def test_a_union_that_nothing_fits_says_why_not() -> None:
    with pytest.raises(
        PayloadError, match=r"expected Old \| int, found a map with keys 'q' \(.*not Old: it: Old lacks a"
    ):
        decode(encode({"q": 1}), Old | int)


def test_defaults_may_change_because_they_are_not_sent() -> None:
    def before(a: int, b: int = 1, *, c: int = 2) -> None: ...
    def after(a: int, b: int = 10, d: int = 30, *, c: int = 20) -> None: ...

    assert Signature.of(after).decode(Signature.of(before).encode((5,), {})) == ((5,), {})
    assert Signature.of(after).decode(Signature.of(before).encode((5,), {"b": 6})) == ((5, 6), {})
    assert Signature.of(after).decode(Signature.of(before).encode((5,), {"c": 6})) == ((5,), {"c": 6})


def test_a_parameter_that_was_removed_is_an_error_with_advice() -> None:
    def before(a: int, b: int) -> None: ...
    def after(a: int) -> None: ...

    with pytest.raises(PayloadError, match=r"after\(a: 'int'\) -> 'None' does not take what was sent: too many"):
        Signature.of(after).decode(Signature.of(before).encode((1, 2), {}))
