"""Short ways to say what the contract tests send: heads, admissions, batches, with everything unsaid at its default."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from sagas.errors import StoreUnavailable
from sagas.store.head import encode_head
from sagas.store.keys import shard_of
from sagas.store.port import Admission, Admitted, Batch, Claim, Committed, Head, Mail, Status, Store, Transition
from tests.conftest import OpenStore

T = TypeVar("T")
Scenario = Callable[[Store], Awaitable[None]]
DEADLINE_S = 30.0
TTL_MS = 600_000


def with_store(open_store: OpenStore, scenario: Scenario, **options: int) -> None:
    """Run a scenario on an open store, in an event loop of its own."""

    async def run() -> None:
        async with open_store(**options) as store:
            await scenario(store)

    asyncio.run(run())


def head(run_id: str = "r1", status: Status = Status.RUNNING, version: int = 1) -> bytes:
    return encode_head(
        Head(
            status=status,
            run_id=run_id,
            type="Trip",
            version=version,
            events=version,
            started_ms=1,
            closed_ms=0 if status is Status.RUNNING else 2,
        )
    )


def start(id: str, run_id: str = "r1", **changes: Any) -> Admission:
    return Admission(**{"id": id, "kind": "start", "message_id": _new(), "mail": b"start", "run_id": run_id} | changes)


def message(id: str, body: bytes = b"hello", **changes: Any) -> Admission:
    return Admission(**{"id": id, "kind": "message", "message_id": _new(), "mail": body} | changes)


def step(id: str, version: int = 0, run_id: str = "r1", **changes: Any) -> Transition:
    """One that appends a chunk to a running instance and leaves nothing else behind."""
    state: dict[str, Any] = {
        "chunk": f"{run_id}/{version}".encode(),
        "head": head(run_id, version=version + 1),
        "timer_ms": None,
        "busy": False,
        "steps": None,
    }
    return Transition(id=id, run_id=run_id, version=version, **state | changes)


def closing(
    id: str, version: int = 0, run_id: str = "r1", status: Status = Status.COMPLETED, **more: Any
) -> Transition:
    return step(id, version, run_id, head=head(run_id, status, version + 1), closes=True, **more)


def batch(claim: Claim, sequence: int, *steps: Transition, **changes: Any) -> Batch:
    said = {"shard": claim.shard, "token": claim.token, "sequence": sequence, "transitions": steps}
    return Batch(**said | changes)


async def claimed(store: Store, id: str, owner: str = "a") -> Claim:
    """The shard of ``id``, taken."""
    claim = await store.claim(shard_of(id), owner, TTL_MS)
    assert claim is not None
    return claim


async def committed(store: Store, claim: Claim, sequence: int, *steps: Transition, **changes: Any) -> Committed:
    (verdict,) = await store.commit([batch(claim, sequence, *steps, **changes)])
    return verdict


async def applied(store: Store, id: str, *admissions: Admission, owner: str = "a") -> Claim:
    """Take the shard, admit these and let one transition apply them all; the shard's next sequence is 2."""
    claim = await claimed(store, id, owner)
    for admission in admissions:
        await store.enqueue(admission)
    entries = tuple(mail.entry for mail in await unread(store, id))
    run_id = admissions[0].run_id if admissions else "r1"
    await committed(store, claim, 1, step(id, run_id=run_id, mail=entries, admitted=True))
    return claim


async def unread(store: Store, id: str, after: str = "0") -> list[Mail]:
    """What waits in the mailbox of this id's shard."""
    return await store.read_mail({shard_of(id): after}, block_ms=0)


def bodies(mail: list[Mail]) -> list[bytes]:
    return [each.body for each in mail]


async def enqueued(store: Store, *admissions: Admission) -> list[Admitted]:
    return [await store.enqueue(admission) for admission in admissions]


async def eventually(ask: Callable[[], Awaitable[T]]) -> T:
    """The first answer that is true; a generous deadline stands for never."""
    async with asyncio.timeout(DEADLINE_S):
        while not (answer := await ask()):
            await asyncio.sleep(0.005)
        return answer


async def eventually_up(ask: Callable[[], Awaitable[T]]) -> T:
    """The first answer after a restart: the connections of before are dead, and a call may be what notices."""
    while True:
        try:
            return await ask()
        except StoreUnavailable:
            await asyncio.sleep(0.005)


def _new() -> str:
    return uuid.uuid4().hex
