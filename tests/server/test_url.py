from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagas.errors import StoreUnavailable
from sagas.server.url import read_url, redact, resolve_url, unix_path, unix_url, write_url


def test_the_argument_comes_first_then_the_environment_then_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_url(tmp_path, "unix:///left/behind", "a remark")
    monkeypatch.setenv("SAGAS_URL", "redis://environment")
    assert resolve_url("redis://argument", tmp_path) == "redis://argument"
    assert resolve_url(None, tmp_path) == "redis://environment"
    monkeypatch.setenv("SAGAS_URL", "")
    assert resolve_url(None, tmp_path) == "unix:///left/behind"


def test_the_data_folder_is_dot_sagas_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAGAS_URL", raising=False)
    (tmp_path / ".sagas").mkdir()
    write_url(tmp_path / ".sagas", "unix:///here")
    monkeypatch.chdir(tmp_path)
    assert resolve_url(None) == "unix:///here"


@pytest.mark.parametrize("left", [None, "", "\n", "# only a remark\n"])
def test_nothing_named_is_an_error_with_three_ways(
    left: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAGAS_URL", raising=False)
    if left is not None:
        (tmp_path / "url").write_text(left)
    with pytest.raises(StoreUnavailable) as caught:
        resolve_url(None, tmp_path)
    for way in ("--url", "SAGAS_URL=", "`sagas dev`", str(tmp_path / "url")):
        assert way in str(caught.value)


def test_a_file_in_place_of_the_data_folder_names_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert read_url(tmp_path / "file") is None


def test_a_url_that_may_not_be_read_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "url").mkdir()
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        read_url(tmp_path)


def test_a_written_url_replaces_the_old_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_url(tmp_path, "unix:///one")
    write_url(tmp_path, "unix:///two")
    assert read_url(tmp_path) == "unix:///two"
    assert [file.name for file in tmp_path.iterdir()] == ["url"]


@given(name=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1))
def test_any_path_survives_its_url(name: str) -> None:
    path = Path("/tmp") / name / "server.sock"
    assert unix_path(unix_url(path)) == path


def test_other_urls_name_no_socket() -> None:
    assert unix_path("redis://localhost:6379/0") is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:secret@db:6379/0", "redis://:***@db:6379/0"),
        ("rediss://app:secret@db/0", "rediss://app:***@db/0"),
        ("redis://secret@db", "redis://:***@db"),
        ("redis://db?password=secret&db=1", "redis://db?password=***&db=1"),
        ("rediss://db?db=1&ssl_password=secret", "rediss://db?db=1&ssl_password=***"),
        ("unix:///tmp/a@b.sock", "unix:///tmp/a@b.sock"),
        ("unix://app:secret@/tmp/a.sock?db=1", "unix://app:***@/tmp/a.sock?db=1"),
        ("localhost:6379", "localhost:6379"),
        ("", ""),
    ],
)
def test_redacted_urls(url: str, shown: str) -> None:
    assert redact(url) == shown


@given(password=st.text(min_size=1).map(lambda text: f"<{text}>"))
@pytest.mark.parametrize("url", ["redis://app:{}@db:6379/0", "rediss://:{}@db", "unix://a:{}@/s", "a:{}@db"])
def test_no_password_is_ever_shown(url: str, password: str) -> None:
    assert password not in redact(url.format(password))
    assert "<" not in redact(url.format(password))
