"""No secret is in the repository, none has a default, and what starts without one says so."""

from __future__ import annotations

import base64
import stat
import subprocess
from pathlib import Path

import pytest

from tests.k8s.manifests import BASE, EXAMPLE, K8S, Manifest, copy_of_k8s, kustomize, of_kind, templates

START_REDIS = BASE / "bin" / "start-redis.sh"


def test_the_base_holds_no_secret(base: list[Manifest]) -> None:
    assert of_kind(base, "Secret") == []


def test_without_its_secrets_the_overlay_does_not_render(tmp_path: Path) -> None:
    done = kustomize(copy_of_k8s(tmp_path, secrets=False) / EXAMPLE)
    assert done.returncode != 0
    assert "secrets/store-password" in done.stderr
    assert done.stdout == ""


def test_each_secret_is_another_long_random_one(example: list[Manifest]) -> None:
    values = [base64.b64decode(value) for each in of_kind(example, "Secret") for value in each["data"].values()]
    assert len(values) == 4
    assert len(set(values)) == 4
    assert all(len(value) == 64 and value.isalnum() for value in values), "hexadecimal, and no newline at the end"


def test_secrets_that_are_there_are_kept_and_are_nobody_elses(tmp_path: Path) -> None:
    overlay = copy_of_k8s(tmp_path) / EXAMPLE
    secrets = sorted((overlay / "secrets").iterdir())
    before = [each.read_text() for each in secrets]
    subprocess.run(["sh", str(overlay / "secrets.sh")], check=True)
    assert [each.read_text() for each in secrets] == before
    assert all(stat.S_IMODE(each.stat().st_mode) == 0o600 for each in secrets)


def test_git_ignores_the_secrets() -> None:
    assert (K8S / EXAMPLE / ".gitignore").read_text().split() == ["/secrets/"]


def test_no_environment_variable_spells_a_secret_out(example: list[Manifest]) -> None:
    for template in templates(example):
        for container in template.containers:
            for each in container.get("env", []):
                if any(word in each["name"].upper() for word in ("PASSWORD", "TOKEN", "AUTH")):
                    assert each["name"] == "RAY_AUTH_MODE" or "secretKeyRef" in each["valueFrom"], (
                        template.owner,
                        each,
                    )


@pytest.mark.parametrize("password", ["", "short", "x" * 64 + "\n", "CHANGE ME " * 4, "p@ss:word/" * 4, None])
def test_redis_does_not_start_with_a_password_that_is_none(password: str | None, tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "REDIS_RUN": str(tmp_path), "REDIS_CONF": str(tmp_path / "none")}
    if password is not None:
        environment["REDIS_PASSWORD"] = password
    done = subprocess.run(["sh", str(START_REDIS)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert "password" in done.stderr
    assert list(tmp_path.iterdir()) == []
