"""What both stores say of a mailbox: how full it may get, what an entry id looks like, which mail an end must know."""

from __future__ import annotations

import re

from sagas.errors import InvalidArgument
from sagas.store.port import Batch, Transition

MAILBOX_LIMIT = 100_000
"""Entries in one shard's mailbox from which on admissions are answered OVERLOADED."""

Place = tuple[int, int]
"""An entry id as numbers: the milliseconds, and the place within them. Ids do not sort as text."""

_ENTRIES = re.compile(r"\d{1,19}(-\d{1,19})?(,\d{1,19}(-\d{1,19})?)*")  # 19 digits always fit Redis' 64 bits


def place_of(entry: str) -> Place:
    ms, _, sequence = entry.partition("-")
    return int(ms), int(sequence or 0)


def entries_of(batch: Batch) -> list[str]:
    """The mailbox entries a batch deletes.

    Raises: InvalidArgument when one of them, or of the other entries it names, cannot be an entry id: nothing may
    fail half-way.
    """
    entries, others = list(batch.discard), batch.sent
    for step in batch.transitions:
        if step.mail:
            entries += step.mail
        if step.closes:
            others += (step.read_upto,)
    if (entries or others) and not _ENTRIES.fullmatch(",".join((*entries, *others))):
        raise InvalidArgument(f"shard {batch.shard}: not entry ids: {entries!r}, {others!r}")
    return entries


def known_to(closing: Transition) -> Place:
    """Up to where a transition that ends a run knows the mailbox: mail is read in order, so its own mail counts too."""
    return max(place_of(closing.read_upto), *map(place_of, closing.mail), (0, 0))
