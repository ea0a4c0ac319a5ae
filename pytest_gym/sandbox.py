"""The sandbox: run a program that a model wrote, with these files, this input and these limits, and say how it ended.

    done = await sandbox.run(["python", "main.py"], files={"main.py": text}, stdin="3 4", limits=Limits(cpu_s=3))

No network, no files of the host but a read-only system, an empty environment, process numbers of its own; docs/sandbox.md has the list.
Where there is no sandbox there is an error, never a run without one. Not here: how a backend isolates (`sandboxes/`), what runs within
(`sandboxes/launcher`), and what a verifier makes of the end.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import sys
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pytest_gym.errors import ConfigError, SandboxError

if TYPE_CHECKING:
    import asyncio

    from pytest_gym.settings import Settings

Ended = Literal["exit", "signal", "cpu", "wall", "memory", "output", "files", "killed", "judge", "judge_killed"]
BACKENDS = ("auto", "bubblewrap", "docker", "podman", "none")
_ENDS: dict[Ended, str] = {
    "signal": "was ended by a signal",
    "cpu": "used more processor time than it may",
    "wall": "took longer than it may",
    "memory": "used more memory than it may",
    "output": "wrote more than it may",
    "files": "made more files than it may",
    "killed": "took its sandbox down",
    "judge": "broke its judge",
    "judge_killed": "ended its judge, or made it use more than it may",
}
UNSAFE = "sandbox.backend=none: UNSAFE, programs that a model wrote run with all rights of this user"
START_S = 60.0
"""Seconds beyond a program's own that a sandbox may take to come up and to go, on a machine that does much else."""


@dataclass(frozen=True)
class Limits:
    """What one program may use.

    cpu_s: seconds of processor time, rounded up to whole ones for a single process. wall_s: seconds on the clock from the program's
    start; None means three times cpu_s and 5 more. memory_mb: MiB of address space of each process and of memory of all together; None
    means the setting `sandbox.memory`. processes: how many, threads included. open_files: of each process. output_kb: KiB of standard
    output and error together, and of collected files. disk_mb: MiB of the work folder, of /tmp, and of one file. judge_cpu_s: of a judge.
    """

    cpu_s: float = 10.0
    wall_s: float | None = None
    memory_mb: int | None = None
    processes: int = 64
    open_files: int = 256
    output_kb: int = 4096
    disk_mb: int = 64
    judge_cpu_s: float = 10.0


@dataclass(frozen=True)
class Done:
    """How a program ended.

    ended: `exit`, `signal`, or the limit it met: `cpu`, `wall`, `memory`, `output`, `files` (too many); `killed` where it took its
    sandbox down; `judge` and `judge_killed` where its judge raised or was killed. exit_code: negative for a signal, None where it was not
    seen. stdout, stderr: texts, bytes that are no UTF-8 as escapes. files: what was collected of `collect`. verdict: what the judge said.
    attempts: 2 where a run over the clock was tried again.
    """

    ended: Ended
    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    cpu_s: float = 0.0
    wall_s: float = 0.0
    verdict: Any = None
    attempts: int = 1

    @property
    def ok(self) -> bool:
        """Whether it came to its end by itself with exit code 0."""
        return self.ended == "exit" and self.exit_code == 0

    @property
    def why(self) -> str:
        """What became of it, in words for an explanation."""
        if self.ended == "exit":
            return "ended by itself" if self.exit_code == 0 else f"ended with exit code {self.exit_code}"
        return _ENDS[self.ended]


@dataclass(frozen=True)
class Command:
    """A backend's process on the host: `argv`, descriptors that it inherits, and the argv that ends it where killing it does not."""

    argv: Sequence[str]
    pass_fds: Sequence[int] = ()
    end: Sequence[str] = ()
    folder: str | None = None


class Backend(Protocol):
    """One way to isolate a program."""

    name: str
    work: str
    """The work folder as the program sees it."""
    own_users: bool
    """Whether each sandbox counts the processes of its user by itself, so that a limit on their number can be set within."""

    def command(self, launcher: str, limits: Limits, read_only: Sequence[Path]) -> Command:
        """What to start on the host so that `launcher`, Python source, runs isolated. Raises SandboxError where that cannot be."""

    def explain(self, stderr: str) -> str:
        """One sentence for a sandbox that did not come up, from what the backend's process wrote."""


class Sandbox:
    """Runs programs, so many at once as the setting `sandbox.concurrency` says (default: the machine's cores), for any event loop."""

    def __init__(self, backend: str = "auto", *, memory_mb: int = 2048, concurrency: int | None = None, image: str | None = None) -> None:
        self.choice, self.memory_mb, self.image = backend, memory_mb, image
        self.concurrency = concurrency or len(os.sched_getaffinity(0))
        self._backend: Backend | None = None
        self._slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = weakref.WeakKeyDictionary()

    @classmethod
    def of(cls, settings: Settings) -> Sandbox:
        """The sandbox that the settings `sandbox.*` describe."""
        get = settings.get
        return cls(
            get("sandbox.backend"), memory_mb=get("sandbox.memory"), concurrency=get("sandbox.concurrency"), image=get("sandbox.image")
        )

    @property
    def backend(self) -> Backend:
        """The backend in use, found when first needed. Raises SandboxError naming the package where there is none."""
        if self._backend is None:
            self._backend = _find(self.choice, self.image)
        return self._backend

    @property
    def unsafe(self) -> bool:
        """Whether programs run without any isolation."""
        return self.choice == "none"

    def protocol(self) -> dict[str, Any]:
        """What of it can move a score, for the fingerprint."""
        python = ".".join(map(str, sys.version_info[:2])) if self.choice not in ("docker", "podman") else self.image
        return {"memory": self.memory_mb, "python": python}

    async def run(
        self,
        argv: Sequence[str],
        *,
        files: Mapping[str, str | bytes] | None = None,
        stdin: str | bytes = "",
        limits: Limits | None = None,
        collect: Sequence[str] = (),
        judge: str | None = None,
        secret: Any = None,
        environment: Mapping[str, str] | None = None,
        read_only: Sequence[Path] = (),
    ) -> Done:
        """Run `argv` (first word `python`: the interpreter of the sandbox) in a fresh work folder with `files`.

        collect: names of files that are read when it is over. read_only: folders of the host that are seen at the same path. A run over
        the clock is tried once more, since the machine may have been busy.

        judge: Python source that runs beside the program in a process that the program cannot look into. It holds the other ends of the
        program's standard input (its descriptor 1) and output (descriptor 0), finds `secret` (JSON) as `given`, and leaves its `verdict`
        (JSON) as a global name; the run is over when it is. Without a word from the judge `verdict` is None.

        Raises SandboxError where the sandbox itself fails, ConfigError for a file name that leads out of the work folder. What the program
        does to itself or its sandbox is no error but an end.
        """
        import asyncio

        limits = limits or Limits()
        limits = replace(
            limits,
            wall_s=limits.wall_s if limits.wall_s is not None else limits.cpu_s * 3 + 5,
            memory_mb=limits.memory_mb or self.memory_mb,
        )
        request = {
            "argv": list(argv),
            "files": {_inside(name): _base64(content) for name, content in (files or {}).items()},
            "stdin": _base64(stdin),
            "limits": asdict(limits),
            "collect": [_inside(name) for name in collect],
            "judge": judge,
            "count": self.backend.own_users,
            "secret": secret,
            "environment": {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/home/user", "LANG": "C.UTF-8", **(environment or {})},
        }
        slots = self._slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self.concurrency))
        done = Done("killed")
        for attempt in (1, 2):
            async with slots:
                done = replace(await self._once(request, limits, read_only), attempts=attempt)
            if done.ended != "wall":
                break
        return done

    def run_now(self, argv: Sequence[str], **rest: Any) -> Done:
        """`run` for code that is not async, such as a conftest's own verifier; not within a running loop."""
        import asyncio

        return asyncio.run(self.run(argv, **rest))

    async def examine(
        self,
        program: Sequence[str],
        test: Sequence[str],
        names: Sequence[str],
        *,
        shared: bool = False,
        call_s: float = 0.0,
        limits: Limits | None = None,
    ) -> Done:
        """Run `test`, Python sources, against the functions `names` that `program`, Python sources, defines; `done.verdict` is the end.

        The sources of each are compiled one by one and run in one namespace. The test runs in a judge (see `run`): its `names` are
        stand-ins that send their arguments to the program and give back what it returns, rebuilt as values of builtin types
        (`sandboxes/values`). shared: the test needs live objects, so that it runs in the program's own process, after it; a program
        that looks for it there can then forge the verdict. call_s: seconds of processor time for each call,
        0 for those of the whole; the test may change it for one function (`f.seconds = 5`).

        The verdict is `{"passed": bool, "unit": index of the test's source that failed, "why": text, "calls": how many}`, or None where
        the program met a limit first (`done.ended`).
        """
        source = {name: (Path(__file__).parent / "sandboxes" / f"{name}.py").read_text() for name in ("values", "candidate", "examiner")}
        files = {f"unit{number:02}.py": text for number, text in enumerate(program)}
        return await self.run(
            ["python", "-I", "-S", "main.py"],
            files={**files, "main.py": source["values"] + source["candidate"]},
            limits=limits,
            judge=source["values"] + source["examiner"],
            secret={"test": list(test), "names": list(names), "shared": shared, "call_s": call_s},
        )

    def check(self) -> None:
        """Raise SandboxError where no program can be run; takes some hundredths of a second."""
        done = self.run_now(["python", "-I", "-S", "-c", "print(6 * 7)"], limits=Limits(cpu_s=5))
        if done.stdout.strip() != "42":
            raise SandboxError(f"the sandbox ({self.backend.name}) runs no Python: {done.stderr.strip()[-200:] or done.ended}")

    async def _once(self, request: Mapping[str, Any], limits: Limits, read_only: Sequence[Path]) -> Done:
        import asyncio

        backend = self.backend
        command = backend.command(_launcher(), limits, read_only)
        folder = command.folder or backend.work
        text = json.dumps({**request, "folder": folder}).encode()
        try:
            process = await asyncio.create_subprocess_exec(
                *command.argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={"PATH": os.environ.get("PATH", os.defpath)},
                pass_fds=command.pass_fds,
                cwd="/",
                limit=1 << 20,
            )
        except OSError as error:
            raise SandboxError(f"the sandbox ({backend.name}) cannot be started: {error}") from error
        finally:
            for descriptor in command.pass_fds:
                os.close(descriptor)
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None and limits.wall_s is not None
        report = b""
        errors = asyncio.ensure_future(process.stderr.read(1 << 16))
        try:
            async with asyncio.timeout(START_S):
                ready = await process.stdout.readline()
            if ready != b"ready\n":
                said = (await errors).decode("utf-8", "replace")
                raise SandboxError(backend.explain(said.strip()))
            async with asyncio.timeout(limits.wall_s + START_S):
                try:
                    process.stdin.write(b"%d\n" % len(text) + text)
                    await process.stdin.drain()
                except ConnectionError:
                    return Done("killed")
                report = await process.stdout.read()
        except TimeoutError:
            raise SandboxError(f"the sandbox ({backend.name}) gave no sign for {limits.wall_s + START_S:g} s") from None
        finally:
            errors.cancel()
            process.stdin.close()
            await _end(process, command, patience=2.0 if report.endswith(b"\n") else 0.0)
        return _done(report) if report.endswith(b"\n") else Done("killed")


async def _end(process: asyncio.subprocess.Process, command: Command, patience: float) -> None:
    """Make sure that nothing of a sandbox is left; one that has reported gets `patience` seconds to go by itself."""
    import asyncio
    import shutil

    try:
        async with asyncio.timeout(patience):
            await process.wait()
    except TimeoutError:
        # Not `process.kill()`: it reaps what the loop's own watcher waits for.
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        if command.end:
            await (await asyncio.create_subprocess_exec(*command.end, stdout=-3, stderr=-3)).wait()
        await process.wait()
    # Its pipes are closed here, not when the garbage is collected: the loop may be over by then.
    process._transport.close()  # type: ignore[attr-defined]
    if command.folder:
        shutil.rmtree(command.folder, ignore_errors=True)


def _done(report: bytes) -> Done:
    said = json.loads(report)
    text = {name: base64.b64decode(said[name]) for name in ("stdout", "stderr", "verdict")}
    verdict, stderr, ended = None, text["stderr"], said["ended"]
    if text["verdict"]:
        if ended == "exit":
            verdict = json.loads(text["verdict"])
        else:
            stderr += text["verdict"]
    return Done(
        ended,
        said["exit_code"],
        text["stdout"].decode("utf-8", "backslashreplace"),
        stderr.decode("utf-8", "backslashreplace"),
        {name: base64.b64decode(content) for name, content in said["files"].items()},
        said["cpu_s"],
        said["wall_s"],
        verdict,
    )


def _find(choice: str, image: str | None) -> Backend:
    from pytest_gym.sandboxes.bubblewrap import Bubblewrap
    from pytest_gym.sandboxes.container import Container
    from pytest_gym.sandboxes.unsafe import Nothing

    if choice == "none":
        return Nothing()
    if choice in ("docker", "podman"):
        return Container(choice, image)
    if choice not in BACKENDS:
        raise ConfigError(f"sandbox.backend must be one of {', '.join(BACKENDS)}, not {choice!r}")
    return Bubblewrap()


def _launcher() -> str:
    return (Path(__file__).parent / "sandboxes" / "launcher.py").read_text()


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in name:
        raise ConfigError(f"a file of a sandbox must lie in its work folder, not at {name!r}")
    return name


def _base64(content: str | bytes) -> str:
    # Lone surrogates, which a model may write, are passed on as the bytes that they stand for: no program reads them as text.
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return base64.b64encode(data).decode()
