from __future__ import annotations

import pytest

from sagas.server.version import new_enough, parse_banner, parse_info, show


@pytest.mark.parametrize(
    ("banner", "expected"),
    [
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1", ("redis", (7, 0, 15))),
        ("Valkey server v=9.1.2 sha=00000000:1 malloc=libc bits=64 build=1", ("valkey", (9, 1, 2))),
        ("Server v=7.2.5 sha=00000000:0 malloc=libc bits=64 build=1", ("valkey", (7, 2, 5))),
        ("a warning first\nRedis server v=8.10.0 sha=1", ("redis", (8, 10, 0))),
        ("KeyDB server v=6.3.4 sha=0", None),
        ("usage: redis-server", None),
        ("", None),
    ],
)
def test_banners(banner: str, expected: object) -> None:
    assert parse_banner(banner) == expected


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"redis_version": "7.0.15"}, ("redis", (7, 0, 15))),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.0"}, ("valkey", (8, 1, 0))),
        ({"redis_version": 7.4}, ("redis", (7, 4, 0))),
        ({"redis_version": "8.0.0-rc1"}, ("redis", (8, 0, 0))),
        ({}, ("redis", (0, 0, 0))),
        ({"redis_version": "unstable"}, ("redis", (0, 0, 0))),
    ],
)
def test_info(info: dict[str, object], expected: object) -> None:
    assert parse_info(info) == expected


def test_each_flavour_has_its_own_oldest_release() -> None:
    assert new_enough("redis", (7, 0, 0))
    assert not new_enough("redis", (6, 2, 99))
    assert new_enough("valkey", (7, 2, 0))
    assert not new_enough("valkey", (7, 1, 9))


def test_versions_are_shown_as_people_write_them() -> None:
    assert show("valkey", (9, 1, 2)) == "Valkey 9.1.2"
