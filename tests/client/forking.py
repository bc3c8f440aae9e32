"""A program that connects, then forks, as a server that preloads its application does: ``forking.py URL NAMESPACE``."""

import os
import sys

import sagas


def goes_on(client: sagas.SyncClient) -> bool:
    """Whether the client still gets answers: the instance that the child has started does not end."""
    try:
        client.get("from the child").result(timeout=0)
    except TimeoutError:
        return True
    return False


def child(inherited: sagas.SyncClient, handle: sagas.SyncHandle[object]) -> None:
    try:
        handle.describe()
    except sagas.SagaError as error:
        sys.stdout.write(f"{type(error).__name__} {error}\n")
    inherited.close()
    with sagas.connect_sync(*sys.argv[1:]) as own:
        own.start_by_name("nobody_runs_this", id="from the child")
        sys.stdout.write(f"child: {goes_on(own)}\n")


with sagas.connect_sync(*sys.argv[1:]) as client:
    handle = client.get("from the child")
    pid = os.fork()
    if pid == 0:
        child(client, handle)
        sys.exit()
    _, status = os.waitpid(pid, 0)
    sys.stdout.write(f"parent: {goes_on(client)}\n")
sys.exit(os.waitstatus_to_exitcode(status))
