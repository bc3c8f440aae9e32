"""A program that ends without closing its client: ``leaving.py URL NAMESPACE WAY``."""

import atexit
import sys
import threading

import sagas

url, namespace, way = sys.argv[1:]
client = sagas.connect_sync(url, namespace)
match way:
    case "blocked":  # in a thread that nobody joins
        handle = client.start_by_name("nobody_runs_this")
        threading.Thread(target=handle.result, daemon=True).start()
        while not client._thread._answers:
            pass
    case "exit handler":
        atexit.register(lambda: sys.stdout.write(f"count {client.count()}\n"))
