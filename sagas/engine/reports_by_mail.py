"""Reports through the mailbox: the way for results whose host is gone, or is not the owner any more.

Law: it returns when every report is durable; an instance that does not exist (any more) needs none. A report that
arrives twice, by mail and by call, is taken once: its attempt's number fences it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from sagas.engine.message import Reported, encode_message
from sagas.engine.steps import StepReport, encode_report
from sagas.errors import StoreUnavailable
from sagas.store.port import Admission, AdmissionVerdict, Store

log = logging.getLogger("sagas.engine")

_AGAIN_S = 0.5


async def mail_reports(store: Store, reports: Sequence[StepReport]) -> None:
    """Put ``reports`` into the mailboxes of their instances; tries until the store takes them."""
    await asyncio.gather(*(_mail(store, report) for report in reports))


async def _mail(store: Store, report: StepReport) -> None:
    message = Reported(message_id=f"{report.run_id}/{report.step}/{report.attempt}", report=encode_report(report))
    admission = Admission(
        id=report.id,
        kind="read",  # also when the run has ended: it is simply discarded then
        message_id=message.message_id,
        mail=encode_message(message),
        remember_ms=0,
    )
    while True:
        try:
            admitted = await store.enqueue(admission)
        except StoreUnavailable as error:
            log.warning("a report for %r waits for the store: %s", report.id, error)
        else:
            if admitted.verdict is not AdmissionVerdict.OVERLOADED:
                return
        await asyncio.sleep(_AGAIN_S)
