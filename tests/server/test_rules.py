from __future__ import annotations

import pytest

from sagas.server.rules import CONFIG_NAMES, Facts, Finding, Mode, judge, judge_url

GOOD_INFO = {
    "redis_version": "7.0.15",
    "role": "master",
    "maxmemory": 1 << 30,
    "maxmemory_policy": "noeviction",
    "aof_enabled": 1,
    "connected_slaves": 1,
}
GOOD_CONFIG = {"appendfsync": "always", "no-appendfsync-on-rewrite": "no", "min-replicas-to-write": "1"}


def facts(info: dict[str, object] | None = None, config: dict[str, str] | None = None) -> Facts:
    return Facts(url="unix:///s", info=GOOD_INFO | (info or {}), config=GOOD_CONFIG | (config or {}))


def bad(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(found.severity, found.subject) for found in findings if found.severity != "ok"]


def test_a_safe_server_is_well_in_every_mode() -> None:
    for mode in ("strict", "fast", "ha"):
        findings = judge(facts(), mode)
        assert bad(findings) == []
        assert {found.subject for found in findings} >= {"version", "role", "maxmemory-policy", *CONFIG_NAMES}


@pytest.mark.parametrize(
    ("info", "severity"),
    [
        ({"redis_version": "6.2.14"}, "refuse"),
        ({"redis_version": "7.0.0"}, "ok"),
        ({"redis_version": "7.2.4", "valkey_version": "7.1.0"}, "refuse"),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.0"}, "ok"),
        ({"redis_version": ""}, "refuse"),
    ],
)
def test_versions(info: dict[str, object], severity: str) -> None:
    [found] = [found for found in judge(facts(info)) if found.subject == "version"]
    assert found.severity == severity


@pytest.mark.parametrize(
    ("policy", "mode", "severity"),
    [
        ("always", "strict", "ok"),
        ("everysec", "strict", "warn"),
        ("everysec", "ha", "warn"),
        ("everysec", "fast", "ok"),
        ("no", "fast", "warn"),
    ],
)
def test_what_fsync_is_enough_depends_on_the_mode(policy: str, mode: Mode, severity: str) -> None:
    [found] = [found for found in judge(facts(config={"appendfsync": policy}), mode) if found.subject == "appendfsync"]
    assert found.severity == severity


def test_a_server_that_hides_its_policy_is_refused() -> None:
    hidden = Facts(url="unix:///s", info={"redis_version": "7.4.0", "role": "master"}, config=GOOD_CONFIG)
    assert ("refuse", "maxmemory-policy") in bad(judge(hidden))


def test_replicas_matter_only_where_there_are_some() -> None:
    assert bad(judge(facts({"connected_slaves": 0}, {"min-replicas-to-write": "0"}))) == []


def test_every_bad_finding_says_what_to_do() -> None:
    worst = Facts(url="redis://db", info={"connected_slaves": 2}, config={"no-appendfsync-on-rewrite": "yes"})
    findings = [found for found in judge(worst) if found.severity != "ok"]
    assert len(findings) >= 7
    assert all(found.fix for found in findings)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("unix:///tmp/s", []),
        ("redis://localhost:6379", []),
        ("redis://", []),
        ("redis://127.0.0.53:6379", []),
        ("redis://[::1]:6379", []),
        ("redis://db.example:6379", ["password", "tls"]),
        ("redis://10.0.0.7", ["password", "tls"]),
        ("redis://app:pw@db.example", ["tls"]),
        ("redis://db.example?password=pw", ["tls"]),
        ("rediss://db.example", ["password"]),
        ("rediss://:pw@db.example", []),
    ],
)
def test_off_loopback_a_password_and_tls_are_missed(url: str, expected: list[str]) -> None:
    assert [found.subject for found in judge_url(url) if found.severity == "warn"] == expected
