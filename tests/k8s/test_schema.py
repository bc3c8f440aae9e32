"""What is rendered is what the API server knows, down to the last field; and the tests see a typo."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.k8s import schema
from tests.k8s.manifests import Manifest, named, of_kind, templates


def test_the_raycluster_is_valid(base: list[Manifest], example: list[Manifest]) -> None:
    for rendering in (base, example):
        (cluster,) = of_kind(rendering, "RayCluster")
        assert cluster["apiVersion"] == "ray.io/v1"
        assert schema.complaints(schema.raycluster(), cluster) == []


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        (("spec",), "enableInTreeAutoscalling", False),
        (("spec", "gcsFaultToleranceOptions"), "redisAdress", "redis://sagas-gcs:6379"),
        (("spec", "headGroupSpec"), "rayStartParam", {}),
        (("spec", "headGroupSpec", "template", "spec"), "terminationGracePeriod", 30),
        (("spec", "workerGroupSpecs", 0), "replica", 3),
        (("spec", "workerGroupSpecs", 0, "template", "spec", "containers", 0), "lifeCycle", {}),
        (("spec", "workerGroupSpecs", 0, "template", "spec", "containers", 0, "livenessProbe"), "tcp", {}),
    ],
)
def test_a_field_that_does_not_exist_is_seen(
    base: list[Manifest], path: tuple[str | int, ...], field: str, value: object
) -> None:
    cluster = copy.deepcopy(named(base, "RayCluster", "sagas"))
    _at(cluster, path)[field] = value
    assert [each for each in schema.complaints(schema.raycluster(), cluster) if f"'{field}' was unexpected" in each]


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        (("spec", "headGroupSpec", "rayStartParams"), "num-cpus", 0),
        (("spec", "workerGroupSpecs", 0), "replicas", "3"),
        (("spec", "authOptions"), "mode", "tokens"),
        (("spec", "headGroupSpec", "template", "spec", "containers", 0, "resources", "limits"), "memory", "2 GB"),
        (("spec", "headGroupSpec", "template", "spec", "containers", 0), "name", None),
    ],
)
def test_a_value_of_the_wrong_kind_is_seen(
    base: list[Manifest], path: tuple[str | int, ...], field: str, value: object
) -> None:
    cluster = copy.deepcopy(named(base, "RayCluster", "sagas"))
    _at(cluster, path)[field] = value
    assert schema.complaints(schema.raycluster(), cluster) != []


def test_a_field_that_is_needed_is_missed(base: list[Manifest]) -> None:
    cluster = copy.deepcopy(named(base, "RayCluster", "sagas"))
    del cluster["spec"]["headGroupSpec"]
    assert schema.complaints(schema.raycluster(), cluster) != []


def test_every_pod_is_valid(example: list[Manifest]) -> None:
    found = list(templates(example))
    assert len(found) == 6
    for template in found:
        assert schema.complaints(schema.pod_spec(), template.spec) == [], template.owner


def test_every_service_is_valid(example: list[Manifest]) -> None:
    services = of_kind(example, "Service")
    assert len(services) == 4
    for each in services:
        assert schema.complaints(schema.service(), {**each, "metadata": {}}) == [], each["metadata"]["name"]


def test_every_network_rule_is_valid(example: list[Manifest]) -> None:
    rules = [rule for policy in of_kind(example, "NetworkPolicy") for rule in policy["spec"]["ingress"]]
    assert len(rules) == 4
    for rule in rules:
        assert schema.complaints(schema.ingress_rule(), rule) == [], rule


def test_nothing_is_rendered_that_no_test_knows(example: list[Manifest]) -> None:
    assert {each["kind"] for each in example} == {
        "ConfigMap",
        "Deployment",
        "Namespace",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "RayCluster",
        "Secret",
        "Service",
        "StatefulSet",
    }


def _at(manifest: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        manifest = manifest[step]
    return manifest
