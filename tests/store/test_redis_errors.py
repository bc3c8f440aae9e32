"""Each way a server can fail is told apart, and the message says what to do."""

import pickle

import pytest
from redis import exceptions as redis_errors

from sagas.errors import StoreUnavailable
from sagas.store.redis_errors import unavailable


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (redis_errors.ConnectionError("Connection refused"), "cannot be reached"),
        (ConnectionResetError("reset"), "cannot be reached"),
        (redis_errors.TimeoutError("Timeout"), "did not answer in time"),
        (TimeoutError(), "did not answer in time"),
        (redis_errors.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "memory is full"),
        (redis_errors.ResponseError("OOM command not allowed"), "memory is full"),
        (redis_errors.ReadOnlyError("You can't write against a read only replica."), "is a replica"),
        (redis_errors.ResponseError("MISCONF Redis is configured to save RDB snapshots"), "cannot write to disk"),
        (redis_errors.ResponseError("NOREPLICAS Not enough good replicas to write."), "too few replicas"),
        (redis_errors.BusyLoadingError("Redis is loading the dataset in memory"), "still loading"),
        (redis_errors.ResponseError("BUSY Redis is busy running a script."), "another script"),
        (redis_errors.AuthenticationError("invalid username-password pair"), "user or password"),
        (redis_errors.ResponseError("NOAUTH Authentication required."), "asks for a password"),
        (redis_errors.NoPermissionError("this user has no permissions"), "ACL"),
        (redis_errors.ResponseError("WRONGTYPE Operation against a key"), "another program"),
        (redis_errors.ResponseError("ERR unknown command"), "refused a command"),
    ],
)
def test_each_failure_is_told_apart(error: Exception, says: str) -> None:
    told = unavailable(error, "db:6379")
    assert says in str(told)
    assert "db:6379" in str(told)
    assert str(pickle.loads(pickle.dumps(told))) == str(told)


def test_what_is_told_already_stays_as_it_is() -> None:
    told = StoreUnavailable("said before")
    assert unavailable(told, "db") is told
