"""The names of our actors within Ray: a name is discovery, never mutual exclusion."""

from __future__ import annotations

SUPERVISOR = "supervisor"


def ray_namespace(namespace: str) -> str:
    """The Ray namespace of one sagas namespace."""
    return f"sagas-{namespace}"


def host_name(slot: int) -> str:
    """Of the host in ``slot``."""
    return f"host-{slot}"


def worker_name(queue: str, slot: int) -> str:
    """Of the worker in ``slot`` of ``queue``."""
    return f"worker-{queue}-{slot}"


def dispatcher_name(queue: str) -> str:
    """Of the queue's dispatcher."""
    return f"dispatcher-{queue}"
