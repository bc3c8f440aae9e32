"""Byte forms of the builtin scalars that msgpack lacks: each function pair is a fixed, documented disk format.

Law: forms never change; a new form takes a new code. Text is ASCII. A reader gets a ``ValueError`` (or another
``ArithmeticError``/``TypeError``) for bytes that no writer made.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from uuid import UUID
from zoneinfo import ZoneInfo

_ZONE_KEY = re.compile(r"[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+)*")
_MICROSECOND = timedelta(microseconds=1)


def write_int(value: int) -> bytes:
    """Two's complement, big-endian, as short as it goes."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def read_int(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def write_datetime(value: datetime) -> bytes:
    """Fold ("0" or "1"), ISO wall time with offset if it is aware, then ``[Area/City]`` if its zone has a key."""
    return f"{value.fold}{_iso(value)}{_zone_suffix(value.tzinfo)}".encode("ascii")


def read_datetime(data: bytes) -> datetime:
    fold, text, zone = _split(data)
    value = datetime.fromisoformat(text)
    # the wall time and the zone's key are what the user meant: they win over the offset, should its rules change
    return value.replace(fold=fold, tzinfo=value.tzinfo if zone is None else zone)


def write_time(value: time) -> bytes:
    """As a datetime; an aware time with a keyed zone has no offset of its own."""
    return f"{value.fold}{_iso(value)}{_zone_suffix(value.tzinfo)}".encode("ascii")


def read_time(data: bytes) -> time:
    fold, text, zone = _split(data)
    value = time.fromisoformat(text)
    return value.replace(fold=fold, tzinfo=value.tzinfo if zone is None else zone)


def write_date(value: date) -> bytes:
    """ISO text."""
    return date.isoformat(value).encode("ascii")


def read_date(data: bytes) -> date:
    return date.fromisoformat(data.decode("ascii"))


def write_timedelta(value: timedelta) -> bytes:
    """Whole microseconds, in the form of ``write_int``."""
    return write_int(value // _MICROSECOND)


def read_timedelta(data: bytes) -> timedelta:
    # through days, because a C long does not hold the microseconds of the longest timedelta
    days, microseconds = divmod(read_int(data), 86_400_000_000)
    return timedelta(days=days, microseconds=microseconds)


def write_uuid(value: UUID) -> bytes:
    """Its 16 bytes."""
    return value.bytes


def read_uuid(data: bytes) -> UUID:
    return UUID(bytes=data)


def write_decimal(value: Decimal) -> bytes:
    """Its canonical text: exponent, sign of zero and NaN payload are kept."""
    # the decimal context may ask for a small "e"; bytes must not depend on it
    return Decimal.__str__(value).replace("e", "E").encode("ascii")


def read_decimal(data: bytes) -> Decimal:
    return Decimal(data.decode("ascii"))


def _iso(value: datetime | time) -> str:
    # the base class's method: subclasses (test clocks, third-party dates) print themselves in other ways
    return datetime.isoformat(value) if isinstance(value, datetime) else time.isoformat(value)


def _zone_suffix(zone: tzinfo | None) -> str:
    key = zone.key if isinstance(zone, ZoneInfo) else None
    return f"[{key}]" if key else ""


def _split(data: bytes) -> tuple[int, str, ZoneInfo | None]:
    text = data.decode("ascii")
    fold, text = text[:1], text[1:]
    if fold not in ("0", "1"):
        raise ValueError("the fold must be 0 or 1")
    if not text.endswith("]"):
        return int(fold), text, None
    text, _, key = text[:-1].partition("[")
    return int(fold), text, _zone(key)


@lru_cache(maxsize=1024)
def _zone(key: str) -> ZoneInfo:
    if not _ZONE_KEY.fullmatch(key):  # it becomes a file name: only what a zone's name can be
        raise ValueError("not the name of a time zone")
    try:
        return ZoneInfo(key)
    except (LookupError, OSError) as error:
        raise ValueError(f"this machine does not know the time zone {key!r}: install the tzdata package") from error
