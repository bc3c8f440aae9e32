"""The ledger of the services: what was asked, what came of it, and what can be read off it afterwards.

Law: entries are only ever added, one JSON line each, written before anybody is answered; everything the services know
after a crash, and everything a test checks, is read from here. A line is one ``write`` to an ``O_APPEND`` file, which a
killed process cannot take back; a torn last line (never answered) is cut off when the journal is opened again.
"""

from __future__ import annotations

import enum
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


class Op(enum.StrEnum):
    """What can be asked; also the path of the request."""

    CREATE_ACCOUNT = "accounts"
    REMOVE_ACCOUNT = "accounts/removal"
    CHECK_CARD = "cards/check"
    CHARGE = "charges"
    MAIL = "mails"


class Kind(enum.StrEnum):
    """What an entry says."""

    REQUEST = "request"  # somebody asked
    EFFECT = "effect"  # it was done, once for a key
    REFUSAL = "refusal"  # it was refused, and nothing happened
    REPEAT = "repeat"  # a key that had been decided was asked again: nothing happened, same answer
    ANSWERED = "answered"  # the decision reached whoever asked, without an injected fault in its way
    FAULT = "fault"  # a fault was ordered (``detail`` holds it)
    FAULT_USED = "fault used"  # ... and hit a request (``detail`` is the seq of its order)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line. ``month`` and ``cents`` belong to charges; ``detail`` is a mail's subject, or the answer given."""

    seq: int
    kind: Kind
    op: Op | None = None
    user: str = ""
    key: str = ""
    month: int = 0
    cents: int = 0
    detail: str = ""
    undo_of: str = ""

    def to_json(self) -> str:
        return json.dumps({name: value for name, value in asdict(self).items() if value not in ("", None)})

    @staticmethod
    def of(fields: Mapping[str, Any]) -> Entry:
        """The entry of a decoded line. Raises: ValueError or TypeError when it is none."""
        op = fields.get("op")
        return Entry(**{**fields, "kind": Kind(fields["kind"]), "op": None if op is None else Op(op)})


class Journal:
    """The file, for the one process that writes it; not for several threads at once."""

    def __init__(self, path: Path) -> None:
        whole = _whole_lines(path) if path.exists() else b""
        self.entries = decoded(whole)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.ftruncate(self._file, len(whole))

    def add(self, kind: Kind, **fields: Any) -> Entry:
        """Writes one entry; when it returns, the entry outlives this process."""
        entry = Entry(seq=len(self.entries), kind=kind, **fields)
        os.write(self._file, f"{entry.to_json()}\n".encode())
        self.entries.append(entry)
        return entry

    def close(self) -> None:
        os.close(self._file)


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the entries add up to."""

    entries: tuple[Entry, ...]

    @staticmethod
    def read(path: Path) -> Ledger:
        """The ledger as the file has it now; its writer may be at work."""
        return Ledger(tuple(decoded(_whole_lines(path))))

    def effects(self, op: Op) -> list[Entry]:
        return [entry for entry in self.entries if entry.kind is Kind.EFFECT and entry.op is op]

    def charges(self) -> Counter[tuple[str, int]]:
        """How often each (user, month) was charged."""
        return Counter((entry.user, entry.month) for entry in self.effects(Op.CHARGE))

    def mails(self) -> Counter[tuple[str, str]]:
        """How often each (user, subject) was sent."""
        return Counter((entry.user, entry.detail) for entry in self.effects(Op.MAIL))

    def refusals(self, op: Op) -> Counter[str]:
        """How often each user was refused."""
        return Counter(entry.user for entry in self.entries if entry.kind is Kind.REFUSAL and entry.op is op)

    def accounts(self) -> dict[str, str]:
        """The accounts created and not removed since, by undo or by leaving: user -> key of the creation."""
        standing: dict[str, str] = {}
        for entry in self.entries:
            book(standing, entry)
        return standing

    def count(self, kind: Kind) -> int:
        return sum(entry.kind is kind for entry in self.entries)

    def unanswered(self) -> int:
        """Decided requests whose answer a fault, or a crash, kept from whoever asked: each may be asked again."""
        decided = (Kind.EFFECT, Kind.REFUSAL, Kind.REPEAT)
        return sum(entry.kind in decided for entry in self.entries) - self.count(Kind.ANSWERED)


def book(accounts: dict[str, str], entry: Entry) -> None:
    """Applies an entry to the accounts (user -> key of the creation); an undo removes only what its action made."""
    if entry.kind is not Kind.EFFECT:
        return
    if entry.op is Op.CREATE_ACCOUNT:
        accounts[entry.user] = entry.key
    elif entry.op is Op.REMOVE_ACCOUNT and entry.undo_of in ("", accounts.get(entry.user)):
        accounts.pop(entry.user, None)


def decoded(lines: bytes) -> list[Entry]:
    """The entries of complete JSON lines."""
    return [Entry.of(json.loads(line)) for line in lines.splitlines()]


def _whole_lines(path: Path) -> bytes:
    """The file up to its last complete line: the end of a line that was being written is left out."""
    text = path.read_bytes()
    return text[: text.rfind(b"\n") + 1]
