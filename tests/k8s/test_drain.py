"""The hook that empties a Ray node before its pod ends, on a Ray of two nodes."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.k8s.manifests import BASE, K8S
from tests.servers import Server

DRAIN = BASE / "bin" / "drain.py"
SCRIPT = Path(__file__).parent / "two_nodes.py"


@pytest.mark.timeout(280)
def test_hosts_and_workers_leave_the_node_and_go_on_elsewhere(debian_server: Server, namespace: str) -> None:
    own = {
        "PYTHONPATH": str(K8S.parent),
        "PYTHONHASHSEED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on Linux too: Ray listens on the loopback address alone
    }
    others = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SAGAS_"))}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), debian_server.url, namespace, str(DRAIN)],
        env={**others, **own},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["before"] != []
    assert found["after"] == []
    assert found["gone"] == []
    assert found["result"] == "Rome-17"
