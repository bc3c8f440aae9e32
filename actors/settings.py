"""What every actor of a cluster is started with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """``modules`` are dotted names; each actor imports them itself. ``credits``: steps a worker runs at once."""

    url: str
    modules: tuple[str, ...]
    namespace: str = "default"
    lease_ms: int = 4000
    credits: int = 64
    queues: tuple[str, ...] = ("default",)
    runtime_env: dict[str, Any] | None = None
