"""What the sagas of a namespace do, line by line, while ``sagas dev`` runs: started, parked, resumed, ended.

Law: notices make it prompt, a look at the index of running instances once a second makes it complete. A line is printed
once a run and state, whichever of the two came first.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import datetime

from rich.console import Console
from rich.text import Text

from sagas.cli.show import status_text
from sagas.cli.text import one_line
from sagas.client import Client
from sagas.description import Description, describe_stored
from sagas.engine.heads import decode_notice
from sagas.errors import SagaError, StoreUnavailable
from sagas.kernel.state import Status
from sagas.store.keys import Keys
from sagas.store.port import SHARDS, Store
from sagas.telemetry.tree import duration

_LOOK_EVERY_S = 1.0
_MOST_RUNNING = 2000
"""Of more running instances than this, starts are not shown: the look would cost more than it tells."""
_REMEMBERED = 10_000
_RUNNING = Status.RUNNING.value


class Live:
    """``begin()``, then ``run()`` until its task is cancelled."""

    def __init__(self, store: Store, console: Console) -> None:
        self._store = store
        self._client = Client(store)
        self._console = console
        self._noticed: asyncio.Queue[str] = asyncio.Queue()
        self._running: set[str] = set()
        self._parked: set[str] = set()
        self._open: dict[str, str] = {}  # run id -> the state that was printed last
        self._ended: OrderedDict[str, None] = OrderedDict()  # run ids, so that a late notice prints nothing again

    async def begin(self) -> None:
        """Listen from here on. Instances of earlier days get one line together."""
        keys = Keys(self._store.namespace)
        channels = [keys.notices(shard) for shard in range(SHARDS)]
        await asyncio.gather(*(self._store.subscribe(channel, self._on_notice) for channel in channels))
        self._running = await self._running_now()
        found = await self._described(self._running)
        self._open.update((_run(each), _state(each)) for each in found)
        self._parked = {each.id for each in found if each.parked is not None}
        if found:
            parked = f", {len(self._parked)} of them parked (`sagas list \"parked != ''\"`)" if self._parked else ""
            self._console.print(Text(f"running from before: {len(found)}{parked}", "dim"))

    async def run(self) -> None:
        """Print what happens. A store that is away is waited for."""
        ids: set[str] = set()
        away = False
        while True:
            ids |= await self._next_notices()
            try:
                ids |= await self._changed()
                await self._look(ids)
            except StoreUnavailable as error:
                if not away:
                    self._console.print(Text(f"the store is away: {one_line(str(error), 300)}", "red"))
                away = True
            else:
                ids.clear()
                away = False

    def _on_notice(self, payload: bytes) -> None:
        self._noticed.put_nowait(decode_notice(payload)[0])

    async def _next_notices(self) -> set[str]:
        """Ids with notices; empty after a second without any."""
        try:
            async with asyncio.timeout(_LOOK_EVERY_S):
                ids = {await self._noticed.get()}
        except TimeoutError:
            return set()
        while not self._noticed.empty():
            ids.add(self._noticed.get_nowait())
        return ids

    async def _changed(self) -> set[str]:
        """Ids that began or ceased to run since the last look, and those that may have been resumed."""
        before, self._running = self._running, await self._running_now()
        return (before ^ self._running) | self._parked

    async def _running_now(self) -> set[str]:
        ids: set[str] = set()
        cursor, more = "", True
        while more:
            page, cursor = await self._store.ids(f"status:{_RUNNING}", cursor)
            ids.update(page)
            more = bool(cursor)
            if len(ids) > _MOST_RUNNING:
                return set()
        return ids

    async def _described(self, ids: set[str]) -> list[Description]:
        names = sorted(ids)
        heads = await self._store.heads(names)
        stored = zip(names, heads, strict=True)
        found = [describe_stored(id, head, f"status:{_RUNNING}") for id, head in stored if head is not None]
        return sorted(found, key=lambda each: each.started)

    async def _look(self, ids: set[str]) -> None:
        for found in await self._described(ids):
            if _run(found) in self._ended:
                continue
            state = _state(found)
            before = self._open.get(_run(found))
            if before is None:
                self._line(found.started, Text("started", "cyan"), found)
            if state != (before or _RUNNING):
                await self._state_line(found)
            self._remember(found, state)

    async def _state_line(self, found: Description) -> None:
        now = datetime.now().astimezone()
        if found.closed is not None:
            took = duration(round((found.closed - found.started).total_seconds() * 1000))
            self._line(found.closed, status_text(found.status), found, f"{took}  {await self._outcome(found)}")
        elif found.parked is not None:
            self._line(now, status_text(found.status, parked=True), found, found.parked)
        else:
            self._line(now, Text("resumed", "cyan"), found)

    async def _outcome(self, found: Description) -> str:
        try:
            return f"→ {one_line(await self._client.get(found.id, found.run_id).result(5.0), 80)}"
        except (SagaError, TimeoutError) as error:
            message = getattr(error, "message", "") or getattr(error, "reason", "")
            return f"{cause}: {message}" if (cause := getattr(error, "cause_type", "")) else str(message)

    def _remember(self, found: Description, state: str) -> None:
        if found.closed is None:
            self._open[_run(found)] = state
        else:
            self._open.pop(_run(found), None)
            self._ended[_run(found)] = None
            if len(self._ended) > _REMEMBERED:
                self._ended.popitem(last=False)
        (self._parked.add if found.parked is not None else self._parked.discard)(found.id)

    def _line(self, when: datetime, what: Text, found: Description, more: str = "") -> None:
        what.pad_right(max(0, 10 - len(what)))
        self._console.print(
            Text.assemble(
                (f"{when.astimezone():%H:%M:%S}  ", "dim"),
                what,
                f"  {one_line(found.type, 40)}  ",
                (one_line(found.id, 80), "bold"),
                f"  {one_line(more, 160)}" if more else "",
            ),
            soft_wrap=True,
        )


def _run(found: Description) -> str:
    """Which run it is; one that cannot be read has no run id."""
    return found.run_id or found.id


def _state(found: Description) -> str:
    if found.closed is not None:
        return found.status.value
    return f"parked {found.parked}" if found.parked is not None else _RUNNING
