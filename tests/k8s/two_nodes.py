"""A Ray of two nodes and our actors on it, run as a script: ``two_nodes.py REDIS_URL NAMESPACE DRAIN``.

It runs the hook, the script DRAIN, beside one of the nodes (Ray takes the head for the local one). It says as JSON
which actors were on that node before, which are there afterwards, and which of all are gone; and what a saga returns.
"""

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
from typing import Any

import ray
from ray.cluster_utils import Cluster
from ray.util import list_named_actors

import sagas
from examples.quickstart import book_trip

KINDS = ("host", "worker")
PATIENCE_S = 60.0
WORKERS = 3
LOOPBACK = {"node_ip_address": "127.0.0.1"}


def main(url: str, namespace: str, drain: str) -> None:
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **LOOPBACK})
    nodes.add_node(num_cpus=1, **LOOPBACK)
    os.environ["RAY_ADDRESS"] = nodes.address
    try:
        with sagas.up(["examples.quickstart"], url, hosts=2, workers=WORKERS, namespace=namespace) as cluster:
            drained = ray.get_runtime_context().get_node_id()
            for workers in itertools.count(WORKERS):  # Ray places them at random
                cluster.scale(workers=workers)
                if on(drained, before := places()):
                    break
            subprocess.run([sys.executable, drain], check=True, stdout=sys.stderr)
            after = places()
            result = asyncio.run(book_a_trip(url, namespace))
        gone = sorted(set(before) - set(after))
        found = {"before": on(drained, before), "after": on(drained, after), "gone": gone, "result": result}
        sys.stdout.write(json.dumps(found))
    finally:
        ray.shutdown()
        nodes.shutdown()


def places() -> dict[str, str]:
    """The node of each host and worker, once each of them is up."""
    actors = [each for each in list_named_actors(all_namespaces=True) if each["name"].startswith(KINDS)]
    return {each["name"]: place(each["name"], each["namespace"]) for each in actors}


def place(name: str, namespace: str) -> str:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            found: str = ray.get(ray.get_actor(name, namespace=namespace).__ray_call__.remote(node_id))
        except ray.exceptions.RayActorError:  # it starts just now
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return found


def node_id(_actor: Any) -> str:
    return ray.get_runtime_context().get_node_id()


def on(node: str, found: dict[str, str]) -> list[str]:
    return sorted(name for name, place in found.items() if place == node)


async def book_a_trip(url: str, namespace: str) -> str:
    client = await sagas.connect(url, namespace)
    try:
        return await client.execute(book_trip, "Rome", 80_00)
    finally:
        await client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
