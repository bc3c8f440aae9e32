"""The synchronous client: the calls of ``sagas.client`` for Django, Flask and scripts, each blocking its caller alone.

Law: nothing is decided here. A call is the asynchronous client's own, made on that client's loop in a thread of its
own, so the two can never differ in what they do; tests/client compares their signatures.
"""

from sagas.sync.client import SyncClient, connect_sync
from sagas.sync.handle import SyncHandle

__all__ = ["SyncClient", "SyncHandle", "connect_sync"]
