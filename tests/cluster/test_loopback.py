"""A local cluster is nobody else's: no process of it listens on an address that other machines can reach."""

from __future__ import annotations

import ipaddress

import psutil

from tests.cluster.conftest import StartCluster
from tests.cluster.running import descendants


def test_nothing_listens_beyond_this_machine(start_cluster: StartCluster, debian_redis_url: str) -> None:
    with start_cluster(debian_redis_url) as cluster:
        processes = descendants()
        assert {process["pid"] for process in (*cluster.hosts(), *cluster.workers())} <= {
            each.pid for each in processes
        }
        listening = [
            (process.name(), connection.laddr)
            for process in (psutil.Process(), *processes)
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        ]
    assert listening, "Ray's servers do listen"
    assert [each for each in listening if not is_loopback(each[1].ip)] == []


def is_loopback(ip: str) -> bool:
    address = ipaddress.ip_address(ip)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
