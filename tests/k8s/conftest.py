"""What the tests of the manifests share: both renderings, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.k8s.manifests import BASE, EXAMPLE, Manifest, copy_of_k8s, render


@pytest.fixture(scope="session")
def base() -> list[Manifest]:
    return render(BASE)


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """The example overlay, with secrets of its own: it is the base and all that the base needs."""
    copy: Path = copy_of_k8s(tmp_path_factory.mktemp("example"))
    return render(copy / EXAMPLE)
