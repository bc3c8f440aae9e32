"""What a pod may do: as little as it needs. The namespace of the example refuses everything else."""

from __future__ import annotations

import re

from tests.k8s.manifests import K8S, Manifest, named, templates

PINNED = re.compile(r"[a-z0-9./-]+:[0-9]+\.[0-9]+\.[0-9]+")


def test_images_are_pinned(base: list[Manifest], example: list[Manifest]) -> None:
    for rendering in (base, example):
        for pod in templates(rendering):
            for container in pod.containers:
                assert PINNED.fullmatch(container["image"]), (pod.owner, container["image"])


def test_one_image_of_ours_is_everywhere(example: list[Manifest]) -> None:
    images = {container["image"] for pod in templates(example) for container in pod.containers}
    assert images == {"registry.example/shop:1.0.0", "redis:7.2.11"}


def test_nobody_is_root(example: list[Manifest]) -> None:
    for pod in templates(example):
        context = pod.spec["securityContext"]
        assert context["runAsNonRoot"] is True, pod.owner
        assert min(context["runAsUser"], context["runAsGroup"], context["fsGroup"]) > 0, pod.owner
        for container in pod.containers:
            assert not {"runAsUser", "runAsGroup", "runAsNonRoot"} & set(container["securityContext"]), pod.owner


def test_nobody_may_become_more_than_it_is(example: list[Manifest]) -> None:
    for pod in templates(example):
        assert pod.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, pod.owner
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod.spec), pod.owner
        for container in pod.containers:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, (pod.owner, container["name"])


def test_nobody_gets_a_token_of_the_cluster(example: list[Manifest]) -> None:
    for pod in templates(example):
        assert pod.spec["automountServiceAccountToken"] is False, pod.owner


def test_volumes_hold_no_part_of_the_node(example: list[Manifest]) -> None:
    for pod in templates(example):
        for volume in pod.spec["volumes"]:
            (kind,) = set(volume) - {"name"}
            assert kind in ("configMap", "emptyDir", "secret"), (pod.owner, volume)
            assert kind != "emptyDir" or "sizeLimit" in volume["emptyDir"], (pod.owner, volume)


def test_every_container_says_what_memory_it_needs_and_gets_no_more(example: list[Manifest]) -> None:
    for pod in templates(example):
        for container in pod.containers:
            resources = container["resources"]
            assert set(resources["requests"]) == {"cpu", "memory"}, pod.owner
            assert set(resources["limits"]) == {"memory"}, pod.owner


def test_every_server_is_probed(example: list[Manifest]) -> None:
    for pod in templates(example):
        for container in pod.spec["containers"]:
            if container.get("ports"):
                assert {"livenessProbe", "readinessProbe"} <= set(container), pod.owner


def test_the_namespace_refuses_pods_that_may_do_more(example: list[Manifest]) -> None:
    labels = named(example, "Namespace", "sagas")["metadata"]["labels"]
    assert labels == {"pod-security.kubernetes.io/enforce": "restricted"}


def test_the_image_is_pinned_and_not_of_root() -> None:
    lines = (K8S / "Dockerfile").read_text().splitlines()
    images = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert images == ["python:3.11-slim"] * 2
    assert [line for line in lines if line.startswith("USER ")] == ["USER 1000:1000"]


def test_the_users_of_the_image_and_of_the_pods_are_the_same(example: list[Manifest]) -> None:
    for pod in templates(example):
        ours = any("redis" not in container["image"] for container in pod.containers)
        context = pod.spec["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"]) == ((1000, 1000) if ours else (999, 999)), pod.owner
