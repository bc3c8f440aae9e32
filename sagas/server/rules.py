"""What makes a Redis unsafe for sagas, and what merely unwise; every rule about its settings lives here.

Law: pure. A rule looks at facts that were read before and answers with findings. Refused is what loses acknowledged
data without anybody noticing (or what the store's scripts cannot run on); warned about is what a careful operator would
change, or what could not be looked at.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import parse_qs, urlsplit

from sagas.server.version import OLDEST, new_enough, parse_info, show

Severity: TypeAlias = Literal["refuse", "warn", "ok"]
Mode: TypeAlias = Literal["strict", "fast", "ha"]
"""Durability: ``strict`` and ``ha`` count on an fsync before every answer, ``fast`` on one a second and a replay."""

CONFIG_NAMES = ("appendfsync", "no-appendfsync-on-rewrite", "min-replicas-to-write")
"""The settings that INFO does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at. ``message`` says how it stands, ``fix`` what to do about it ("" when it is well)."""

    severity: Severity
    subject: str
    message: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a server told: INFO by field, and those of ``CONFIG_NAMES`` that it let itself be asked for."""

    url: str
    info: Mapping[str, object]
    config: Mapping[str, str] = field(default_factory=dict)

    def number(self, name: str) -> int:
        """A count in INFO, 0 where the server does not tell it."""
        return int(str(self.info.get(name, 0)))


def judge(facts: Facts, mode: Mode = "strict") -> list[Finding]:
    """Every finding about one server, in the order in which to read them."""
    return [
        _version(facts),
        _role(facts),
        _eviction(facts),
        _memory(facts),
        *_persistence(facts, mode),
        *_replicas(facts),
        *_unseen(facts),
        *judge_url(facts.url),
    ]


def judge_url(url: str) -> Iterator[Finding]:
    """Whether somebody on the way could read or write the data; a Unix socket and loopback stay in the machine.

    No password in the URL is taken for none asked, since the server answered.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix" or _is_loopback(parts.hostname or "localhost"):
        yield Finding(severity="ok", subject="network", message="reached inside this machine")
        return
    if not parts.password and "password" not in parse_qs(parts.query):
        yield Finding(
            severity="warn",
            subject="password",
            message="anyone who reaches this server can read and write the sagas",
            fix="give it a user with a password (ACL SETUSER), and the URL redis://USER:PASSWORD@HOST:6379/0",
        )
    if parts.scheme != "rediss":
        yield Finding(
            severity="warn",
            subject="tls",
            message="the connection is not encrypted: arguments, results and the password can be read on the way",
            fix="switch TLS on in the server (tls-port), and use rediss:// in the URL",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _version(facts: Facts) -> Finding:
    flavour, version = parse_info(facts.info)
    if new_enough(flavour, version):
        return Finding(severity="ok", subject="version", message=show(flavour, version))
    oldest = " or ".join(show(*one) for one in OLDEST.items())
    return Finding(
        severity="refuse",
        subject="version",
        message=f"{show(flavour, version)} cannot run the store's scripts",
        fix=f"upgrade it to {oldest}, or newer",
    )


def _role(facts: Facts) -> Finding:
    role = str(facts.info.get("role", "unknown"))
    if role == "master":
        return Finding(severity="ok", subject="role", message="master")
    return Finding(
        severity="refuse",
        subject="role",
        message=f"it is no master but a {'replica' if role == 'slave' else role}",
        fix="name the master in the URL; a replica takes no writes and may lag",
    )


def _eviction(facts: Facts) -> Finding:
    policy = str(facts.info.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        return Finding(severity="ok", subject="maxmemory-policy", message=policy)
    return Finding(
        severity="refuse",
        subject="maxmemory-policy",
        message=f"{policy}: when memory runs short, sagas would be dropped silently",
        fix="CONFIG SET maxmemory-policy noeviction, and the same in its configuration",
    )


def _memory(facts: Facts) -> Finding:
    limit = facts.number("maxmemory")
    if limit:
        return Finding(severity="ok", subject="maxmemory", message=f"{limit >> 20} MiB")
    return Finding(
        severity="warn",
        subject="maxmemory",
        message="no limit: out of memory, the kernel kills the server instead of writes being refused",
        fix="CONFIG SET maxmemory to about 70 % of the machine's memory, and the same in its configuration",
    )


def _persistence(facts: Facts, mode: Mode) -> Iterator[Finding]:
    on_rewrite = facts.config.get("no-appendfsync-on-rewrite")
    if on_rewrite == "no":
        yield Finding(severity="ok", subject="no-appendfsync-on-rewrite", message="no")
    elif on_rewrite is not None:
        yield Finding(
            severity="refuse",
            subject="no-appendfsync-on-rewrite",
            message="yes: while the AOF is rewritten, writes are acknowledged that are not on disk",
            fix="CONFIG SET no-appendfsync-on-rewrite no, and the same in its configuration",
        )
    if not facts.number("aof_enabled"):
        yield Finding(
            severity="warn",
            subject="appendonly",
            message="no AOF: a restart loses everything since the last snapshot",
            fix="CONFIG SET appendonly yes, and the same in its configuration",
        )
        return
    yield Finding(severity="ok", subject="appendonly", message="yes")
    yield from _fsync(facts.config.get("appendfsync"), mode)


def _fsync(policy: str | None, mode: Mode) -> Iterator[Finding]:
    if policy is None:
        return
    if policy == "always" or (policy == "everysec" and mode == "fast"):
        yield Finding(severity="ok", subject="appendfsync", message=policy)
    else:
        lost = "the last second" if policy == "everysec" else "as much as the kernel held back (some 30 s)"
        yield Finding(
            severity="warn",
            subject="appendfsync",
            message=f"{policy} in mode {mode}: a crash of its machine loses {lost} of what was acknowledged",
            fix="CONFIG SET appendfsync always, and the same in its configuration",
        )


def _replicas(facts: Facts) -> Iterator[Finding]:
    replicas = facts.number("connected_slaves")
    needed = facts.config.get("min-replicas-to-write")
    if not replicas or needed is None:
        return
    if needed != "0":
        yield Finding(severity="ok", subject="min-replicas-to-write", message=needed)
        return
    yield Finding(
        severity="warn",
        subject="min-replicas-to-write",
        message=f"0 with {replicas} replica(s): a master cut off from them goes on accepting what a failover discards",
        fix="CONFIG SET min-replicas-to-write 1, and the same in its configuration",
    )


def _unseen(facts: Facts) -> Iterator[Finding]:
    unseen = [name for name in CONFIG_NAMES if name not in facts.config]
    if unseen:
        yield Finding(
            severity="warn",
            subject="config",
            message=f"this user may not see {', '.join(unseen)}: a setting that loses data would go unnoticed",
            fix="allow it (ACL SETUSER ... +config|get), or look up by hand: "
            "appendfsync always, no-appendfsync-on-rewrite no",
        )
