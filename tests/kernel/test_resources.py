"""``ray={...}``: what may stand there, said where it is declared."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import sagas
from sagas import DefinitionError, InvalidArgument, Workers, activity
from sagas.kernel.resources import shown

LISTED = r"num_cpus, num_gpus, memory \(bytes\) and resources=\{name: amount\}"


def work() -> None: ...


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"gpus": 1}, f"knows no 'gpus'; it may hold {LISTED}"),
        (4, f"a dict of {LISTED}, not 4"),
        ({"num_gpus": -1}, "num_gpus in ray= is a number, 0 or more, not -1"),
        ({"num_gpus": True}, "num_gpus in ray= is a number"),
        ({"num_cpus": float("nan")}, "num_cpus in ray= is a number"),
        ({"num_gpus": 1.5}, "num_gpus in ray= is a whole number where it is above 1"),
        ({"resources": 3}, "a dict of names and amounts"),
        ({"resources": {"GPU": 1}}, "cannot name 'GPU': use 'num_gpus' beside it"),
        ({"resources": {"tape": "all"}}, "tape in ray= is a number"),
    ],
)
def test_what_cannot_be_is_refused_at_once(asked: Any, says: str) -> None:
    with pytest.raises(DefinitionError, match=f"^@activity: .*{says}"):
        activity(ray=asked)(work)
    with pytest.raises(DefinitionError, match=f"^options: .*{says}"):
        activity(work).options(ray=asked)
    with pytest.raises(DefinitionError, match=f"^@compensation: .*{says}"):
        activity(work).compensation(ray=asked)
    with pytest.raises(DefinitionError, match=f"^Workers: .*{says}"):
        Workers(ray=asked)


def test_a_process_of_its_own_is_neither_the_hosts_nor_a_queues() -> None:
    for other in ({"local": True}, {"queue": "gpu"}):
        with pytest.raises(DefinitionError, match="neither local nor queue"):
            activity(ray={"num_gpus": 1}, **other)(work)  # type: ignore[call-overload]


def test_an_undo_asks_for_itself() -> None:
    made = activity(ray={"num_gpus": 1})(work)
    undo = made.compensation(lambda _result: None)
    assert made.defaults.ray == {"num_gpus": 1}
    assert undo.defaults.ray is None


def test_numbers_of_workers() -> None:
    for wrong in ({"count": -1}, {"concurrency": 0}, {"threads": 0}, {"count": True}):
        with pytest.raises(InvalidArgument, match=f"Workers\\({next(iter(wrong))}=...\\)"):
            Workers(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="a queue's name"):
        sagas.up(["tests.cluster.studio"], "redis://nowhere", queues={"": 1})


def test_shown_for_people() -> None:
    assert shown({"num_gpus": 1, "resources": {"tape": 0.5}}) == "num_gpus=1, tape=0.5"
    assert shown({}) == "none"


def test_declaring_it_imports_no_ray() -> None:
    code = (
        "import sys, sagas\n"
        "@sagas.activity(ray={'num_gpus': 1})\n"
        "def work(): ...\n"
        "sagas.Workers(ray={'num_gpus': 1})\n"
        "assert not {'ray', 'redis', 'actors'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
