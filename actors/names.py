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


def task_name(run_id: str, step: int, attempt: int) -> str:
    """Of the process that one attempt has for itself; an attempt has no other, ever."""
    return f"task-{run_id}-{step}-{attempt}"


def saga_name(id: str) -> str:
    """Of the process that a dedicated instance has for itself."""
    return f"saga-{id}"


def parse(name: str) -> tuple[str, str, int]:
    """(kind, queue, slot) of the actor of this name: ``("host", "", 0)``, ``("worker", "default", 0)``, ...

    One that nobody looks after (of a task, of a saga) has its kind alone.
    """
    kind, _, rest = name.partition("-")
    match kind:
        case "host":
            return kind, "", int(rest)
        case "worker":
            queue, _, slot = rest.rpartition("-")
            return kind, queue, int(slot)
        case "dispatcher":
            return kind, rest, 0
        case _:
            return kind, "", 0
