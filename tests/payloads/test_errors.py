"""Errors: only PayloadError, with the path to the culprit; whatever the value, whatever the bytes."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from typing import Any

import msgpack
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagas.errors import PayloadError
from sagas.payloads import Signature, decode, encode
from sagas.payloads.wire import DEEPEST
from tests.payloads.values import Box, Cat, Colour, Dog, Guest, Money, Order, Place, Stop, patient, plain_values


class Alien:
    pass


@dataclass
class Address:
    lines: list[Any]


@dataclass
class Person:
    address: Address


@dataclass
class Node:
    next: Node | None = None
    children: list[Node] = field(default_factory=list)


def call(a: Any, b: Any = None, *rest: Any, c: Any = None) -> None: ...


CULPRITS: list[tuple[Any, str]] = [
    (Alien(), "value: object of type .*Alien cannot be encoded; use a dataclass"),
    ([1, {"k": (2, Alien())}], r"value\[1\]\['k'\]\[1\]: object"),
    (Person(Address([1, 2, 3, Alien()])), r"value\.address\.lines\[3\]: object"),
    ({Alien(): 1}, r"value\.key\(Alien\): object"),
    (frozenset({Alien()}), r"value\{\}: object"),
    (Place(Alien()), r"value\.lat: object"),  # type: ignore[arg-type]
    ([lambda: 1], r"value\[0\]: object of type builtins\.function"),
    (["\ud800"], r"value\[0\]: the text holds a lone surrogate"),
    (Person, "value: object of type builtins.type"),
    (ValueError("x"), "value: object of type builtins.ValueError"),
]


@pytest.mark.parametrize(("value", "message"), CULPRITS)
def test_what_cannot_be_encoded_is_found_by_its_path(value: object, message: str) -> None:
    with pytest.raises(PayloadError, match=f"^{message}"):
        encode(value)


def test_paths_of_arguments_begin_with_their_place_or_name() -> None:
    signature = Signature.of(call)
    with pytest.raises(PayloadError, match=r"^args\[1\]\.address\.lines\[0\]: object of type"):
        signature.encode((1, Person(Address([Alien()]))), {})
    with pytest.raises(PayloadError, match=r"^args\['c'\]: object of type"):
        signature.encode((1,), {"c": Alien()})


def test_what_a_property_or_serializer_raises_is_told() -> None:
    class Model(pydantic.BaseModel):
        x: int

        @pydantic.field_serializer("x")
        def burn(self, x: int) -> int:
            raise ZeroDivisionError("burnt")

    with pytest.raises(PayloadError, match=r"value\[0\]: .*Model cannot be encoded: .*burnt"):
        encode([Model(x=1)])


def cyclic() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    table: dict[str, Any] = {}
    table["self"] = (1, table)
    node = Node()
    node.children.append(Node(next=node))
    return [items, table, node]


@pytest.mark.parametrize("value", cyclic())
def test_a_cycle_is_an_error_of_its_own(value: object) -> None:
    with pytest.raises(PayloadError, match="contains itself; a payload is a tree"):
        encode(value)


def chain(length: int) -> Node:
    node = Node()
    for _ in range(length):
        node = Node(next=node)
    return node


def nested(kind: Any, depth: int) -> Any:
    value: Any = ()
    for _ in range(depth):
        value = kind([value])
    return value


def test_depth_has_a_limit_and_what_is_written_within_it_can_be_read() -> None:
    assert encode(decode(encode(chain(200)), Node)) == encode(chain(200))
    assert decode(encode(nested(tuple, DEEPEST - 1))) == nested(tuple, DEEPEST - 1)
    for value in (chain(5000), nested(list, 5000), nested(tuple, DEEPEST + 1), nested(frozenset, DEEPEST + 1)):
        with pytest.raises(PayloadError, match="nested too deep"):
            encode(value)


def test_bytes_nested_too_deep_are_refused() -> None:
    data = b"\x01"
    for _ in range(200):
        data = msgpack.packb(msgpack.ExtType(8, b"\x91" + data))
    with pytest.raises(PayloadError, match="nested too deep"):
        decode(data)
    with pytest.raises(PayloadError):
        decode(b"\x91" * 5000 + b"\x01")


def test_encoding_works_after_a_failure_and_within_itself_and_in_threads() -> None:
    class Nosy(pydantic.BaseModel):
        x: list[int]

        @pydantic.field_serializer("x")
        def peek(self, x: list[int]) -> bytes:
            return encode(x)

    with pytest.raises(PayloadError):
        encode([1, Alien()])
    assert decode(encode([1, Nosy(x=[2]), 3])) == [1, {"x": encode([2])}, 3]

    value = [{("a", n): Money(n)} for n in range(50)]  # type: ignore[arg-type]
    expected, found = encode(value), []
    threads = [threading.Thread(target=lambda: found.extend(encode(value) for _ in range(50))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 200


WRONG: list[tuple[Any, Any, str]] = [
    ("abc", int, "value: expected int, found str; send the annotated type"),
    ([1, "a"], list[int], r"value\[1\]: expected int, found str"),
    ({"a": [1, "x"]}, dict[str, tuple[int, int]], r"value\['a'\]\[1\]: expected int"),
    ({1: 2}, dict[str, int], r"value\.key: expected str, found int"),
    ({"amount": "x"}, Money, r"value\.amount: Decimal refused the value"),
    ([1], Money, "value: expected Money, found list"),
    (5, Colour, "value: expected Colour, found int"),
    ((1, 2, 3), tuple[int, int], r"value: expected tuple\[int, int\], found 3 items"),
    ([[1]], set[list[int]], r"value: set\[list\[int\]\] refused the value"),
    ({"x": 1}, Alien, r"value: expected Alien \(which is no dataclass, model, NamedTuple or Enum\), found a map"),
    ({"name": 1}, Guest, "value: Guest refused the value: ValidationError"),
    ({"name": "x", "at": "2026-13-01"}, Stop, r"value\.at: datetime refused the value: ValueError"),
]


@pytest.mark.parametrize(("value", "annotation", "message"), WRONG)
def test_what_does_not_fit_its_annotation_is_found_by_its_path(value: object, annotation: Any, message: str) -> None:
    with pytest.raises(PayloadError, match=f"^{message}"):
        decode(encode(value), annotation)


def test_messages_do_not_show_values() -> None:
    with pytest.raises(PayloadError) as caught:
        decode(encode({"card": "4111-1111"}), Money | int)
    assert "4111" not in str(caught.value)


def test_nothing_but_the_annotated_type_is_made() -> None:
    made: list[str] = []

    @dataclass
    class Bomb:
        x: int

        def __post_init__(self) -> None:
            made.append("bomb")

    assert decode(encode(Bomb(1))) == {"x": 1}
    assert decode(encode(Bomb(1)), dict) == {"x": 1}
    assert made == ["bomb", "bomb"]  # the two of this test


ANNOTATIONS: list[Any] = [
    Any, int, str, Order, Guest, Stop, Place, Colour, Node, Cat | Dog, Money | Place | str, Box[Money], list[Order],
    dict[Money, set[Place]], tuple[int, ...], set[Money], frozenset[str], Alien,
]  # fmt: skip


def refuses_cleanly(data: bytes, annotation: Any) -> None:
    for read in (lambda: decode(data, annotation), lambda: Signature.of(call).decode(data)):
        with contextlib.suppress(PayloadError):
            read()


@given(st.binary(max_size=64), st.sampled_from(ANNOTATIONS))
@settings(patient, max_examples=300)
def test_any_bytes_decode_or_raise_payload_error(data: bytes, annotation: Any) -> None:
    refuses_cleanly(data, annotation)


@given(plain_values, st.data(), st.sampled_from(ANNOTATIONS))
@settings(patient, max_examples=300)
def test_damaged_payloads_decode_or_raise_payload_error(value: object, data: st.DataObject, annotation: Any) -> None:
    damaged = bytearray(encode([value]))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    refuses_cleanly(bytes(damaged), annotation)


@given(plain_values, st.sampled_from(ANNOTATIONS))
@patient
def test_any_value_fits_any_annotation_or_raises_payload_error(value: object, annotation: Any) -> None:
    refuses_cleanly(encode(value), annotation)


@pytest.mark.parametrize("extension", range(1, 12))
@given(content=st.binary(max_size=24))
@settings(patient, max_examples=40)
def test_damaged_extensions_raise_payload_error(extension: int, content: bytes) -> None:
    refuses_cleanly(msgpack.packb([msgpack.ExtType(extension, content)]), Any)
