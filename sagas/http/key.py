"""Idempotency keys: what makes a request that is sent again the same request.

Law: everything about a request that must come out the same when it is sent again is derived here, from the header
``Idempotency-Key``, the operation and the saga's id; without the header it is random. The store remembers
``message_id`` for 25 hours; the ids of runs and of recorded messages also carry the ``digest`` of the body, which is
how another request under the same key is told from the same one (``seen.py``).
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sagas.http.problem import INVALID, Refused

HEADER = "Idempotency-Key"
_KEY = re.compile(r'"([ !#-\[\]-~]{1,255})"|([!#-\[\]-~]{1,255})')
"""The string of RFC 8941 that the IETF draft asks for, or the same without its quotes, as most clients send it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKey:
    """One request. ``given``: whether the client named it."""

    key: str  # 32 hex digits of the operation, the saga's id and the header
    digest: str  # 16 hex digits of the body
    given: bool

    @property
    def message_id(self) -> str:
        """Under which the store remembers the request."""
        return f"http-{self.key}"

    @property
    def mail_id(self) -> str:
        """The id of the message itself, as the history records it."""
        return f"{self.message_id}-{self.digest}"

    @property
    def run_id(self) -> str:
        """Of the run that this request starts."""
        return self.key[:16] + self.digest

    def began(self, run_id: str) -> bool:
        """Whether this run was started under the same key, by this request or by another."""
        return run_id.startswith(self.key[:16])

    def began_by_another(self, run_id: str) -> bool:
        """Whether this run was started under the same key by a request with another body."""
        return self.began(run_id) and run_id != self.run_id


def header_of(values: Sequence[str]) -> str | None:
    """The key in the request's ``Idempotency-Key`` headers, None without any. Raises: Refused."""
    if not values:
        return None
    found = _KEY.fullmatch(values[0].strip())
    if found is None or len(values) > 1:
        raise Refused(
            INVALID, f"The {HEADER} is one string of 1 to 255 printable ASCII characters, for example a UUID.",
            errors=[{"detail": "not one printable ASCII string", "parameter": HEADER, "in": "header"}],
        )  # fmt: skip
    return found[1] or found[2]


def key_of(header: str | None, operation: str, id: str, body: object) -> RequestKey:
    """The key of a request for ``operation`` on the saga ``id``; ``body`` is all else it asks for, as JSON values."""
    if header is None:
        return RequestKey(key=uuid.uuid4().hex, digest=uuid.uuid4().hex[:16], given=False)
    content = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return RequestKey(key=_hash("\n".join((operation, header, id)))[:32], digest=_hash(content)[:16], given=True)


def id_of(header: str | None) -> str:
    """The id of a saga that is started without one: made of the key, so that a second start finds the first."""
    return uuid.uuid4().hex if header is None else _hash(f"id\n{header}")[:32]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
