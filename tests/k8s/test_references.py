"""Whatever one manifest says of another is so: selectors, names, ports, volumes, addresses; and who may reach whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.k8s.manifests import Manifest, Template, named, of_kind, selects, templates

HEAD_SERVICE = "sagas-head-svc"
"""KubeRay makes it: the name of the RayCluster and this ending."""


def test_a_controller_finds_its_own_pods_and_no_others(example: list[Manifest]) -> None:
    pods = list(templates(example))
    for each in of_kind(example, "Deployment", "StatefulSet"):
        owner = f"{each['kind']}/{each['metadata']['name']}"
        assert _owners(pods, each["spec"]["selector"]) == [owner]


def test_a_service_leads_to_the_pods_of_one_owner_that_have_its_port(example: list[Manifest]) -> None:
    for service in of_kind(example, "Service"):
        found = [pod for pod in templates(example) if selects({"matchLabels": service["spec"]["selector"]}, pod.labels)]
        assert len(found) == 1, service["metadata"]["name"]
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(_ports(found[0]))


def test_a_statefulset_has_its_service(example: list[Manifest]) -> None:
    for each in of_kind(example, "StatefulSet"):
        named(example, "Service", each["spec"]["serviceName"])


def test_budgets_are_for_pods_of_which_there_are_several(example: list[Manifest]) -> None:
    pods = list(templates(example))
    owners = [_owners(pods, each["spec"]["selector"]) for each in of_kind(example, "PodDisruptionBudget")]
    assert sorted(owners) == [["Deployment/sagas-http"], ["RayCluster/sagas/nodes"]]


def test_pods_are_spread_among_their_like(example: list[Manifest]) -> None:
    spread = []
    for pod in templates(example):
        for constraint in pod.spec.get("topologySpreadConstraints", []):
            assert selects(constraint["labelSelector"], pod.labels), pod.owner
            spread.append(pod.owner)
    assert {*spread} == {"Deployment/sagas-http", "RayCluster/sagas/nodes"}


@pytest.mark.parametrize(
    ("policy", "protected", "allowed"),
    [
        (
            "sagas-store",
            ["StatefulSet/sagas-store"],
            ["Deployment/sagas-http", "Deployment/sagas-up", "RayCluster/sagas/headgroup", "RayCluster/sagas/nodes"],
        ),
        ("sagas-gcs", ["StatefulSet/sagas-gcs"], ["RayCluster/sagas/headgroup"]),
        (
            "sagas-ray",
            ["Deployment/sagas-up", "RayCluster/sagas/headgroup", "RayCluster/sagas/nodes"],
            ["Deployment/sagas-up", "RayCluster/sagas/headgroup", "RayCluster/sagas/nodes"],
        ),
    ],
)
def test_who_may_reach_whom(example: list[Manifest], policy: str, protected: list[str], allowed: list[str]) -> None:
    pods = list(templates(example))
    spec = named(example, "NetworkPolicy", policy)["spec"]
    assert "Ingress" in spec["policyTypes"]
    assert _owners(pods, spec["podSelector"]) == protected
    ((rule,),) = (spec["ingress"],)
    assert all(set(source) == {"podSelector"} for source in rule["from"]), "from this namespace alone"
    assert sorted({owner for source in rule["from"] for owner in _owners(pods, source["podSelector"])}) == allowed


def test_every_pod_has_a_network_policy(example: list[Manifest]) -> None:
    policies = of_kind(example, "NetworkPolicy")
    for pod in templates(example):
        assert [each for each in policies if selects(each["spec"]["podSelector"], pod.labels)], pod.owner


def test_a_redis_opens_no_connection_of_its_own(example: list[Manifest]) -> None:
    for name in ("sagas-store", "sagas-gcs"):
        spec = named(example, "NetworkPolicy", name)["spec"]
        assert "Egress" in spec["policyTypes"]
        assert "egress" not in spec


def test_network_policies_name_ports_that_the_pods_have(example: list[Manifest]) -> None:
    for policy in of_kind(example, "NetworkPolicy"):
        protected = [pod for pod in templates(example) if selects(policy["spec"]["podSelector"], pod.labels)]
        wanted = {port["port"] for rule in policy["spec"]["ingress"] for port in rule.get("ports", [])}
        assert all(wanted <= set(_ports(pod)) for pod in protected), policy["metadata"]["name"]


def test_every_configmap_and_secret_that_is_needed_is_there(example: list[Manifest]) -> None:
    needed = set(_references(of_kind(example, "Deployment", "StatefulSet", "RayCluster")))
    assert {kind for kind, _, _ in needed} == {"ConfigMap", "Secret"}
    for kind, name, key in needed:
        found = named(example, kind, name)
        assert key is None or key in found["data"], (kind, name, key)


def test_what_is_there_is_needed(example: list[Manifest]) -> None:
    needed = {
        (kind, name) for kind, name, _ in _references(of_kind(example, "Deployment", "StatefulSet", "RayCluster"))
    }
    made = {(each["kind"], each["metadata"]["name"]) for each in of_kind(example, "ConfigMap", "Secret")}
    assert made == needed


def test_spans_are_exported_only_where_somebody_asks_for_it(example: list[Manifest]) -> None:
    optional = [
        (pod.owner, source["configMapRef"])
        for pod in templates(example)
        for container in pod.spec["containers"]
        for source in container.get("envFrom", [])
        if source["configMapRef"].get("optional")
    ]
    assert {owner for owner, _ in optional} == {
        "Deployment/sagas-http",
        "Deployment/sagas-up",
        "RayCluster/sagas/headgroup",
        "RayCluster/sagas/nodes",
    }
    assert {source["name"] for _, source in optional} == {"sagas-telemetry"}


def test_what_a_container_mounts_is_a_volume_of_its_pod(example: list[Manifest]) -> None:
    claims = {
        f"StatefulSet/{each['metadata']['name']}": [
            claim["metadata"]["name"] for claim in each["spec"]["volumeClaimTemplates"]
        ]
        for each in of_kind(example, "StatefulSet")
    }
    for pod in templates(example):
        volumes = [each["name"] for each in pod.spec["volumes"]] + claims.get(pod.owner, [])
        mounted = {mount["name"] for container in pod.containers for mount in container["volumeMounts"]}
        assert mounted == set(volumes), pod.owner


def test_probes_ask_a_port_that_the_container_has(example: list[Manifest]) -> None:
    for pod in templates(example):
        for container in pod.spec["containers"]:
            ports = {port["name"] for port in container.get("ports", [])}
            for probe in (container.get("livenessProbe"), container.get("readinessProbe")):
                for how in ("tcpSocket", "httpGet"):
                    assert probe is None or how not in probe or probe[how]["port"] in ports, pod.owner


def test_the_probe_of_a_ray_node_asks_the_port_that_its_raylet_is_given(example: list[Manifest]) -> None:
    (group,) = named(example, "RayCluster", "sagas")["spec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    assert [str(port["containerPort"]) for port in container["ports"]] == [group["rayStartParams"]["node-manager-port"]]


def test_sagas_up_ends_when_its_raylet_has(example: list[Manifest]) -> None:
    (container,) = named(example, "Deployment", "sagas-up")["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    assert f"--node-manager-port {port['containerPort']}\n" in container["command"][2]
    assert container["livenessProbe"]["tcpSocket"] == {"port": port["name"]}
    assert container["livenessProbe"]["terminationGracePeriodSeconds"] <= 5, "Ray's memory is lost: no order to keep"


def test_every_address_is_a_service_that_exists_on_its_port(example: list[Manifest]) -> None:
    services = {
        each["metadata"]["name"]: {port["port"] for port in each["spec"]["ports"]}
        for each in of_kind(example, "Service")
    }
    services[HEAD_SERVICE] = {6379}
    cluster = named(example, "RayCluster", "sagas")
    addresses = [cluster["spec"]["gcsFaultToleranceOptions"]["redisAddress"]]
    for pod in templates(example):
        for container in pod.containers:
            for each in container.get("env", []):
                if each["name"] in ("SAGAS_URL", "RAY_ADDRESS"):
                    value = each["value"]
                    addresses.append(value if "://" in value else f"ray://{value}")
    hosts = {urlsplit(address).hostname for address in addresses}
    assert hosts == {"sagas-store", "sagas-gcs", HEAD_SERVICE}
    assert f"{cluster['metadata']['name']}-head-svc" == HEAD_SERVICE
    for address in addresses:
        parts = urlsplit(address)
        assert parts.port in services[parts.hostname or ""], address


def test_the_passwords_in_urls_are_variables_that_come_before(example: list[Manifest]) -> None:
    for pod in templates(example):
        for container in pod.containers:
            before: set[str] = set()
            for each in container.get("env", []):
                for name in _variables(each.get("value", "")):
                    assert name in before, f"{pod.owner}: Kubernetes would leave $({name}) as it is"
                before.add(each["name"])


def test_everything_is_in_one_namespace(example: list[Manifest]) -> None:
    (namespace,) = of_kind(example, "Namespace")
    inside = [each for each in example if each["kind"] != "Namespace"]
    assert {each["metadata"]["namespace"] for each in inside} == {namespace["metadata"]["name"]}


# --- what is asked of manifests


def _owners(pods: list[Template], selector: Manifest) -> list[str]:
    return sorted(pod.owner for pod in pods if selects(selector, pod.labels))


def _ports(pod: Template) -> list[str]:
    return [port["name"] for container in pod.spec["containers"] for port in container.get("ports", [])]


def _variables(text: str) -> list[str]:
    return [part.partition(")")[0] for part in text.split("$(")[1:]]


def _references(value: Any) -> Iterator[tuple[str, str, str | None]]:
    """(kind, name, key or None) of each ConfigMap and Secret that must be there."""
    if isinstance(value, list):
        for each in value:
            yield from _references(each)
    elif isinstance(value, dict):
        for name, part in value.items():
            match name:
                case "configMapKeyRef" | "secretKeyRef":
                    yield ("ConfigMap" if name.startswith("config") else "Secret", part["name"], part["key"])
                case "configMapRef" | "configMap" if not part.get("optional"):
                    yield "ConfigMap", part["name"], None
                case "secret":
                    yield "Secret", part["secretName"], None
                case "secretName" if isinstance(part, str) and "mode" in value:  # authOptions: KubeRay reads this key
                    yield "Secret", part, "auth_token"
                case "configMapRef" | "configMap":
                    pass
                case _:
                    yield from _references(part)
