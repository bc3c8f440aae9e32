"""The police office: starts a saga for every fine and tells it what happens, in the order and at the pace of the log.

Law: ``Add penalty`` is never sent; when a penalty falls due is the saga's own business. Every message carries an id
made of its row, so a driver may send anything twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime

from examples.delivery import delivered
from examples.traffic_fines.log import LogEvent, What, by_fine, in_date_order
from examples.traffic_fines.pace import Pace
from examples.traffic_fines.report import Report, verify
from examples.traffic_fines.saga import Fine, FineResult
from sagas import Client, Handle, SagaClosed

__all__ = ["Advance", "Report", "arrivals", "drive", "fine_id", "verify", "wall_clock"]

Advance = Callable[[datetime], Awaitable[None]]
"""Returns once the sagas' clock shows the given instant: ``wall_clock``, or a test environment's ``advance_to``."""


def fine_id(fine: str) -> str:
    """The saga id of a fine."""
    return f"fine-{fine}"


def arrivals(events: Iterable[LogEvent]) -> Iterator[LogEvent]:
    """What is told to the sagas, by date: the log without its penalties, then the end of the log for each fine."""
    rows = list(in_date_order(events))
    yield from (row for row in rows if row.what is not What.PENALTY)
    for seq, fine in enumerate(by_fine(rows), start=len(rows)):
        yield LogEvent(fine=fine, what=What.LOG_ENDS, at=rows[-1].at, seq=seq)


async def drive(client: Client, events: Iterable[LogEvent], advance: Advance, pace: Pace) -> list[FineResult]:
    """Replays the log and returns how each fine ended, in the order of their creation."""
    fines: dict[str, Handle[FineResult]] = {}
    for event in arrivals(events):
        await advance(pace.instant(event.at))
        if event.what is What.CREATED:
            fines[event.fine] = await _start(client, event, pace)
        else:
            await _tell(fines[event.fine], event)
    return [await fine.result() for fine in fines.values()]


async def wall_clock(until: datetime) -> None:
    """The clock of a real cluster: waits, and does not wait when the instant is past."""
    await asyncio.sleep((until - datetime.now(UTC)).total_seconds())


async def _start(client: Client, event: LogEvent, pace: Pace) -> Handle[FineResult]:
    return await delivered(
        lambda: client.start(
            Fine,
            event.fine,
            event.amount_cents or 0,
            event.at,
            pace,
            id=fine_id(event.fine),
            on_conflict="use_existing",
        )
    )


async def _tell(fine: Handle[FineResult], event: LogEvent) -> None:
    message_id = f"row-{event.seq}"
    if event.what is What.LOG_ENDS:
        with contextlib.suppress(SagaClosed):  # it went to credit collection
            await delivered(lambda: fine.signal(Fine.log_ends, event.at, message_id=message_id))
    else:
        await delivered(lambda: fine.signal(Fine.record, event, message_id=message_id))
