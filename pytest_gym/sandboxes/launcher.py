"""The first process within a sandbox: writes the files, starts the program under its limits, watches it, and reports how it ended.

It runs from its source (`python -I -S -c`), so that no backend needs to bring a file along: standard library only, nothing of ours, and as
few imports as can be, since it starts once for each program. As process 1 of its namespace no signal from within can end it, its end is
the end of all that runs there, and it is not dumpable: no process of the same user may read its memory or its open files.

Wire: a length, a newline and that many bytes of JSON come in on standard input (which stays open: its end means that whoever asked is
gone); `ready` and one line of JSON go out on standard output. A judge, where there is one, is a fork of this process that holds the
program's standard input and output and what it must not see.

Not here: what isolates (the backends), and who asks (`sandbox`).
"""

from __future__ import annotations

import binascii
import json
import os
import resource
import select
import signal
import stat
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

TICK_S = 0.05
MAX_FILES = 20_000
MAX_OPEN = 2_000
PAGE = 4096


def hide() -> None:
    """Make this process and its forks unreadable for others of the same user (PR_SET_DUMPABLE), and adopt orphans."""
    import ctypes

    libc = ctypes.CDLL(None)
    libc.prctl(4, 0, 0, 0, 0)
    libc.prctl(36, 1, 0, 0, 0)


def main() -> None:
    """Read the request, run it, report it."""
    hide()
    # The one signal that Python handles: as process 1 it could else be interrupted from within.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.write(1, b"ready\n")
    head = b""
    while not head.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return
        head += byte
    left, parts = int(head), []
    while left:
        part = os.read(0, min(left, 1 << 20))
        if not part:
            return
        parts.append(part)
        left -= len(part)
    report = json.dumps(Run(json.loads(b"".join(parts))).report()).encode() + b"\n"
    while report:
        report = report[os.write(1, report) :]


class Run:
    """One program, and its judge where there is one."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.limits = request["limits"]
        self.first = os.getpid() == 1
        self.output: dict[str, list[bytes]] = {"stdout": [], "stderr": [], "verdict": []}
        self.size = 0
        self.ended: str | None = None
        self.status: int | None = None
        self.judged: int | None = None
        self.spent = 0.0
        self.judge = 0
        self.next_check = 0.0
        self.seen: dict[tuple[str, bytes], int] = {}
        self.poll = select.poll()
        self.pipes: dict[int, str] = {}

    def report(self) -> dict[str, Any]:
        """Run, and say how it went."""
        for name, text in self.request["files"].items():
            path = os.path.join(self.request["folder"], name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(binascii.a2b_base64(text))
        judge = self.request["judge"]
        inputs, outputs, errors = os.pipe(), os.pipe(), os.pipe()
        if judge is not None:
            verdict = os.pipe()
            self.judge = os.fork()
            if not self.judge:
                self._judge(judge, outputs[0], inputs[1], verdict[1])
            os.close(verdict[1])
            self._watch(verdict[0], "verdict")
        # The clock starts with the program, not with what had to be made ready for it.
        self.started = time.monotonic()
        self.program = os.fork()
        if not self.program:
            self._program(inputs[0], outputs[1], errors[1])
        for end in (inputs[0], outputs[1], errors[1]):
            os.close(end)
        self._watch(errors[0], "stderr")
        if judge is not None:
            os.close(outputs[0])
            os.close(inputs[1])
            given = b""
        else:
            self._watch(outputs[0], "stdout")
            given = binascii.a2b_base64(self.request["stdin"])
        self._loop(inputs[1] if judge is None else None, given)
        wall = time.monotonic() - self.started
        self._end_all()
        files = self._collect()
        code = None if self.status is None else os.waitstatus_to_exitcode(self.status)
        said = {name: binascii.b2a_base64(b"".join(parts), newline=False).decode() for name, parts in self.output.items()}
        if self.judged is None:
            said["verdict"] = ""
        self.ended = self.ended or self._why(code)
        return {"ended": self.ended, "exit_code": code, "cpu_s": self.spent, "wall_s": wall, "files": files, **said}

    def _why(self, code: int | None) -> str:
        if code == -signal.SIGXCPU or (code == -signal.SIGKILL and self.spent >= self.limits["cpu_s"]):
            return "cpu"
        if self.judged is not None:
            # A program that still runs when its judge is done is ended by us: that says nothing about it.
            return "exit" if self.judged == 0 else "judge" if self.judged > 0 else "judge_killed"
        return "exit" if code is not None and code >= 0 else "signal"

    def _watch(self, descriptor: int, name: str) -> None:
        os.set_blocking(descriptor, False)
        self.pipes[descriptor] = name
        self.poll.register(descriptor, select.POLLIN)

    def _loop(self, stdin: int | None, given: bytes) -> None:
        """Until the program (or the judge) is over or a limit is reached."""
        # A handle of the process that becomes readable when it ends: nothing has to be asked again and again.
        over = {os.pidfd_open(self.program): "program"}
        if self.request["judge"] is not None:
            over[os.pidfd_open(self.judge)] = "judge"
        for handle in over:
            self.poll.register(handle, select.POLLIN)
        self.poll.register(0, select.POLLIN)
        if stdin is not None:
            os.set_blocking(stdin, False)
            if given:
                self.poll.register(stdin, select.POLLOUT)
            else:
                os.close(stdin)
        last = self.request["judge"] is None
        while self.ended is None:
            for descriptor, _ in self.poll.poll(TICK_S * 1000):
                if descriptor == 0:
                    if not os.read(0, 4096):
                        self._end_all()
                        os._exit(0)
                elif stdin is not None and descriptor == stdin:
                    try:
                        given = given[os.write(stdin, given[:65536]) :]
                    except BlockingIOError:
                        continue
                    except OSError:
                        given = b""
                    if not given:
                        self.poll.unregister(stdin)
                        os.close(stdin)
                        stdin = None
                elif descriptor in over:
                    self.poll.unregister(descriptor)
                    self._reap(over.pop(descriptor))
                else:
                    self._read(descriptor)
            if (self.status is not None and last) or self.judged is not None:
                break
            self._check()

    def _reap(self, who: str) -> None:
        _, status, used = os.wait4(self.program if who == "program" else self.judge, 0)
        if who == "program":
            self.status = status
            self.spent = used.ru_utime + used.ru_stime
        else:
            self.judged = os.waitstatus_to_exitcode(status)

    def _read(self, descriptor: int) -> bool:
        try:
            chunk = os.read(descriptor, 65536)
        except BlockingIOError:
            return False
        if not chunk:
            self.poll.unregister(descriptor)
            del self.pipes[descriptor]
            os.close(descriptor)
            return False
        left = self.limits["output_kb"] * 1024 - self.size
        self.size += len(chunk)
        if len(chunk) > left:
            self.ended = "output"
        self.output[self.pipes[descriptor]].append(chunk[: max(left, 0)])
        return True

    def _check(self) -> None:
        """The limits that hold for all processes together, and the clock."""
        now = time.monotonic()
        if now - self.started > self.limits["wall_s"]:
            self.ended = "wall"
        if self.ended or now < self.next_check or not self.first:
            return
        self.next_check = now + TICK_S
        resident, ticks, files = 0, 0, 0
        for name in os.listdir("/proc"):
            if not name.isdigit() or name == "1":
                continue
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            resident += int(fields[21])
            if int(name) != self.judge:
                ticks += sum(map(int, fields[11:15]))
                # Children that nobody waits for are in no parent's account once they are gone.
                self.seen[name, fields[19]] = int(fields[11]) + int(fields[12])
                files += self._open_files(name)
        ticks = max(ticks, sum(self.seen.values()))
        if resident * PAGE > self.limits["memory_mb"] << 20:
            self.ended = "memory"
        elif files > MAX_OPEN:
            # What sockets and pipes hold is memory of the kernel, which no other limit counts.
            self.ended = "files"
        elif ticks / os.sysconf("SC_CLK_TCK") > -int(-self.limits["cpu_s"] // 1):
            self.ended = "cpu"
        for folder in (self.request["folder"], "/tmp", "/dev/shm"):
            room = os.statvfs(folder)
            if room.f_files - room.f_ffree > MAX_FILES:
                self.ended = "files"

    def _open_files(self, process: str) -> int:
        try:
            return len(os.listdir(f"/proc/{process}/fd"))
        except PermissionError:
            return int(self.limits["open_files"])
        except OSError:
            return 0

    def _end_all(self) -> None:
        """Kill all that is left, also what tried to get away, and read what it had written."""
        while True:
            self._kill()
            try:
                while True:
                    done, status, used = os.wait4(-1, os.WNOHANG)
                    if not done:
                        break
                    if done == self.program:
                        self.status, self.spent = status, used.ru_utime + used.ru_stime
            except ChildProcessError:
                break
            time.sleep(0.001)
        for descriptor in list(self.pipes):
            while descriptor in self.pipes and self._read(descriptor):
                pass

    def _kill(self) -> None:
        if self.first:
            try:
                os.kill(-1, signal.SIGKILL)
            except ProcessLookupError:
                pass
            return
        # Without a namespace: our children, and what they left behind, which became our children.
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            found = file.read().split()
        for child in found:
            try:
                os.killpg(int(child), signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
            try:
                os.kill(int(child), signal.SIGKILL)
            except ProcessLookupError:
                pass

    def _collect(self) -> dict[str, str]:
        files: dict[str, str] = {}
        left, folder = self.limits["output_kb"] * 1024, os.path.realpath(self.request["folder"])
        for name in self.request["collect"]:
            # No link is followed, of a folder on the way neither: not even to a file of this sandbox.
            path = os.path.normpath(os.path.join(folder, name))
            if os.path.realpath(os.path.dirname(path)) != os.path.dirname(path):
                continue
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                continue
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                continue
            with open(descriptor, "rb") as file:
                content = file.read(left + 1)
            if len(content) <= left:
                left -= len(content)
                files[name] = binascii.b2a_base64(content, newline=False).decode()
        return files

    def _limit(self, cpu_s: float) -> None:
        limits, seconds = self.limits, max(1, -int(-cpu_s // 1))
        for name, soft, hard in (
            (resource.RLIMIT_CPU, seconds, seconds + 1),
            (resource.RLIMIT_AS, limits["memory_mb"] << 20, limits["memory_mb"] << 20),
            (resource.RLIMIT_NPROC, limits["processes"], limits["processes"]),
            (resource.RLIMIT_NOFILE, limits["open_files"], limits["open_files"]),
            (resource.RLIMIT_FSIZE, limits["disk_mb"] << 20, limits["disk_mb"] << 20),
            (resource.RLIMIT_CORE, 0, 0),
            (resource.RLIMIT_MEMLOCK, 0, 0),
            (resource.RLIMIT_MSGQUEUE, 0, 0),
        ):
            if name == resource.RLIMIT_NPROC and not self.request["count"]:
                continue  # It would count the processes of other sandboxes, too.
            most = resource.getrlimit(name)[1]
            if most != resource.RLIM_INFINITY:
                soft, hard = min(soft, most), min(hard, most)
            resource.setrlimit(name, (soft, hard))

    def _program(self, stdin: int, stdout: int, stderr: int) -> NoReturn:
        try:
            os.setsid()
            for target, source in enumerate((stdin, stdout, stderr)):
                os.dup2(source, target)
            for number in (signal.SIGPIPE, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            os.chdir(self.request["folder"])
            self._limit(self.limits["cpu_s"])
            argv = self.request["argv"]
            if argv[0] == "python":
                argv[0] = sys.executable
            os.execvpe(argv[0], argv, self.request["environment"])
        except BaseException as error:
            os.write(2, f"{argv[0] if 'argv' in locals() else 'program'}: {error}\n".encode())
        finally:
            os._exit(127)

    def _judge(self, source: str, receive: int, send: int, verdict: int) -> NoReturn:
        code = 1
        try:
            os.dup2(receive, 0)
            os.dup2(send, 1)
            os.dup2(verdict, 3)
            os.closerange(4, 64)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            os.chdir("/")
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            self._limit(self.limits["judge_cpu_s"])
            space = {"__name__": "__main__", "given": self.request["secret"]}
            exec(compile(source, "<judge>", "exec"), space)
            said = json.dumps(space["verdict"]).encode()
            while said:
                said = said[os.write(3, said) :]
            code = 0
        except BaseException:
            # Whatever it is, there is no verdict then.
            import traceback

            os.write(3, traceback.format_exc().encode("utf-8", "replace")[-4000:])
        finally:
            os._exit(code)


if __name__ == "__main__":
    main()
