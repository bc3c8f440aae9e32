"""Calls: what fits a signature, how it travels, and what stands in front of it for an undo."""

from __future__ import annotations

import functools
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagas.errors import ArgumentMismatch, PayloadError
from sagas.payloads import Signature, decode, encode, prepend
from tests.payloads.values import Money, patient, plain_values

if TYPE_CHECKING:
    from nowhere import Missing  # type: ignore[import-not-found]


async def charge(user: str, price: Money, day: date | None = None, *tags: str, note: str = "", **more: Money) -> Money:
    raise NotImplementedError


EURO = Money(Decimal(1))

CALLS: list[tuple[tuple[Any, ...], dict[str, Any], tuple[Any, ...], dict[str, Any]]] = [
    (("u", EURO), {}, ("u", EURO), {}),
    (("u",), {"price": EURO}, ("u", EURO), {}),
    ((), {"price": EURO, "user": "u"}, ("u", EURO), {}),
    (("u", EURO, date(2026, 1, 1), "a", "b"), {}, ("u", EURO, date(2026, 1, 1), "a", "b"), {}),
    (("u", EURO), {"note": "n", "extra": EURO}, ("u", EURO), {"note": "n", "extra": EURO}),
]


@pytest.mark.parametrize(("args", "kwargs", "values", "named"), CALLS)
def test_arguments_travel_by_position_and_come_back_by_annotation(
    args: tuple[Any, ...], kwargs: dict[str, Any], values: tuple[Any, ...], named: dict[str, Any]
) -> None:
    signature = Signature.of(charge)
    assert signature.decode(signature.encode(args, kwargs)) == (values, named)


def test_a_default_before_a_given_argument_is_sent_along() -> None:
    def f(a: int, b: int = 2, c: int = 3) -> None: ...

    assert decode(Signature.of(f).encode((1,), {"c": 5})) == [1, 2, 5]
    assert decode(Signature.of(f).encode((1,), {})) == [1]


@pytest.mark.parametrize(
    ("args", "kwargs", "problem"),
    [
        ((), {}, "missing a required argument: 'user'"),
        (("u",), {}, "missing a required argument: 'price'"),
        (("u", EURO), {"user": "v"}, "multiple values for argument 'user'"),
    ],
)
def test_wrong_arguments_name_the_callable_and_its_signature(
    args: tuple[Any, ...], kwargs: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ArgumentMismatch, match=problem) as caught:
        Signature.of(charge).encode(args, kwargs)
    assert str(caught.value).startswith("charge(user: 'str', price: 'Money', ")


def test_too_many_and_unknown_arguments() -> None:
    def f(a: int) -> None: ...
    def named(*, a: int) -> None: ...

    for function, args, kwargs in ((f, (1, 2), {}), (f, (1,), {"z": 1}), (named, (1,), {}), (named, (), {})):
        with pytest.raises(ArgumentMismatch):
            Signature.of(function).encode(args, kwargs)  # type: ignore[arg-type]
    assert Signature.of(named).decode(Signature.of(named).encode((), {"a": 1})) == ((), {"a": 1})


def test_arguments_of_the_wrong_number_or_type_do_not_decode() -> None:
    def f(a: int, b: Money) -> None: ...

    signature = Signature.of(f)
    for data, message in (
        (encode([1]), r"missing a required argument: 'b'"),
        (encode([1, {}, 3]), "too many positional arguments"),
        (encode([1, {"amount": [1]}]), r"^args\[1\]\.amount: expected Decimal, found list"),
        (encode({"a": 1}), "expected the arguments of a call, found dict"),
        (encode(None), "expected the arguments of a call"),
    ):
        with pytest.raises(PayloadError, match=message):
            signature.decode(data)
    with pytest.raises(PayloadError, match=r"^args\.note: expected str, found int"):
        Signature.of(charge).decode(Signature.of(charge).encode(("u", EURO), {"note": 5}))


def test_classes_show_their_constructor() -> None:
    class Plain:
        def __init__(self, price: Money, n: int = 0) -> None: ...

    class Empty:
        async def run(self, price: Money) -> date:
            raise NotImplementedError

    @dataclass
    class Base:
        price: Money

    @dataclass
    class Derived(Base):
        user: str = ""
        seen: list[str] = field(default_factory=list, init=False)

    for kind in (Plain, Derived):
        assert Signature.of(kind).decode(Signature.of(kind).encode((EURO,), {})) == ((EURO,), {})
        assert Signature.of(kind).returns is Any
    assert Signature.of(Empty).encode((), {}) == encode([])
    with pytest.raises(ArgumentMismatch):
        Signature.of(Derived).encode((EURO, "u", ["seen"]), {})
    run = Signature.of(Empty.run, skip_self=True)
    assert run.decode(run.encode((EURO,), {})) == ((EURO,), {})
    assert run.returns is date
    assert list(run.annotations) == ["price"]


def test_a_custom_constructor_of_a_dataclass_keeps_its_own_annotations() -> None:
    @dataclass
    class Tagged:
        tags: tuple[str, ...]

        def __init__(self, tags: list[str]) -> None:
            self.tags = tuple(tags)

    assert Signature.of(Tagged).decode(encode([["a"]])) == ((["a"],), {})


def test_names_that_cannot_be_resolved_are_any() -> None:
    def f(a: Missing, b: Money, c: "list[Nowhere]") -> Missing:  # type: ignore[name-defined]  # noqa: F821, UP037
        raise NotImplementedError

    signature = Signature.of(f)
    assert signature.annotations == {"a": Any, "b": Money, "c": Any}
    assert signature.returns is Any
    assert signature.decode(signature.encode((1, EURO, [2]), {})) == ((1, EURO, [2]), {})


def test_local_classes_are_found_where_a_function_uses_them() -> None:
    @dataclass
    class Local:
        inner: Local | None = None

    def f(a: Local) -> Local:
        return Local(a)

    signature = Signature.of(f)
    assert signature.returns is Local
    assert signature.decode(signature.encode((Local(Local()),), {})) == ((Local(Local()),), {})


def test_wrapped_partial_and_callable_objects() -> None:
    @functools.wraps(charge)
    def wrapper(*args: Any, **kwargs: Any) -> Any: ...

    class Callable_:
        def __call__(self, price: Money) -> Awaitable[Money]:
            raise NotImplementedError

    assert Signature.of(wrapper).annotations["price"] is Money
    assert Signature.of(functools.partial(charge, "u")).decode(encode([EURO])) == ((EURO,), {})
    assert Signature.of(Callable_()).decode(encode([EURO])) == ((EURO,), {})
    assert Signature.of(Callable_()).returns is Money


def test_a_signature_is_made_once() -> None:
    assert Signature.of(charge) is Signature.of(charge)
    assert Signature.of(charge).returns is Money
    with pytest.raises(ArgumentMismatch, match="has no signature"):
        Signature.of(max)


@given(st.none() | plain_values.map(encode), st.lists(plain_values, max_size=40))
@patient
def test_an_undo_gets_the_result_and_then_the_arguments(result: bytes | None, args: list[Any]) -> None:
    undo = prepend(result, encode(args))
    assert decode(undo) == [None if result is None else decode(result), *args]


@pytest.mark.parametrize("count", [0, 1, 14, 15, 16, 65534, 65535, 65536])
def test_prepend_at_the_borders_of_array_headers(count: int) -> None:
    assert decode(prepend(encode("r"), encode([0] * count))) == ["r", *([0] * count)]


def test_prepend_keeps_keyword_arguments() -> None:
    async def refund(receipt: date | None, user: str, price: Money, *, note: str) -> None: ...

    args = Signature.of(charge).encode(("u", EURO), {"note": "n"})
    for result, receipt in ((None, None), (encode(date(2026, 1, 1)), date(2026, 1, 1))):
        assert Signature.of(refund).decode(prepend(result, args)) == ((receipt, "u", EURO), {"note": "n"})


@pytest.mark.parametrize("data", [b"", b"\xc0", encode({}), b"\xdc", b"\xdd\x00"])
def test_prepend_refuses_what_is_no_argument_payload(data: bytes) -> None:
    with pytest.raises(PayloadError, match="not the arguments of a call"):
        prepend(None, data)
