"""Bubblewrap (`bwrap`): Linux namespaces without a daemon, as any user and as root. The default backend.

As root the program is given to the user nobody first: limits on the number of processes do not hold for root, whatever the namespace.
What root alone may read (an interpreter below /root) is then reached through a mount of an outer bwrap.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_gym.errors import SandboxError
from pytest_gym.sandbox import Command, Limits
from pytest_gym.sandboxes.syscalls import program

MISSING = (
    "no sandbox for programs that a model wrote: bubblewrap is not installed (Debian, Ubuntu, Fedora, Arch: package 'bubblewrap'); "
    "docker or podman will do as well (--gym-set=sandbox.backend=docker)"
)
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime")
_NOBODY = 65534


class Bubblewrap:
    """The backend `bubblewrap`. Raises SandboxError where its programs are missing."""

    name = "bubblewrap"
    work = "/work"
    own_users = True

    def __init__(self) -> None:
        found = shutil.which("bwrap")
        if found is None or sys.platform != "linux":
            raise SandboxError(MISSING)
        self._bwrap = found
        self._root = os.geteuid() == 0
        self._filter = program()
        if self._root and shutil.which("setpriv") is None:
            raise SandboxError("the sandbox needs setpriv (package 'util-linux') to run programs as another user than root")

    def command(self, launcher: str, limits: Limits, read_only: Sequence[Path]) -> Command:
        """The command line: namespaces, a read-only system, small memory disks for what may be written."""
        size = str(limits.disk_mb << 20)
        shown = [Path(sys.base_prefix), *read_only]
        visible = [path for path in dict.fromkeys(shown) if not path.is_relative_to("/usr")]
        argv = [
            self._bwrap,
            *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--unshare-cgroup-try"),
            *("--uid", str(_NOBODY), "--gid", str(_NOBODY), "--hostname", "sandbox"),
            *("--cap-drop", "ALL", "--new-session", "--die-with-parent", "--as-pid-1", "--clearenv"),
        ]
        for path in _SYSTEM:
            if os.path.islink(path) and path.count("/") == 1:
                argv += ["--symlink", os.readlink(path), path]
            elif os.path.exists(path):
                argv += ["--ro-bind", path, path]
        argv += ["--proc", "/proc", "--dev", "/dev", "--size", size, "--perms", "1777", "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]
        for folder in (self.work, "/tmp", "/home/user"):
            argv += ["--size", size, "--perms", "1777", "--tmpfs", folder]
        # Behind the memory disks, so that an interpreter below /tmp or /home is not hidden by them.
        for number, shown_path in enumerate(visible):
            argv += ["--ro-bind", f"/tmp/{number}" if self._root else str(shown_path), str(shown_path)]
        argv += ["--remount-ro", "/", "--chdir", self.work]
        fds = []
        if self._filter is not None:
            descriptor = os.memfd_create("seccomp")
            os.write(descriptor, self._filter)
            os.lseek(descriptor, 0, os.SEEK_SET)
            argv += ["--seccomp", str(descriptor)]
            fds.append(descriptor)
        argv += ["--", f"{sys.base_prefix}/bin/python{sys.version_info[0]}.{sys.version_info[1]}", "-I", "-S", "-c", launcher]
        return Command(self._as_nobody(visible) + argv if self._root else argv, fds)

    def explain(self, stderr: str) -> str:
        """Why bwrap did not come up: most often a kernel or container that forbids user namespaces."""
        first = stderr.splitlines()[0][:300] if stderr else "no reason given"
        hint = ""
        if "ermission" in stderr or "namespace" in stderr or "uid map" in stderr:
            hint = (
                "; this machine does not let it make namespaces (in a container: run it with seccomp and apparmor unconfined; "
                "on Ubuntu 24.04: an AppArmor profile for bwrap), or choose another sandbox.backend"
            )
        return f"the sandbox (bubblewrap) does not come up: {first}{hint}"

    def _as_nobody(self, visible: Sequence[Path]) -> list[str]:
        """An outer bwrap that shows under /tmp what root alone may read, then gives up being root."""
        argv = [self._bwrap, "--dev-bind", "/", "/", "--tmpfs", "/tmp", "--die-with-parent"]
        for number, path in enumerate(visible):
            argv += ["--ro-bind", str(path), f"/tmp/{number}"]
        return [*argv, "--", "setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--no-new-privs"]
