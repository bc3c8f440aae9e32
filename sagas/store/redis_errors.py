"""What a Redis error means to whoever runs the service: every one becomes StoreUnavailable here.

Law: the message says what happened, at which server, and what to do next; it never holds a password. The first
matching row decides; the words before the first space of a server's error are its code.
"""

from __future__ import annotations

from redis import exceptions as redis_errors

from sagas.errors import StoreUnavailable

CLOSED = "this store was closed: connect again, or stop using it after close()"

_BY_CODE: dict[str, str] = {
    "OOM": "its memory is full (maxmemory reached, noeviction): give it more memory, or delete ended sagas",
    "READONLY": "it is a replica and takes no writes: point the URL at the master",
    "NOREPLICAS": "too few replicas are in sync (min-replicas-to-write): bring a replica back",
    "MISCONF": "it cannot write to disk and so takes no writes: look at its log, free disk space",
    "MASTERDOWN": "its link to the master is down: point the URL at the master, or wait for the failover",
    "LOADING": "it is still loading its data after a start: wait and try again",
    "BUSY": "another script keeps it busy: find and end that script (SCRIPT KILL)",
    "NOAUTH": "it asks for a password: put user and password into the URL",
    "WRONGPASS": "it refused user or password: correct them in the URL",
    "NOPERM": "its ACL forbids a command or key: allow ~sg:* &sg:* and the commands named",
    "CLUSTERDOWN": "the cluster is down: see CLUSTER INFO on its nodes",
    "MOVED": "the key lives on another cluster node: point the URL at a standalone server",
    "NOSCRIPT": "it forgot a script right after loading it: stop whoever runs SCRIPT FLUSH",
    "WRONGTYPE": "a key of this namespace was overwritten by another program: use a database of its own",
}

_BY_CLASS: tuple[tuple[type[Exception], str], ...] = (
    (redis_errors.OutOfMemoryError, "OOM"),
    (redis_errors.ReadOnlyError, "READONLY"),
    (redis_errors.NoScriptError, "NOSCRIPT"),
    (redis_errors.NoPermissionError, "NOPERM"),
    (redis_errors.BusyLoadingError, "LOADING"),
    (redis_errors.MasterDownError, "MASTERDOWN"),
    (redis_errors.ClusterDownError, "CLUSTERDOWN"),
    (redis_errors.AskError, "MOVED"),
    (redis_errors.AuthenticationError, "WRONGPASS"),
    (redis_errors.AuthenticationWrongNumberOfArgsError, "WRONGPASS"),
)

RedisFailure = (redis_errors.RedisError, OSError, EOFError)
"""All that redis-py and the socket below it raise when a call did not get its answer."""


def unavailable(error: BaseException, where: str) -> StoreUnavailable:
    """The StoreUnavailable for ``error`` of the server ``where`` (host and port, or a path; no credentials)."""
    if isinstance(error, StoreUnavailable):
        return error
    code = next((code for kind, code in _BY_CLASS if isinstance(error, kind)), "")
    code = code or next((word for word in str(error).split()[:1] if word in _BY_CODE), "")
    if code:
        return StoreUnavailable(f"Redis at {where} refuses: {_BY_CODE[code]} ({error})")
    if isinstance(error, (redis_errors.TimeoutError, TimeoutError)):
        return StoreUnavailable(f"Redis at {where} did not answer in time: check its load and disk ({error})")
    if isinstance(error, redis_errors.ResponseError):
        return StoreUnavailable(f"Redis at {where} refused a command: run 'sagas doctor' ({error})")
    return StoreUnavailable(f"Redis at {where} cannot be reached: check that it runs and the URL ({error})")
