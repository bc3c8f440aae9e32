"""Where the store is: how a URL is chosen, kept in the data folder and shown to people.

Law: the user's word comes first (argument, then SAGAS_URL), then what a server of ours left in ``<data>/url``; a
Redis that merely happens to listen on localhost:6379 is never adopted. No message shows a password.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from sagas.errors import StoreUnavailable

DATA = Path(".sagas")
"""The data folder, where nobody names another: beside the code that is being worked on."""

_SECRET_OPTION = re.compile(r"([?&][^=&]*password=)[^&]*", re.IGNORECASE)


def resolve_url(url: str | None, data: Path = DATA) -> str:
    """The URL given, else SAGAS_URL, else that of the server started on ``data``.

    Raises: StoreUnavailable that names the three ways when none of them leads anywhere.
    """
    chosen = url or os.environ.get("SAGAS_URL") or read_url(data)
    if chosen:
        return chosen
    raise StoreUnavailable(
        "no Redis is named. Any one of these names it:\n"
        "  1. the url: sagas.connect('redis://HOST:6379/0'), or --url on the command line\n"
        "  2. the environment: SAGAS_URL=redis://HOST:6379/0\n"
        f"  3. `sagas dev`: it starts a server and leaves its address in {data / 'url'} (there is none now)"
    )


def read_url(data: Path) -> str | None:
    """The URL a running server left in ``<data>/url``, or None. Lines that begin with ``#`` are remarks.

    Raises: StoreUnavailable when there is one that may not be read.
    """
    try:
        lines = (data / "url").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreUnavailable(
            f"{data / 'url'} cannot be read: {error}. Mend its permissions, or use --url."
        ) from error
    return next((line.strip() for line in lines if line.strip() and not line.startswith("#")), None)


def write_url(data: Path, url: str, remark: str = "") -> None:
    """Leave ``url`` in ``<data>/url``, whole or not at all: a reader never sees half of it."""
    half_done = data / f"url.{os.getpid()}"
    half_done.write_text(f"{url}\n" + (f"# {remark}\n" if remark else ""), encoding="utf-8")
    half_done.replace(data / "url")


def unix_url(socket: Path) -> str:
    """The URL of a Unix socket; what a URL gives a meaning to (space, ``?``, ``#``, ``%``) is quoted."""
    return f"unix://{quote(str(socket))}"


def unix_path(url: str) -> Path | None:
    """The socket a ``unix://`` URL names, or None for any other URL."""
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "unix" else None


def without_option(url: str, name: str) -> tuple[str, str | None]:
    """The URL without its query option ``name``, and what that said (None without it)."""
    base, _, query = url.partition("?")
    options = [option.partition("=") for option in query.split("&")] if query else []
    said = next((value for each, _, value in options if each == name), None)
    others = "&".join("".join(option) for option in options if option[0] != name)
    return (f"{base}?{others}" if others else base), said


def redact(url: str) -> str:
    """``url`` for messages and logs, without its passwords: ``redis://app:***@host:6379/0``.

    Everything up to the last ``@`` counts as credentials, because a password that was not quoted may hold any
    character: better to hide too much of an odd URL than to show a part of a password.
    """
    scheme, mark, rest = url.partition("://")
    if not (mark and scheme.isalpha()):
        scheme, mark, rest = "", "", url
    if not rest.startswith("/"):  # unix:///path has no credentials before its path
        credentials, at, place = rest.rpartition("@")
        user, colon, _ = credentials.partition(":")
        rest = f"{user if colon else ''}:***@{place}" if at else rest
    return _SECRET_OPTION.sub(r"\1***", f"{scheme}{mark}{rest}")
