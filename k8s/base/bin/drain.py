"""Empties the Ray node of this pod before the pod ends: a preStop hook, because SIGTERM runs no hook in a Ray actor.

Hosts record what runs and hand their shards back, workers finish their steps, and all of them start again on other
nodes. Law: it is a courtesy. Whatever fails or takes too long here costs the others a lease (4 s) and a repeated
step, which they can stand at any time; so the pod ends whether or not this succeeds.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import Any

import ray
from ray.util import list_named_actors

from actors.names import parse

GRACE_S = 15.0
"""For the steps that run; a host's own grace is 10 s."""
DEADLINE_S = 45
"""From now on, when the pod is gone at the latest (its terminationGracePeriodSeconds)."""

log = logging.getLogger("sagas.drain")


def main() -> None:
    """Drain the node that this process stands beside."""
    ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), log_to_driver=False, logging_level=logging.ERROR)
    here = ray.get_runtime_context().get_node_id()
    close_to_newcomers(here)
    found = actors_on(here)
    for kind, leave, arguments in (("host", "drain", ()), ("worker", "stop", (GRACE_S,))):  # a host waits for its steps
        leaving = {name: handle for (name, handle) in found if parse(name)[0] == kind}
        left = [getattr(handle, leave).remote(*arguments) for handle in leaving.values()]
        _, late = ray.wait(left, num_returns=len(left), timeout=GRACE_S) if left else ([], [])
        for handle in leaving.values():
            ray.kill(handle, no_restart=False)  # Ray starts it again, and not here
        log.info("%d of %d %ss left in order: %s", len(left) - len(late), len(left), kind, ", ".join(leaving))


def close_to_newcomers(node_id: str) -> None:
    """Let Ray place no actor on this node any more; without that, one that leaves could come right back."""
    words = ["--node-id", node_id, "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "the pod ends"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", *words]
    subprocess.run([*command, "--deadline-remaining-seconds", str(DEADLINE_S)], check=True, timeout=GRACE_S)


def actors_on(node_id: str) -> list[tuple[str, Any]]:
    """Hosts and workers of every namespace of ours whose process is on this node, by name."""
    ours = [each for each in list_named_actors(all_namespaces=True) if each["namespace"].startswith("sagas-")]
    named = [(each["name"], each["namespace"]) for each in ours if parse(each["name"])[0] in ("host", "worker")]
    handles = [(name, ray.get_actor(name, namespace=namespace)) for name, namespace in named]
    asked: dict[Any, tuple[str, Any]] = {
        handle.__ray_call__.remote(_node_id): (name, handle) for name, handle in handles
    }
    answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=GRACE_S) if asked else ([], [])
    return [asked[ref] for ref in answered if _answer(ref) == node_id]


def _node_id(_actor: Any) -> str:
    return ray.get_runtime_context().get_node_id()


def _answer(ref: Any) -> str | None:
    try:
        answer: str = ray.get(ref)
    except ray.exceptions.RayError as error:  # it is away, and so it need not leave
        log.warning("an actor cannot be asked where it is: %s", error)
        return None
    return answer


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="drain: %(message)s")
    main()
