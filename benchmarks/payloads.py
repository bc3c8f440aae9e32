"""Microseconds of CPU to encode and decode typical payloads: `python -m benchmarks.payloads`.

The best of several rounds, in the process's own CPU time, so that neighbours disturb it little. "msgpack" is the bare
library on the nearest builtin value: what the annotations cost is the difference.
"""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import msgpack

from sagas.payloads import Signature, decode, encode

CALLS = 5_000
ROUNDS = 15


@dataclass
class Line:
    sku: str
    count: int
    price: Decimal


@dataclass
class Order:
    id: str
    at: datetime
    lines: list[Line] = field(default_factory=list)


def charge(user_id: str, cents: int) -> None: ...


def microseconds(call: Callable[[], object]) -> float:
    return min(timeit.repeat(call, timer=time.process_time, number=CALLS, repeat=ROUNDS)) / CALLS * 1e6


def main() -> None:
    signature = Signature.of(charge)
    args = signature.encode(("u1", 500), {})
    order = Order("o-1", datetime.now(UTC), [Line(f"sku-{n}", n, Decimal("9.99")) for n in range(5)])
    order_bytes = encode(order)
    numbers = list(range(100))
    numbers_bytes = encode(numbers)
    bare = msgpack.Packer()
    rows: list[tuple[str, Callable[[], object]]] = [
        ('msgpack pack   ["u1", 500]', lambda: bare.pack(["u1", 500])),
        ('encode args    ("u1", 500)', lambda: signature.encode(("u1", 500), {})),
        ('msgpack unpack ["u1", 500]', lambda: msgpack.unpackb(args)),
        ('decode args    ("u1", 500)', lambda: signature.decode(args)),
        ("encode dataclass, 5 lines", lambda: encode(order)),
        ("decode dataclass, 5 lines", lambda: decode(order_bytes, Order)),
        ("encode 100 ints", lambda: encode(numbers)),
        ("decode 100 ints", lambda: decode(numbers_bytes, list[int])),
    ]
    for name, call in rows:
        print(f"{name:28} {microseconds(call):8.2f} us")


if __name__ == "__main__":
    main()
