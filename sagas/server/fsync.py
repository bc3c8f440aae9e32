"""How long this machine's disk takes to make a write durable: with ``appendfsync always``, every commit waits for it.

Law: measured only when asked for, in a folder on this machine; the disk of a server elsewhere cannot be seen from here.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from sagas.errors import InvalidArgument
from sagas.server.rules import Finding

SLOW_P99_MS = 5.0
"""From here on the doctor warns: group commit hides latency from throughput, but each step still waits for it."""

_WRITE = b"\0" * 512  # about one small commit
_sync = getattr(os, "fdatasync", os.fsync)  # as the server does it where it can


@dataclass(frozen=True, slots=True, kw_only=True)
class FsyncLatency:
    """Milliseconds for an append and its fsync: the median and the slowest hundredth."""

    p50_ms: float
    p99_ms: float


def measure_fsync(folder: Path, n: int = 50) -> FsyncLatency:
    """Append and fsync ``n`` times in a temporary file in ``folder``. Blocks for n times the disk's latency.

    Raises: OSError when the folder cannot be written to; InvalidArgument when ``n`` is not positive.
    """
    if n < 1:
        raise InvalidArgument(f"n={n}: at least one fsync has to be measured")
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        times_ms = sorted(_timed_append_ms(file.fileno()) for _ in range(n))
    return FsyncLatency(p50_ms=_quantile(times_ms, 0.5), p99_ms=_quantile(times_ms, 0.99))


def judge_fsync(latency: FsyncLatency) -> Finding:
    """A warning when the slowest hundredth takes longer than ``SLOW_P99_MS``."""
    measured = f"p50 {latency.p50_ms:.2f} ms, p99 {latency.p99_ms:.2f} ms"
    if latency.p99_ms <= SLOW_P99_MS:
        return Finding(severity="ok", subject="fsync", message=measured)
    return Finding(
        severity="warn",
        subject="fsync",
        message=f"{measured}: every step waits for the disk at least once",
        fix="put the data on a local SSD or NVMe disk with power-loss protection, or use mode 'fast'",
    )


def _timed_append_ms(descriptor: int) -> float:
    began = time.perf_counter()
    os.write(descriptor, _WRITE)
    _sync(descriptor)
    return (time.perf_counter() - began) * 1000


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[math.ceil(share * len(ordered)) - 1]
