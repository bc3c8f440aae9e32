"""Key names: one hash tag a shard, no two things under one name, and every name known to its owner."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagas.errors import InvalidArgument
from sagas.store.keys import Keys, shard_of
from sagas.store.port import SHARDS

KEYS = Keys("shop")
ids = st.text(alphabet="a:%{}3A ü", min_size=1, max_size=6)


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_a_shard_is_the_checksum_of_the_id(id: str) -> None:
    assert shard_of(id) == zlib.crc32(id.encode()) % SHARDS


def test_shards_never_move() -> None:
    assert [shard_of(id) for id in ("a", "b", "order-1", "日本")] == [3, 57, 47, 12]


def test_all_keys_of_a_shard_share_its_hash_tag() -> None:
    shard = shard_of("a")
    names = [
        KEYS.epoch(shard),
        KEYS.lease(shard),
        KEYS.mailbox(shard),
        KEYS.outbox(shard),
        KEYS.sources(shard),
        KEYS.marks(shard),
        KEYS.admitted(shard),
        KEYS.timers(shard),
        KEYS.busy(shard),
        KEYS.index(shard, "status:running"),
        KEYS.head("a"),
        KEYS.steps("a"),
        KEYS.history("a", "r1"),
        KEYS.message("a", "m"),
        KEYS.blobs("a", "r1"),
        KEYS.earlier_runs("a"),
        KEYS.expiries(shard),
    ]
    assert {name[: name.index("}") + 1] for name in names} == {f"sg:{{shop.s{shard}}}"}
    assert len(set(names)) == len(names)
    kinds = [KEYS.kind_of(name) for name in names]
    assert None not in kinds
    assert len(set(kinds)) == len(kinds)


def test_keys_of_the_namespace_have_an_owner() -> None:
    kind = KEYS.kind_of(KEYS.hosts())
    assert kind is not None
    assert kind.name == "hosts"


@pytest.mark.parametrize(
    "key",
    [
        "sg:{shop}:other",
        "sg:{shop.s64}:in",
        "sg:{shop.sx}:in",
        "sg:{shop.s3}:inn",
        "sg:{other.s3}:in",
        "sg:{shop.s3}:h:a",
        "sg:{shop.s3}:m:a",
        "sg:{shop.s3}:ep:x",
        "sg:{shop.s3}:",
        "in",
        "",
    ],
)
def test_what_nobody_owns(key: str) -> None:
    assert KEYS.kind_of(key) is None


@given(ids, ids, ids, ids)
def test_message_keys_never_run_together(id: str, message: str, other_id: str, other_message: str) -> None:
    same = (id, message) == (other_id, other_message)
    assert (KEYS.message(id, message) == KEYS.message(other_id, other_message)) == same


@pytest.mark.parametrize("namespace", ["", "a b", "a{b}", "x" * 101, "shop.s17", "ü", "a:b"])
def test_a_namespace_must_fit_into_a_key(namespace: str) -> None:
    with pytest.raises(InvalidArgument, match="namespace"):
        Keys(namespace)


@pytest.mark.parametrize("namespace", ["default", "team.prod", "a-b_c", "shop.s17x"])
def test_ordinary_namespaces(namespace: str) -> None:
    assert Keys(namespace).hosts() == f"sg:{{{namespace}}}:hosts"
