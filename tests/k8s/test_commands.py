"""The commands in the manifests are commands: of this project's CLI, of Ray's, of the shell."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from sagas.cli.parser import build_parser
from tests.k8s.manifests import BASE, EXAMPLE, K8S, Manifest, Template, named, templates

SCRIPTS = [BASE / "bin" / "start-redis.sh", K8S / EXAMPLE / "secrets.sh"]
SETTINGS = ("SAGAS_MODULES", "SAGAS_HOSTS", "SAGAS_WORKERS")


def test_the_sagas_commands_are_what_the_parser_takes(example: list[Manifest]) -> None:
    settings = _settings(example)
    parsed = [
        (pod.owner, build_parser().parse_args(shlex.split(_filled(command, settings))[1:]))
        for pod in templates(example)
        for command in _commands(pod, "sagas")
    ]
    assert [(owner, args.command) for owner, args in parsed] == [
        ("Deployment/sagas-http", "http"),
        ("Deployment/sagas-up", "doctor"),
        ("Deployment/sagas-up", "up"),
    ]
    http, _, up = (args for _, args in parsed)
    assert (http.host, http.port, http.token_file) == ("0.0.0.0", 8233, Path("/etc/sagas/token"))
    assert (up.modules, up.hosts, up.workers) == (["shop"], 3, 6)


def test_the_api_reads_the_token_from_where_the_secret_is_mounted(example: list[Manifest]) -> None:
    spec = named(example, "Deployment", "sagas-http")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    (volume,) = [each for each in spec["volumes"] if "secret" in each]
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == volume["name"]]
    (key,) = named(example, "Secret", volume["secret"]["secretName"])["data"]
    assert f"{mount['mountPath']}/{key}" == container["args"][container["args"].index("--token-file") + 1]


@pytest.mark.parametrize("missing", SETTINGS)
def test_up_is_given_all_its_settings(example: list[Manifest], missing: str) -> None:
    settings = _settings(example)
    assert set(settings) == set(SETTINGS)
    (_, command) = (
        found for pod in templates(example) for found in _commands(pod, "sagas") if "sagas http" not in found
    )
    assert f"${missing}" in command


def test_rays_own_parser_takes_what_kuberay_makes_of_the_start_parameters(example: list[Manifest]) -> None:
    spec = named(example, "RayCluster", "sagas")["spec"]
    for group, also in ((spec["headGroupSpec"], ["--head"]), *((each, []) for each in spec["workerGroupSpecs"])):
        _parse_ray(
            ["start", *also, "--block", *(f"--{name}={value}" for name, value in group["rayStartParams"].items())]
        )


def test_rays_own_parser_takes_every_ray_command(example: list[Manifest]) -> None:
    commands = [command for pod in templates(example) for command in _commands(pod, "ray")]
    assert len(commands) == 3
    for command in commands:
        _parse_ray(shlex.split(command)[1:])


def test_rays_own_parser_takes_what_the_drain_asks_for() -> None:
    words = ["--node-id", "0" * 56, "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "the pod ends"]
    _parse_ray(["drain-node", *words, "--deadline-remaining-seconds", "45"])
    drain = (BASE / "bin" / "drain.py").read_text()
    assert all(word in drain for word in ("drain-node", *words[::2][:3], words[3], "--deadline-remaining-seconds"))


def test_a_parameter_that_ray_does_not_know_is_seen() -> None:
    with pytest.raises(click.NoSuchOption):
        _parse_ray(["start", "--num-cpu=0"])


def test_the_version_of_ray_is_the_one_that_is_installed_in_the_image(example: list[Manifest]) -> None:
    pinned = dict(line.split("==") for line in (K8S.parent / "constraints.txt").read_text().split() if "==" in line)
    assert named(example, "RayCluster", "sagas")["spec"]["rayVersion"] == pinned["ray"]


def test_a_pod_is_given_longer_than_its_hook_may_take(example: list[Manifest]) -> None:
    hooks = []
    for pod in templates(example):
        for container in pod.spec["containers"]:
            hook = container.get("lifecycle", {}).get("preStop")
            if hook is not None:
                program, seconds, *_ = hook["exec"]["command"]
                assert float(seconds) < pod.spec["terminationGracePeriodSeconds"], pod.owner
                hooks.append((pod.owner, program))
    assert hooks == [("Deployment/sagas-http", "sleep"), ("RayCluster/sagas/nodes", "timeout")]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_plain_shell(script: Path) -> None:
    subprocess.run(["sh", "-n", str(script)], check=True)


def test_what_bash_is_given_is_shell(example: list[Manifest]) -> None:
    given = [command[2] for pod in templates(example) for command in _lines(pod) if command[0] == "bash"]
    assert len(given) == 3
    for script in given:
        subprocess.run(["sh", "-n", "-c", script], check=True)


# --- commands in manifests


def _lines(pod: Template) -> list[list[str]]:
    """The command of every container and probe, as words."""
    lines = [[*container.get("command", []), *container.get("args", [])] for container in pod.containers]
    probes = [container.get(probe) for container in pod.containers for probe in ("livenessProbe", "readinessProbe")]
    return [
        line for line in [*lines, *(probe["exec"]["command"] for probe in probes if probe and "exec" in probe)] if line
    ]


def _commands(pod: Template, program: str) -> list[str]:
    """Every call of a program, also those inside a shell's script."""
    found = []
    for words in _lines(pod):
        if words[0] == program:
            found.append(shlex.join(words))
        elif words[0] in ("bash", "sh"):
            text = " ; ".join(words[2:])
            found += [each.strip() for each in re.findall(rf"(?<![\w/.-]){program} [^;\n>]+", text)]
    return found


def _settings(example: list[Manifest]) -> dict[str, str]:
    (spec,) = (pod.spec for pod in templates(example) if pod.owner == "Deployment/sagas-up")
    (container,) = spec["containers"]
    name = next(each["configMapRef"]["name"] for each in container["envFrom"])
    settings: dict[str, str] = named(example, "ConfigMap", name)["data"]
    return settings


def _filled(command: str, settings: dict[str, str]) -> str:
    for name, value in settings.items():
        command = command.replace(f"${name}", value)
    return command


def _parse_ray(words: list[str]) -> None:
    """Raises: click.UsageError when Ray would refuse this command line. Runs nothing."""
    from ray.scripts.scripts import cli

    found = cli.commands[words[0]]
    found.make_context(words[0], words[1:])
