"""What both stores say of a mailbox: how full it may get, and what an entry id looks like."""

from __future__ import annotations

import re

from sagas.errors import InvalidArgument
from sagas.store.port import Batch

MAILBOX_LIMIT = 100_000
"""Entries in one shard's mailbox from which on admissions are answered OVERLOADED."""

_ENTRIES = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")


def entries_of(batch: Batch) -> list[str]:
    """The mailbox entries a batch deletes.

    Raises: InvalidArgument when one of them, or ``read_upto``, cannot be an entry id: nothing may fail half-way.
    """
    entries = [*batch.discard, *(entry for step in batch.transitions for entry in step.mail)]
    if not _ENTRIES.fullmatch(",".join((batch.read_upto, *entries))):
        raise InvalidArgument(f"shard {batch.shard}: not mailbox entry ids: {batch.read_upto!r}, {entries!r}")
    return entries
