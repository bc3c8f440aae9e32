"""How anybody talks to the services: one HTTP request, one answer, no retries (the sagas own those)."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from examples.subscription.faults import Fault
from examples.subscription.ledger import Entry, Op, decoded

TIMEOUT_S = 2.0
"""How long a client waits for the services before it gives up without knowing what happened."""

NO_ANSWER = (OSError, http.client.HTTPException)
"""What is raised when there is no (whole) answer: too late, cut off, or nobody there."""


def ask(service: str, op: Op, key: str, *, undo_of: str = "", **fields: Any) -> tuple[int, str]:
    """Asks for one operation under an idempotency key; the status and text of the answer.

    Raises: one of ``NO_ANSWER``; it is unknown then whether anything was done.
    """
    headers = {"Idempotency-Key": key} | ({"Undo-Of": undo_of} if undo_of else {})
    return _send(service, "POST", f"/{op}", json.dumps(fields), headers)


def order(service: str, fault: Fault) -> None:
    """Tells the services to make a fault. Raises: ValueError when they refuse."""
    status, text = _send(service, "POST", "/faults", fault.to_json(), {})
    if status != 200:
        raise ValueError(text)


def entries(service: str, after: int = 0) -> list[Entry]:
    """The ledger from entry ``after`` on, from the running services. Raises: one of ``NO_ANSWER``."""
    return decoded(_send(service, "GET", f"/ledger?after={after}", "", {})[1].encode())


def _send(service: str, method: str, path: str, body: str, headers: Mapping[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(service).netloc, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
