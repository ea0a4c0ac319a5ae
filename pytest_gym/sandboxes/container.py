"""Docker and Podman: a container for each program, for machines where bubblewrap may not make namespaces.

Slower by some tenths of a second for each program. The image must have Python; it is pulled by whoever runs the benchmark, never by a run.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from pytest_gym.errors import SandboxError
from pytest_gym.sandbox import Command, Limits

IMAGE = "python:3.12-slim"


class Container:
    """The backends `docker` and `podman`. Raises SandboxError where the command is missing."""

    work = "/work"
    own_users = False

    def __init__(self, name: str, image: str | None = None) -> None:
        self.name, self.image = name, image or IMAGE
        found = shutil.which(name)
        if found is None:
            raise SandboxError(f"no sandbox for programs that a model wrote: sandbox.backend is {name}, but there is no command {name!r}")
        self._cli = found

    def command(self, launcher: str, limits: Limits, read_only: Sequence[Path]) -> Command:
        """The command line of `run`: no network, no capabilities, a read-only root, memory disks for what may be written."""
        name, disk = f"pytest-gym-{uuid.uuid4().hex}", f"rw,nosuid,nodev,mode=1777,size={limits.disk_mb}m"
        argv = [
            *(self._cli, "run", "--rm", "--interactive", "--pull", "never", "--name", name, "--log-driver", "none"),
            *("--network", "none", "--ipc", "private", "--hostname", "sandbox", "--read-only"),
            *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", "65534:65534"),
            *("--pids-limit", str(limits.processes + 2), "--memory", f"{limits.memory_mb}m", "--memory-swap", f"{limits.memory_mb}m"),
            *("--tmpfs", f"{self.work}:{disk},exec", "--tmpfs", f"/tmp:{disk}", "--tmpfs", f"/home/user:{disk}"),
            *("--shm-size", f"{limits.disk_mb}m", "--workdir", self.work),
        ]
        for path in read_only:
            argv += ["--volume", f"{os.fspath(path)}:{os.fspath(path)}:ro"]
        argv += ["--entrypoint", "python3", self.image, "-I", "-S", "-c", launcher]
        return Command(argv, end=[self._cli, "kill", name])

    def explain(self, stderr: str) -> str:
        """Why the container did not start: no daemon, or no image."""
        first = stderr.splitlines()[0][:300] if stderr else "no reason given"
        hint = ""
        if "No such image" in stderr or "image not known" in stderr:
            hint = f"; get it first: {self.name} pull {self.image}"
        elif "daemon" in stderr:
            hint = "; start the daemon, or choose another sandbox.backend"
        return f"the sandbox ({self.name}) does not come up: {first}{hint}"
