"""What a host takes for its code: the files of the package, as they were when it loaded them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SHOW = """
from sagas.engine.fingerprint import fingerprint
from sagas.kernel.saga import saga_type_of
import shop.flows
print(fingerprint(saga_type_of(shop.flows.order)))
"""
FLOWS = "import sagas, shop.prices\n\n@sagas.saga\nasync def order() -> None: ...\n"


def shown(folder: Path) -> str:
    path = [str(folder), *sys.path]
    code = f"import sys; sys.path[:] = {path!r}\n{SHOW}"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_a_change_in_any_module_of_the_package_shows(tmp_path: Path) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "flows.py").write_text(FLOWS)
    (package / "prices.py").write_text("CENTS = 100\n")
    first = shown(tmp_path)
    assert first
    assert shown(tmp_path) == first
    (package / "prices.py").write_text("CENTS = 200\n")
    assert shown(tmp_path) != first
