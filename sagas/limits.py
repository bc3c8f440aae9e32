"""How large things may get: every limit on size, in one place, with what happens there.

A limit warns at half of itself, once a saga type and process, and refuses at the whole: a payload by an error where it
is made, a history by parking its run, which ``resume()`` lets go on for as much again.
"""

from __future__ import annotations

from dataclasses import dataclass

KB, MB = 1024, 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes in bytes, before a codec; ``history_events`` counts events."""

    payload_bytes: int = 16 * MB  # arguments of one call, or one result: PayloadError
    blob_bytes: int = 256 * KB  # a payload from here on lies beside the history, under a key of its own
    history_events: int = 50_000
    history_bytes: int = 50 * MB


LIMITS = Limits()

RETENTION_DAYS = 30
"""How long an ended run is kept, unless ``@saga(retention=)`` says otherwise."""
