"""What every actor of a cluster is started with."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sagas.server import redact


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """``modules`` are dotted names; each actor imports them itself. ``credits``: steps a worker has at once.

    ``threads``: those of them that may be plain functions at work; the others wait for one.
    """

    url: str
    modules: tuple[str, ...]
    namespace: str = "default"
    lease_ms: int = 4000
    credits: int = 256
    threads: int = 64
    queues: tuple[str, ...] = ("default",)
    runtime_env: dict[str, Any] | None = None

    def differences(self, other: ClusterSettings) -> list[str]:
        """What ``other`` has otherwise, for a message; the order in which modules and queues are named is nothing."""
        names = [field.name for field in fields(self)]
        return [
            other._shown(name) for name in names if _unordered(getattr(self, name)) != _unordered(getattr(other, name))
        ]

    def _shown(self, name: str) -> str:
        value = _unordered(getattr(self, name))
        match name:
            case "url":
                return f"url={redact(self.url)!r}"
            case "runtime_env":  # it may hold secrets
                return f"{'no' if value is None else 'another'} runtime_env"
            case _:
                return f"{name}={value!r}"


def _unordered(value: object) -> object:
    return sorted(set(value)) if isinstance(value, tuple) else value
