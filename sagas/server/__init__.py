"""Redis that a user need not install, and a look at any Redis before it is trusted with sagas.

Importing this room loads neither redis nor Ray; ``examine`` loads redis when it is called.
"""

from sagas.server.doctor import examine, require_safe
from sagas.server.embedded import EmbeddedServer
from sagas.server.find import ServerBinary, find_server
from sagas.server.fsync import FsyncLatency, judge_fsync, measure_fsync
from sagas.server.rules import Finding
from sagas.server.url import redact, resolve_url

__all__ = [
    "EmbeddedServer",
    "Finding",
    "FsyncLatency",
    "ServerBinary",
    "examine",
    "find_server",
    "judge_fsync",
    "measure_fsync",
    "redact",
    "require_safe",
    "resolve_url",
]
