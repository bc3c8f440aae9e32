"""The manifests as `kubectl kustomize` renders them, and the pods in them as the cluster would see them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

K8S = Path(__file__).resolve().parents[2] / "k8s"
BASE = K8S / "base"
EXAMPLE = Path("overlays") / "example"

Manifest: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A pod template: ``owner`` is what makes pods of it, ``labels`` are those that its pods have."""

    owner: str
    labels: dict[str, str]
    spec: Manifest

    @property
    def containers(self) -> list[Manifest]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def kustomize(folder: Path) -> subprocess.CompletedProcess[str]:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl on PATH: install it to render the manifests")
    return subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)


def render(folder: Path) -> list[Manifest]:
    done = kustomize(folder)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def copy_of_k8s(folder: Path, *, secrets: bool = True) -> Path:
    """The whole of ``k8s/`` in ``folder``, with the example's secrets made if wanted; the repository is left alone."""
    copy = folder / "k8s"
    shutil.copytree(K8S, copy, ignore=shutil.ignore_patterns("secrets"))
    if secrets:
        subprocess.run(["sh", str(copy / EXAMPLE / "secrets.sh")], check=True)
    return copy


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    found = [each for each in manifests if each["kind"] == kind and each["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [each for each in manifests if each["kind"] in kinds]


def templates(manifests: list[Manifest]) -> Iterator[Template]:
    """Every pod template; those of a RayCluster have the labels that KubeRay adds."""
    for each in manifests:
        owner = f"{each['kind']}/{each['metadata']['name']}"
        if each["kind"] in ("Deployment", "StatefulSet", "Job"):
            template = each["spec"]["template"]
            yield Template(owner=owner, labels=template["metadata"]["labels"], spec=template["spec"])
        elif each["kind"] == "RayCluster":
            groups = [("head", "headgroup", each["spec"]["headGroupSpec"])]
            groups += [("worker", group["groupName"], group) for group in each["spec"]["workerGroupSpecs"]]
            for type_, name, group in groups:
                added = {"ray.io/cluster": each["metadata"]["name"], "ray.io/node-type": type_, "ray.io/group": name}
                labels = {**group["template"]["metadata"]["labels"], **added}
                yield Template(owner=f"{owner}/{name}", labels=labels, spec=group["template"]["spec"])


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a label selector (of a NetworkPolicy, a budget, a controller) takes pods with these labels."""
    assert set(selector) <= {"matchLabels", "matchExpressions"}, selector
    for wanted in selector.get("matchExpressions", []):
        assert wanted["operator"] == "In", wanted
        if labels.get(wanted["key"]) not in wanted["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()
