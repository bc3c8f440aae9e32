"""What of the world saga code can never ask by itself, and what to use instead: one table for every guard.

Law: a row is here only if no saga can be right that calls it. Names are as a programmer writes them. ``definition.py``
looks for them in the source of a saga; the engine's guard watches those that Python lets it watch, while a saga runs.
"""

from __future__ import annotations

_CLOCK = "a clock that tells every replay something else: use sagas.now()"
_DICE = "chance that no replay can repeat: use sagas.random(), or random.Random(sagas.random())"
_ID = "an id that no replay can make again: use sagas.uuid4()"
_BYTES = "chance that no replay can repeat: make it in an @activity, or use sagas.uuid4()"
_SLEEP = "a wait that holds up every instance of its host: use await asyncio.sleep() or sagas.sleep()"
_THREAD = "a thread: put the work into an @activity (a plain def runs in a thread)"
_PROCESS = "a process: start it in an @activity"
_SOCKET = "a socket: do I/O in an @activity"
_FILE = "a file: do I/O in an @activity"
_HTTP = "a call over the network: do I/O in an @activity"
_INPUT = "a person at a terminal: send the instance a signal"

_DICE_METHODS = (
    *("betavariate", "binomialvariate", "choice", "choices", "expovariate", "gammavariate", "gauss", "getrandbits"),
    *("lognormvariate", "normalvariate", "paretovariate", "randbytes", "randint", "random", "randrange", "sample"),
    *("seed", "shuffle", "triangular", "uniform", "vonmisesvariate", "weibullvariate"),
)
_VERBS = ("delete", "get", "head", "options", "patch", "post", "put", "request")

WATCHED: dict[str, str] = {
    "time.sleep": _SLEEP,
    **dict.fromkeys(("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns"), _CLOCK),
    **dict.fromkeys(("time.perf_counter", "time.perf_counter_ns"), _CLOCK),
    **{f"random.{name}": _DICE for name in _DICE_METHODS},
    **dict.fromkeys(("uuid.uuid1", "uuid.uuid4", "uuid.uuid6", "uuid.uuid7", "uuid.uuid8"), _ID),
    **dict.fromkeys(("os.urandom", "os.getrandom", "random._urandom"), _BYTES),
    **dict.fromkeys(("threading.Thread.start", "_thread.start_new_thread"), _THREAD),
}
"""Functions that can be watched while a saga runs: each is looked up in its module at every call."""

UNWATCHED: dict[str, str] = {
    **dict.fromkeys(("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today"), _CLOCK),
    "datetime.date.today": _CLOCK,
    "random.SystemRandom": _BYTES,
    **{f"secrets.{name}": _BYTES for name in ("choice", "randbelow", "randbits", "token_bytes", "token_hex")},
    "secrets.token_urlsafe": _BYTES,
    **dict.fromkeys(("threading.Thread", "threading.Timer"), _THREAD),
    **{f"concurrent.futures.{pool}PoolExecutor": _THREAD for pool in ("Thread", "Process")},
    **dict.fromkeys(("open", "io.open", "os.open", "os.listdir", "os.scandir", "os.remove", "os.mkdir"), _FILE),
    "input": _INPUT,
    **{f"os.{name}": _PROCESS for name in ("system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp")},
    **{f"subprocess.{name}": _PROCESS for name in ("run", "Popen", "call", "check_call", "check_output")},
    **{f"subprocess.{name}": _PROCESS for name in ("getoutput", "getstatusoutput")},
    **{f"multiprocessing.{name}": _PROCESS for name in ("Process", "Pool")},
    **{f"socket.{name}": _SOCKET for name in ("socket", "create_connection", "create_server", "socketpair")},
    **{f"socket.{name}": "a name look-up: do I/O in an @activity" for name in ("getaddrinfo", "gethostbyname")},
    **dict.fromkeys(("urllib.request.urlopen", "urllib.request.urlretrieve", "requests.Session"), _HTTP),
    **{f"{library}.{verb}": _HTTP for library in ("requests", "httpx") for verb in _VERBS},
    **dict.fromkeys(("httpx.Client", "httpx.AsyncClient", "httpx.stream", "aiohttp.ClientSession"), _HTTP),
    "sqlite3.connect": "a database: do I/O in an @activity",
}
"""What only the source shows, or an audit event as well (``AUDITED``)."""

BARE: dict[str, str] = {
    "random.Random": _DICE,
    **dict.fromkeys(("time.localtime", "time.gmtime", "time.ctime"), _CLOCK),
}
"""What is wrong only without arguments."""

AUDITED: dict[str, str] = {
    **dict.fromkeys(("open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rename", "os.rmdir"), _FILE),
    **dict.fromkeys(("os.truncate", "os.chmod", "os.chown", "os.link", "os.symlink", "os.utime", "os.chdir"), _FILE),
    **dict.fromkeys(
        ("tempfile.mkstemp", "tempfile.mkdtemp", "shutil.rmtree", "shutil.copyfile", "mmap.__new__"), _FILE
    ),
    **dict.fromkeys(("socket.__new__", "socket.bind", "socket.connect", "socket.sendto", "socket.sendmsg"), _SOCKET),
    **{f"socket.{name}": "a name look-up: do I/O in an @activity" for name in ("getaddrinfo", "gethostbyname")},
    **dict.fromkeys(("socket.gethostbyaddr", "socket.getnameinfo", "socket.gethostname"), _SOCKET),
    **dict.fromkeys(("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn"), _PROCESS),
    **dict.fromkeys(("os.spawn", "os.startfile", "pty.spawn", "os.kill", "os.killpg", "signal.pthread_kill"), _PROCESS),
    **dict.fromkeys(("os.putenv", "os.unsetenv"), "the environment of its host: hand values over as arguments"),
    "sqlite3.connect": "a database: do I/O in an @activity",
    "builtins.input": _INPUT,
    **dict.fromkeys(("_thread.start_new_thread", "_thread.start_joinable_thread"), _THREAD),
    "time.sleep": _SLEEP,
}
"""Python's audit events: of the interpreter itself, so that no import and no alias leads past them."""
