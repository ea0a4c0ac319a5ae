"""Calling a function that may hang, eat all memory or crash the interpreter: `run_bounded`, in a helper process that can be killed.

One helper per calling process, started when it is first needed and kept; a call that goes out of bounds costs the helper, and the next
call starts another. Arguments and the result pass as JSON, so that whatever happened in the helper cannot reach into the caller.
Python's own means do not do: a signal handler never runs inside a long C call such as `9**9**9`, and only in the main thread.

Not here: a sandbox. The function is our own code and only its input is strange; for programs that a model wrote this is no protection.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import importlib.util
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pytest_gym.errors import GymError

Limit = Literal["time", "memory", "recursion", "crash"]

START_SECONDS = 120.0
"""Wall-clock seconds that the helper may take to start and to import what it needs, which no call's own limit includes."""

WALL_FACTOR = 4.0
"""A call is also stopped after this many times its seconds on the clock: it may sleep, or share its core with much else."""

_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONHASHSEED")


class OutOfBounds(GymError):
    """A call ran out of a limit, or took its process down: `limit` is "time", "memory", "recursion" or "crash", the text one sentence."""

    kind = "bounds"

    def __init__(self, reason: str, limit: Limit) -> None:
        super().__init__(reason)
        self.limit = limit


class CallFailed(GymError):
    """The function raised an exception of its own, could not be found, or returned something that JSON cannot hold."""

    kind = "bounds"


def run_bounded(
    function: Callable[..., Any] | str, *arguments: Any, seconds: float, memory_mb: int = 2048, imports: Sequence[str] = ()
) -> Any:
    """Call a module-level function in the helper process and return its value.

    `function` is the function itself (its file is loaded by path), "package.module:name" or "file.py:name". `arguments` and the value are
    JSON (a tuple comes back as a list; lone surrogates survive). `seconds` are of processor time, so that the result does not hang on what
    else the machine does; four times that on the clock is the limit for a call that waits. `memory_mb` limits the address space of the
    helper in MiB. `imports` names modules that are loaded before the clock starts.

    Raises OutOfBounds, or CallFailed. Any thread may call; calls of one process run one after the other, and waiting for one's turn does
    not count.
    """
    request = {
        "function": function if isinstance(function, str) else _address(function),
        "arguments": arguments,
        "seconds": seconds,
        "memory_mb": memory_mb,
        "imports": list(imports),
    }
    try:
        line = json.dumps(request).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise CallFailed(f"{request['function']}: its arguments cannot be passed as JSON: {error}") from error
    with _caller.lock:
        return _caller.call(line, str(request["function"]), seconds, memory_mb)


def _address(function: Callable[..., Any]) -> str:
    # By the file's path, since the files of a gym root have made-up module names that mean nothing in another process.
    file, name = function.__code__.co_filename, function.__qualname__
    if not name.isidentifier() or not os.path.isfile(file):
        raise CallFailed(f"{name}: only a function at the top level of a file can be called in the helper process")
    return f"{os.path.abspath(file)}:{name}"


# ---------------------------------------------------------------------------------------------------------------- the caller's side


class _Helper:
    """A running helper process with its two pipes."""

    def __init__(self) -> None:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        code = "import sys; sys.path[:] = sys.argv[1:]; from pytest_gym.bounded import serve; serve()"
        # -P: a file of the current folder must not shadow a standard module. An own session: Ctrl-C is the caller's to handle.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-c", code, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            bufsize=0,
            start_new_session=True,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.requests, self.replies = self.process.stdin, self.process.stdout
        self.unread = bytearray()

    def send(self, message: bytes) -> None:
        """Write one message; OSError where the helper is gone."""
        left = memoryview(b"%d\n" % len(message) + message)
        while left:
            left = left[os.write(self.requests.fileno(), left) :]

    def receive(self, seconds: float) -> Any:
        """The next message; TimeoutError after `seconds` on the clock, EOFError where the helper is gone."""
        deadline = time.monotonic() + seconds
        # poll, not select: with a thousand connections open a descriptor may lie beyond select's 1,024.
        poll = select.poll()
        poll.register(self.replies, select.POLLIN)
        while True:
            head = self.unread.find(b"\n", 0, 32) + 1
            if head:
                end = head + int(self.unread[: head - 1])
                if len(self.unread) >= end:
                    message = bytes(self.unread[head:end])
                    del self.unread[:end]
                    return json.loads(message)
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise TimeoutError
            chunk = os.read(self.replies.fileno(), 1 << 20)
            if not chunk:
                raise EOFError
            self.unread += chunk

    def stop(self, grace: float = 0.0) -> int:
        """End the helper with all that it started, and return how it ended (negative: the signal).

        One that is dying by itself gets `grace` seconds to do so: its own signal says why.
        """
        if grace:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(grace)
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.requests.close()
        self.replies.close()
        return self.process.wait()


class _Caller:
    """This process's helper, if it has one, and whose turn it is."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.helper: _Helper | None = None

    def call(self, message: bytes, name: str, seconds: float, memory_mb: int) -> Any:
        """Send one request and wait for its value; the lock is held."""
        if self.helper is not None and self.helper.process.poll() is not None:
            # It was killed from outside between two calls: no fault of this one.
            self.discard()
        loaded = False
        try:
            if self.helper is None:
                self.helper = _Helper()
            self.helper.send(message)
            reply = self.helper.receive(START_SECONDS)
            if "loaded" in reply:
                loaded = True
                reply = self.helper.receive(seconds * WALL_FACTOR)
        except TimeoutError:
            self.discard()
            if not loaded:
                raise CallFailed(f"{name}: the helper process was not ready after {START_SECONDS:g} s") from None
            raise OutOfBounds(f"took longer than {seconds * WALL_FACTOR:g} s", "time") from None
        except (EOFError, OSError, ValueError) as error:
            status = self.discard(grace=1.0)
            if not loaded:
                raise CallFailed(f"{name}: the helper process did not start: {error or f'exit status {status}'}") from None
            raise _death(status, seconds) from None
        except BaseException:
            # An interrupt in the middle of a message: the pipes are out of step.
            self.discard()
            raise
        if "value" in reply:
            return reply["value"]
        if reply["limit"] is None:
            raise CallFailed(f"{name}: {reply['error']}")
        self.discard()
        if reply["limit"] == "memory":
            raise OutOfBounds(f"needed more than {memory_mb} MiB of memory", "memory")
        raise OutOfBounds("went deeper than Python's recursion limit", "recursion")

    def discard(self, grace: float = 0.0) -> int:
        """Stop the helper and return how it ended; the next call starts another."""
        helper, self.helper = self.helper, None
        return helper.stop(grace) if helper else 0

    def forget(self) -> None:
        """In a forked child: it shares the pipes, and must neither talk through them nor stop its parent's helper."""
        helper = self.helper
        self.lock, self.helper = threading.Lock(), None
        if helper is not None:
            helper.process.returncode = 0
            helper.requests.close()
            helper.replies.close()


def _death(status: int, seconds: float) -> OutOfBounds:
    if -status in (signal.SIGPROF, signal.SIGALRM):
        return OutOfBounds(f"took longer than {seconds:g} s of processor time", "time")
    ended = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    return OutOfBounds(f"crashed the process that ran it ({ended})", "crash")


_caller = _Caller()


@atexit.register
def close() -> None:
    """Stop the helper, if there is one, also in the middle of a call; the next call starts another. Runs by itself at exit."""
    helper = _caller.helper
    if helper is not None:
        # Another thread may be waiting for it with the lock held; now it will not have to wait long.
        helper.process.kill()
    with _caller.lock:
        _caller.discard()


os.register_at_fork(after_in_child=_caller.forget)


# ---------------------------------------------------------------------------------------------------------------- the helper's side


def serve() -> None:
    """The helper's loop: read a request from the pipe, call, reply, until the pipe closes. Not for callers."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)

    def reply(message: dict[str, Any]) -> None:
        data = json.dumps(message).encode()
        replies.write(b"%d\n" % len(data) + data)
        replies.flush()

    for name in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(name, signal.SIG_DFL)
    while head := requests.readline():
        request = json.loads(requests.read(int(head)))
        try:
            for module in request["imports"]:
                importlib.import_module(module)
            function = _load(request["function"])
        except Exception as error:
            reply({"limit": None, "error": f"{type(error).__name__}: {error}"})
            continue
        reply({"loaded": True})
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (request["memory_mb"] << 20, hard))
        # The default action of both signals ends the process at once, also within a C call; the second is for an orphan that sleeps.
        signal.setitimer(signal.ITIMER_PROF, request["seconds"])
        signal.setitimer(signal.ITIMER_REAL, request["seconds"] * WALL_FACTOR + 1)
        answer: dict[str, Any]
        try:
            answer = {"value": function(*request["arguments"])}
            json.dumps(answer)
        except MemoryError:
            answer = {"limit": "memory"}
        except RecursionError:
            answer = {"limit": "recursion"}
        except Exception as error:
            answer = {"limit": None, "error": f"{type(error).__name__}: {error}"}
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        reply(answer)


def _load(address: str) -> Callable[..., Any]:
    where, _, name = address.rpartition(":")
    if where.endswith(".py"):
        from pytest_gym.verify import load_module

        return getattr(load_module(Path(where), "bounded"), name)  # type: ignore[no-any-return]
    return getattr(importlib.import_module(where), name)  # type: ignore[no-any-return]
