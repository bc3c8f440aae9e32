"""The events of a history as a person or a machine reads them: payloads as values, failures in words."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sagas.cli.text import one_line
from sagas.errors import PayloadError
from sagas.kernel.duration import from_ms
from sagas.kernel.events import Activated, Event
from sagas.kernel.failure import Failure
from sagas.letters import DeadLetter
from sagas.payloads import decode
from sagas.payloads.sealing import opened_words

_ONLY_FOR_MACHINES = frozenset(
    {"id", "run_id", "message_id", "trace", "trace_mode", "reply_to", "secret", "scope", "errors", "started_ms"}
)
_INSTANTS = frozenset({"deadline_ms", "not_before_ms"})
_PLUMBING = (Activated,)
"""Events that tell a person nothing; their places in the history still count."""


def is_plumbing(event: Event) -> bool:
    """Whether the table leaves it out."""
    return isinstance(event, _PLUMBING)


def values_of(event: Event) -> dict[str, Any]:
    """Every field but the time, as plain values."""
    names = [each.name for each in fields(event) if each.name != "at_ms"]
    return {name: _value(name, getattr(event, name)) for name in names}


def json_of(position: int, event: Event) -> dict[str, Any]:
    """The whole event for a machine."""
    when = from_ms(event.at_ms).isoformat()
    return {"position": position, "event": type(event).__name__, "at": when, **values_of(event)}


def values_of_letter(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter for a machine."""
    return {
        "message_id": letter.message_id,
        "name": letter.name,
        "args": _decoded(letter.args) if letter.args else [],
        "reason": letter.reason,
        "at": letter.at.isoformat(),
    }


def words_of(event: Event) -> str:
    """What the table says of it: the fields that say something to a person."""
    told = {name: value for name, value in values_of(event).items() if name not in _ONLY_FOR_MACHINES}
    told |= {name: from_ms(told[name]).isoformat() if told[name] else "" for name in _INSTANTS & told.keys()}
    said = {name: value for name, value in told.items() if value not in ("", None, [], {}, ())}
    if isinstance(failure := said.get("failure"), dict):
        said["failure"] = f"{failure['cause_type']}: {failure['message']} ({failure['outcome']})"
    return "  ".join(f"{name}={one_line(value, 80)}" for name, value in said.items())


def _value(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return _decoded(value)
    if name == "failure" and value:
        failure = Failure.from_row(value)
        return {
            "kind": failure.kind,
            "cause_type": failure.cause_type,
            "message": failure.words,
            "outcome": failure.outcome.value,
            "args": _decoded(failure.args) if failure.args else [],
        }
    if name == "errors":
        return [
            {
                "attempt": attempt,
                "at": from_ms(at_ms).isoformat(),
                "cause_type": cause_type,
                "message": opened_words(message),
            }
            for attempt, at_ms, cause_type, message, *_ in value
        ]
    return opened_words(value) if isinstance(value, str) else value


def _decoded(payload: bytes) -> Any:
    """The value, without the types of anybody's code; a payload that cannot be read must not hide its event."""
    try:
        return decode(payload)
    except PayloadError as error:
        return f"<{len(payload)} bytes that cannot be read: {error}>"
