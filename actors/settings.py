"""What every actor of a cluster is started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from sagas.kernel.resources import shown
from sagas.server import redact
from sagas.workers import DEFAULT, Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """``modules`` are dotted names; each actor imports them itself. ``queues``: their workers, by name.

    ``dedicated``: instances that have a process of their own at once, a host; the next one takes the place of one that
    sleeps. How many workers a queue has changes as long as the cluster runs; that number is where it began.
    """

    url: str
    modules: tuple[str, ...]
    namespace: str = "default"
    lease_ms: int = 4000
    queues: Mapping[str, Workers] = field(default_factory=lambda: {DEFAULT: Workers()})
    runtime_env: dict[str, Any] | None = None
    dedicated: int = 64

    def differences(self, other: ClusterSettings) -> list[str]:
        """What ``other`` has otherwise, for a message; the order in which modules and queues are named is nothing."""
        names = [field.name for field in fields(self)]
        return [other._shown(name) for name in names if self._comparable(name) != other._comparable(name)]

    def _comparable(self, name: str) -> object:
        if name == "queues":  # how many workers they have is no difference
            return {queue: replace(workers, count=0) for queue, workers in self.queues.items()}
        value = getattr(self, name)
        return sorted(set(value)) if isinstance(value, tuple) else value

    def _shown(self, name: str) -> str:
        value = self._comparable(name)
        match name:
            case "url":
                return f"url={redact(self.url)!r}"
            case "runtime_env":  # it may hold secrets
                return f"{'no' if value is None else 'another'} runtime_env"
            case "queues":
                return f"the queues {', '.join(sorted(map(self._shown_queue, self.queues)))}"
            case _:
                return f"{name}={value!r}"

    def _shown_queue(self, queue: str) -> str:
        workers = self.queues[queue]
        asked = [] if workers.ray is None else [shown(workers.ray)]
        return f"{queue} ({', '.join([*asked, f'concurrency={workers.concurrency}', f'threads={workers.threads}'])})"
