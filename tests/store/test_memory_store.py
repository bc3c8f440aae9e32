"""What only the memory store has: a clock that tests turn, and no servers behind it."""

import asyncio
import subprocess
import sys

from sagas.store.memory import MemoryStore
from sagas.store.memory_mailbox import Mailbox
from sagas.store.memory_shard import MessageIds
from sagas.store.port import AdmissionVerdict
from tests.contract.samples import message, start, unread


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1_000

    def __call__(self) -> int:
        return self.now_ms


def test_leases_members_and_message_ids_go_by_the_clock() -> None:
    async def scenario() -> None:
        clock = Clock()
        store = MemoryStore(clock=clock)
        await store.enqueue(start("a"))
        await store.enqueue(message("a", message_id="m", remember_ms=100))
        await store.claim(3, "a", 100)
        await store.members("a", 100)
        clock.now_ms += 99
        assert (await store.enqueue(message("a", message_id="m"))).verdict is AdmissionVerdict.KNOWN
        assert await store.claim(3, "b", 100) is None
        assert await store.members("b", 100) == ["a", "b"]
        clock.now_ms += 1
        assert (await store.enqueue(message("a", message_id="m"))).verdict is AdmissionVerdict.OK
        assert await store.claim(3, "b", 100) is not None
        assert await store.members("b", 100) == ["b"]

    asyncio.run(scenario())


def test_entries_only_grow_when_the_clock_goes_back() -> None:
    mailbox = Mailbox(0)
    for now_ms in (50, 50, 40, 51):
        mailbox.add("a", b"", now_ms)
    assert [mail.entry for mail in mailbox.after("0", 10)] == ["50-0", "50-1", "50-2", "51-0"]


def test_forgotten_message_ids_take_no_room() -> None:
    known = MessageIds()
    for n in range(10_000):
        known.remember("a", f"m{n}", "r1", now_ms=n, for_ms=10)
    assert len(known._runs) < 2_000
    assert known.run_of("a", "m9999", 10_000) == "r1"


def test_engines_come_and_go_on_one_store() -> None:
    """Also in event loops of their own, one after another."""
    store = MemoryStore()

    async def write() -> None:
        await store.enqueue(start("a"))
        await store.close()

    async def read() -> int:
        return len(await unread(store, "a"))

    asyncio.run(write())
    assert asyncio.run(read()) == 1


def test_it_needs_no_redis() -> None:
    code = "import sagas.store.memory, sys; sys.exit('redis' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
