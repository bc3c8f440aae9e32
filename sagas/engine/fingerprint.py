"""Which code a host has: a digest of the source files of the package that declares a saga.

Law: two digests that agree say nothing but that the files do. It decides one thing only: whether a parked run is tried
again by an owner of its own accord, because something may have been mended; it is never compared with a history.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from pathlib import Path

from sagas.kernel.saga import SagaType


def fingerprint(saga_type: SagaType) -> str:
    """Of all modules loaded from the top-level package in which the type is declared; "" where files cannot be read."""
    return _of_package(saga_type.module.partition(".")[0])


@functools.cache  # what a process has loaded, it runs until its end
def _of_package(package: str) -> str:
    files = sorted(
        (name, file)
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == package and isinstance(file := getattr(module, "__file__", None), str)
    )
    digest = hashlib.blake2b(digest_size=8)
    try:
        for name, file in files:
            digest.update(name.encode() + b"\0" + hashlib.sha256(Path(file).read_bytes()).digest())
    except OSError:
        return ""
    return digest.hexdigest() if files else ""
