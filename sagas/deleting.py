"""Taking ended instances out by hand: one, or all that a query finds.

Law: only the owner of an instance's shard removes it, in its turn among all that happens to it. A deletion is a message
to it; it is done when its head is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from sagas.access import Access
from sagas.engine.message import Delete, encode_message
from sagas.errors import SagaNotFound, SagaRunning
from sagas.ids import new_message_id
from sagas.store.head import decode_head
from sagas.store.port import Admission, Head, Status

CARRIED_OUT_S = 30.0
"""Real seconds in which a host is to carry a deletion out."""

_AGAIN_S = 2.0
_AT_ONCE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What became of ``client.erase(query)``: ids that were deleted, and those that still run and so were not."""

    deleted: tuple[str, ...]
    running: tuple[str, ...]


async def delete(access: Access, id: str) -> None:
    """Remove the instance with all its runs. Raises: SagaNotFound, SagaRunning, TimeoutError, StoreUnavailable."""
    async with access.watching(id) as changed:
        ended = await _ended(access, id)
        if ended is None:
            raise SagaNotFound(id)
        message = Delete(message_id=new_message_id(None), run_id=ended.run_id)
        mail = encode_message(message)
        await access.admit(Admission(id=id, kind="read", message_id=message.message_id, mail=mail, remember_ms=60_000))
        try:
            async with asyncio.timeout(CARRIED_OUT_S):
                while not await _is_gone(access, id, ended.run_id):
                    await access.settle(changed, _AGAIN_S)
                    changed.clear()
        except TimeoutError:
            raise TimeoutError(
                f"saga {id!r} is not deleted after {CARRIED_OUT_S:g} s: is a host up? "
                "The order is durable, and the next one carries it out"
            ) from None


async def _ended(access: Access, id: str) -> Head | None:
    """The head of an instance that has ended; None when there is none. Raises: SagaRunning."""
    admitted, stored = await access.store.standing(id)
    if admitted is not None:
        raise SagaRunning(id, admitted)
    head = None if stored is None else decode_head(stored)
    if head is not None and head.status is Status.RUNNING:
        raise SagaRunning(id, head.run_id)
    return head


async def _is_gone(access: Access, id: str, run_id: str) -> bool:
    """Raises: SagaRunning when another run began before the deletion had its turn."""
    if not await access.store.history(id, run_id, -1):
        return True
    stored = await access.store.head(id)
    if stored is not None and (now := decode_head(stored).run_id) != run_id:
        raise SagaRunning(id, now)
    return False


async def erase(ids: Iterable[str], remove: Callable[[str], Awaitable[None]]) -> Erasure:
    """Remove all that have ended, some at a time. Raises: what ``remove`` does."""
    waiting, deleted, running = list(ids), [], []
    for first in range(0, len(waiting), _AT_ONCE):
        page = waiting[first : first + _AT_ONCE]
        outcomes = await asyncio.gather(*map(remove, page), return_exceptions=True)
        for id, outcome in zip(page, outcomes, strict=True):
            if isinstance(outcome, SagaRunning):
                running.append(id)
            elif outcome is None or isinstance(outcome, SagaNotFound):
                deleted.append(id)
            else:
                raise outcome
    return Erasure(deleted=tuple(deleted), running=tuple(running))
