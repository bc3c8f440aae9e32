"""Equal values have equal bytes, in every process; and the bytes on disk never change."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal, localcontext
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagas.payloads import Signature, decode, encode
from tests.payloads.values import patient

ROOT = Path(__file__).parents[2]
PROGRAM = """
from sagas.payloads import Signature, encode
def call(tags, *more, **options): ...
words = {f"word-{i}" for i in range(50)}
print(encode([words, frozenset(words), {("a", word) for word in words}, {frozenset({word}) for word in words}]).hex())
print(Signature.of(call).encode((words, 1), {"z": words, "a": 2}).hex())
"""


def test_bytes_do_not_depend_on_the_hash_seed() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(outputs) == 1
    assert len(outputs.pop()) > 1000


@given(st.lists(st.integers() | st.text(), unique=True))
@patient
def test_the_order_in_which_a_set_was_filled_does_not_show(items: list[object]) -> None:
    assert encode(set(items)) == encode({*reversed(items)})


def test_the_decimal_context_does_not_show() -> None:
    expected = encode(Decimal("1E+40"))
    with localcontext(Context(capitals=0, prec=2)):
        assert encode(Decimal("1E+40")) == expected
        assert decode(encode(Decimal("1.23456"))) == Decimal("1.23456")


WRITTEN = [
    (2**64, "c70901010000000000000000"),
    (datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "c72102" + b"02026-01-02T03:04:05.000006+00:00".hex()),
    (
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
        "c72902" + b"12026-10-25T02:30:00+01:00[Europe/Berlin]".hex(),
    ),
    (date(2026, 1, 2), "c70a03" + b"2026-01-02".hex()),
    (time(3, 4), "c70904" + b"003:04:00".hex()),
    (timedelta(microseconds=-2), "d405fe"),
    (UUID(int=1), "d806" + "00" * 15 + "01"),
    (Decimal("1.50"), "d607" + b"1.50".hex()),
    ((1, "a"), "d60892" + "01a161"[:6]),
    ({2, 1}, "c70309920102"),
    (frozenset({"b", "a"}), "c7050a92a161a162"),
]


@pytest.mark.parametrize(("value", "written"), WRITTEN)
def test_what_was_written_once_is_read_for_ever(value: object, written: str) -> None:
    assert decode(bytes.fromhex(written)) == value
    assert encode(value).hex() == written


def test_arguments_written_once_are_read_for_ever() -> None:
    def call(user: str, *, cents: int) -> None: ...

    signature = Signature.of(call)
    written = "92a27531" + "c70a0b" + "81a563656e7473cd01f4"
    assert signature.encode(("u1",), {"cents": 500}).hex() == written
    assert signature.decode(bytes.fromhex(written)) == (("u1",), {"cents": 500})
