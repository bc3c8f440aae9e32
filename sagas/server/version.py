"""Which servers are new enough, and how a server says what it is; every rule about versions lives here.

Law: Redis and Valkey count apart. Valkey calls itself Redis 7.2.4 for the sake of old clients, so its own number is
always read first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

Flavour: TypeAlias = Literal["redis", "valkey"]
Version: TypeAlias = tuple[int, int, int]

OLDEST: Final[Mapping[Flavour, Version]] = {"redis": (7, 0, 0), "valkey": (7, 2, 0)}
"""The oldest release the store's scripts run on: ``#!lua`` flags, several files of AOF, sharded pub/sub."""

_BANNER = re.compile(r"^(?:(Redis|Valkey) s|S)erver v=(\d+)\.(\d+)\.(\d+)", re.MULTILINE)
_NUMBER = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


def parse_banner(text: str) -> tuple[Flavour, Version] | None:
    """What ``--version`` printed, or None when it is not the banner of a Redis or Valkey server.

    A banner without a name is that of Valkey 7.2, which had dropped Redis's and not yet taken its own.
    """
    found = _BANNER.search(text)
    if found is None:
        return None
    name, major, minor, patch = found.groups()
    return "redis" if name == "Redis" else "valkey", (int(major), int(minor), int(patch))


def parse_info(info: Mapping[str, object]) -> tuple[Flavour, Version]:
    """What the ``server`` section of INFO says; a version that cannot be read is 0.0.0, hence too old."""
    flavour: Flavour = "valkey" if "valkey_version" in info else "redis"
    found = _NUMBER.match(str(info.get(f"{flavour}_version", "")))
    if found is None:
        return flavour, (0, 0, 0)
    major, minor, patch = found.groups(default="0")
    return flavour, (int(major), int(minor), int(patch))


def new_enough(flavour: Flavour, version: Version) -> bool:
    """Whether the store's scripts run on this server."""
    return version >= OLDEST[flavour]


def show(flavour: Flavour, version: Version) -> str:
    """A server as people write it: ``Redis 7.0.15``."""
    return f"{flavour.capitalize()} {'.'.join(map(str, version))}"
