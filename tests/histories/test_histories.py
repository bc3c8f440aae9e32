"""Histories that were recorded once are read and replayed for ever: by this version's code, event by event."""

from __future__ import annotations

from pathlib import Path

import msgpack
import pytest

from sagas.kernel.events import decode_histories
from sagas.kernel.events.base import _classes, _rows
from sagas.kernel.events.download import HEADER
from sagas.kernel.registry import Registry
from sagas.kernel.state import RunState
from sagas.replaying import replay_one, started_of
from sagas.telemetry import spans_of_history
from tests.histories.programs import SCENARIOS, themes
from tests.histories.record import recordings

REGISTRY = Registry(themes())
RECORDINGS = recordings()
NAMES = [f"{path.parent.name}/{path.stem}" for path in RECORDINGS]

# Kinds of events that no recording has yet. Strike out what you record; what is new is recorded, not added here.
UNRECORDED = {
    *range(24, 30),  # steps
    *range(90, 93),  # data
}


@pytest.mark.parametrize("path", RECORDINGS, ids=NAMES)
def test_code_of_today_goes_on_with_it(path: Path) -> None:
    for history in decode_histories(path.read_bytes()):
        saga_type = REGISTRY.saga(started_of(history).type)
        assert saga_type is not None, "a saga that was recorded stays"
        replay_one(saga_type, history)
        state = RunState()
        state.evolve_all(history)
        assert state.events == len(history)
        assert bool(spans_of_history(history)) or not state.closed


@pytest.mark.parametrize("path", RECORDINGS, ids=NAMES)
def test_every_field_is_read_as_it_was_written(path: Path) -> None:
    """Fields added since follow at the end of an event, with their defaults."""
    unpacker = msgpack.Unpacker(use_list=False)
    unpacker.feed(path.read_bytes().removeprefix(HEADER))
    decoded = decode_histories(path.read_bytes())
    written = [[msgpack.unpackb(chunk, use_list=False, strict_map_key=False) for chunk in each] for each in unpacker]
    assert len(written) == len(decoded)
    for chunks, history in zip(written, decoded, strict=True):
        rows = [(at_ms, row) for _schema, at_ms, rows in chunks for row in rows]
        assert len(rows) == len(history)
        for (at_ms, row), event in zip(rows, history, strict=True):
            read = _rows[type(event)](event)
            assert (event.at_ms, read[: len(row)]) == (at_ms, row)
            assert read == _rows[type(event)](type(event)(*row[1:]))


def test_every_kind_of_event_is_recorded() -> None:
    recorded = {
        event.TAG for path in RECORDINGS for history in decode_histories(path.read_bytes()) for event in history
    }
    missing = {tag: _classes[tag][0].__name__ for tag in set(_classes) - recorded - UNRECORDED}
    assert missing == {}, "write a scenario (see programs.py), then `make histories`"
    assert recorded & UNRECORDED == set(), "these are recorded now: strike them out of UNRECORDED"


def test_every_scenario_is_recorded() -> None:
    assert set(SCENARIOS) == {path.stem for path in RECORDINGS}, "`make histories` records what is new"
