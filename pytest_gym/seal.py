"""The seal on a prepare script: while it runs, its thread reaches no network.

Rows must be a pure function of the pinned sources, or the freeze means nothing. The interpreter's own audit events are watched, so that it
does not matter which library asks; other threads (downloads) are not concerned. It keeps an honest author honest and is no sandbox: a
script that starts a process or a thread is not watched there.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Iterator
from typing import Any

_WATCHED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg")
_here = threading.local()


class Unsealed(Exception):
    """The script asked for the network; says whom."""


@contextlib.contextmanager
def sealed() -> Iterator[None]:
    """Raise Unsealed where the block's own thread asks for the network, also where the block swallows the error itself."""
    _watch()
    _here.tried, _here.on = None, True
    try:
        yield
    finally:
        _here.on = False
        tried, _here.tried = _here.tried, None
        if tried is not None:
            raise Unsealed(tried)


@functools.cache
def _watch() -> None:
    """Begin to watch: an audit hook stays for good, so it is there only once it is needed, and once."""
    sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _WATCHED or not getattr(_here, "on", False):
        return
    where = arguments[0] if event.startswith("socket.get") else arguments[-1]
    # Sockets of this machine's own file system are no network.
    if isinstance(where, str | bytes) and not event.startswith("socket.get"):
        return
    host = where[0] if isinstance(where, tuple) else where
    _here.tried = str(host.decode("utf-8", "replace") if isinstance(host, bytes) else host)
    raise Unsealed(_here.tried)
