"""A worker's reports on their way to hosts: kept until the host has made them durable, else put into the mailbox.

Law: a report leaves this process's memory only when a commit holds what it led to, or when the mailbox holds it. A
host that is gone, or does not own the instance (any more), never loses one: whoever owns it reads its mail.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from actors.calls import GONE, Background, Peer
from sagas.engine.steps import StepKey, StepReport, encode_reports

log = logging.getLogger("sagas.actors")

REMEMBERED = 10_000
"""Steps whose last attempt is known after its report was settled."""

_LARGE = 200  # bytes of a result
_ASK_AGAIN_S = 0.5
"""How often a host with nothing new is asked what it has settled; a host that is gone is found out so too."""

_BATCH = 500

ToMailbox = Callable[[Sequence[StepReport]], Awaitable[None]]
"""Makes reports durable in the mailboxes of their instances; returns once they are."""


@dataclass(slots=True)
class _Kept:
    """A report; ``settled`` once it is durable somewhere else, ``recorded`` when that is its history."""

    report: StepReport
    settled: bool = False
    recorded: bool = False


class Reporting:
    """All reports of one worker."""

    def __init__(self, worker: str, namespace: str, to_mailbox: ToMailbox) -> None:
        self._worker = worker
        self._namespace = namespace
        self._to_mailbox = to_mailbox
        self._kept: OrderedDict[StepKey, _Kept] = OrderedDict()
        self._posts: dict[str, _Post] = {}
        self._background = Background()

    def report(self, host: str, report: StepReport) -> None:
        """Tell ``host`` what became of an attempt."""
        self._kept[report.key] = _Kept(report)
        self._kept.move_to_end(report.key)
        self._post(host).put(report)

    def known(self, key: StepKey) -> StepReport | None:
        """The last report on a step, if it is remembered."""
        kept = self._kept.get(key)
        return None if kept is None else kept.report

    def again(self, host: str, key: StepKey, attempt: int) -> StepReport | None:
        """Tell ``host`` again, as the outcome of ``attempt``; None when what is known is no outcome of that one.

        A success holds for every later attempt too: the work is done. A failure is only its own attempt's. Where the
        outcome is in a history, nobody can mean it.
        """
        kept = self._kept.get(key)
        if kept is None or kept.recorded:
            return None
        report = kept.report
        if report.attempt > attempt or (report.result is None and report.attempt < attempt):
            return None
        report = replace(report, attempt=attempt)
        self.report(host, report)
        return report

    def unsettled(self) -> list[tuple[StepKey, int]]:
        """Steps and attempts whose reports nobody has confirmed yet."""
        return [(key, kept.report.attempt) for key, kept in self._kept.items() if not kept.settled]

    def settle(self, reports: Sequence[StepReport], *, recorded: bool) -> None:
        """These are durable: what they led to is ``recorded``, or they are in the mailbox."""
        for report in reports:
            kept = self._kept.get(report.key)
            if kept is not None and kept.report.attempt <= report.attempt:
                kept.settled, kept.recorded = True, recorded
                if recorded and len(kept.report.result or b"") > _LARGE:
                    kept.report = replace(kept.report, result=b"")  # the history has it; here it only costs memory
        while len(self._kept) > REMEMBERED and next(iter(self._kept.values())).settled:
            self._kept.popitem(last=False)

    async def divert(self, reports: Sequence[StepReport]) -> None:
        """Their host cannot take them: the mailbox does."""
        if reports:
            await self._to_mailbox(reports)
            self.settle(reports, recorded=False)

    async def drained(self) -> None:
        """Returns when every report is settled."""
        while self._background.tasks:
            await asyncio.wait(self._background.tasks)

    async def close(self) -> None:
        """Put what is not settled into the mailbox, and end."""
        await self._background.cancel()
        await self.divert([kept.report for kept in self._kept.values() if not kept.settled])

    def _post(self, host: str) -> _Post:
        if host not in self._posts:
            self._posts[host] = _Post(self, self._background, Peer(host, self._namespace), self._worker)
        return self._posts[host]


class _Post:
    """The way to one host: one call at a time, with all that has collected; what it settled comes back with the answer.

    Items are numbered for the host's answers. A host process that was started anew (another ``process``) knows none of
    the numbers given to the one before.
    """

    def __init__(self, reporting: Reporting, background: Background, peer: Peer, worker: str) -> None:
        self._reporting = reporting
        self._background = background
        self._peer = peer
        self._worker = worker
        self._process = ""
        self._number = 0
        self._new: dict[int, StepReport] = {}
        self._sent: dict[int, StepReport] = {}
        self._wanted = asyncio.Event()
        self._running = False

    def put(self, report: StepReport) -> None:
        self._number += 1
        self._new[self._number] = report
        self._wanted.set()
        if not self._running:
            self._running = True
            self._background.start(self._run())

    async def _run(self) -> None:
        try:
            while self._new or self._sent:
                if not self._new:
                    await self._rest()
                try:
                    await self._exchange()
                except Exception:
                    log.exception("reports to %s stay here for now", self._peer.name)
                    await asyncio.sleep(_ASK_AGAIN_S)
        finally:
            self._running = False

    async def _rest(self) -> None:
        self._wanted.clear()
        try:
            async with asyncio.timeout(_ASK_AGAIN_S):
                await self._wanted.wait()
        except TimeoutError:
            return

    async def _exchange(self) -> None:
        """Hand over what is new, learn what became of what was handed over before."""
        batch = dict(list(self._new.items())[:_BATCH])
        for number in batch:
            del self._new[number]
        try:
            process, settled, refused = await self._peer.call(
                "deliver", self._worker, list(batch), encode_reports(batch.values())
            )
        except GONE as error:
            log.info("%s is away (%s): its reports go into the mailbox", self._peer.name, type(error).__name__)
            self._sent |= batch
            await self._divert(self._sent)
            self._sent = {}
            return
        except BaseException:
            self._new = {**batch, **self._new}
            raise
        forgotten: dict[int, StepReport] = {}
        if process != self._process:
            forgotten, self._sent, self._process = self._sent, {}, process
        self._sent |= batch
        known = [self._sent.pop(number) for number in settled if number in self._sent]
        self._reporting.settle(known, recorded=True)
        elsewhere = {number: self._sent.pop(number) for number in refused if number in self._sent}
        await self._divert({**forgotten, **elsewhere})

    async def _divert(self, reports: dict[int, StepReport]) -> None:
        await self._reporting.divert(list(reports.values()))
