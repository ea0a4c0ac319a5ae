"""Running programs in the sandbox from a test."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from dataclasses import asdict
from functools import cache
from pathlib import Path

import pytest

from pytest_gym.sandbox import Done, Limits, Sandbox

needs_bubblewrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
SMALL = Limits(cpu_s=1, wall_s=15, memory_mb=256, processes=16, output_kb=64, disk_mb=1)


def python(code: str, *, limits: Limits = SMALL, sandbox: Sandbox | None = None, **rest) -> Done:
    """How a Python program ended, in a sandbox of its own."""
    sandbox = sandbox or Sandbox()
    return asyncio.run(sandbox.run(["python", "-I", "-S", "main.py"], files={"main.py": code}, limits=limits, **rest))


ROOT = Path(__file__).resolve().parent.parent
NOBODY = 65534
_ASKS = f"""
import asyncio, json, sys
sys.path[:0] = [{str(ROOT)!r}]
from dataclasses import asdict
from pytest_gym.sandbox import Limits, Sandbox
asked = json.load(sys.stdin)
files = {{"main.py": asked["code"]}}
run = Sandbox().run(["python", "-I", "-S", "main.py"], files=files, limits=Limits(**asked["limits"]), collect=asked["collect"])
done = asdict(asyncio.run(run))
done["files"] = {{name: text.decode() for name, text in done["files"].items()}}
print(json.dumps(done))
"""


@cache
def as_nobody() -> list[str]:
    """The beginning of a command line that runs the system's Python as an unprivileged user; skips where that cannot be."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can become somebody else")
    words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "/usr/bin/python3"]
    probe = f"import sys; open({str(ROOT / 'README.md')!r}); sys.exit(sys.version_info < (3, 11))"
    if subprocess.run([*words, "-c", probe], capture_output=True, check=False).returncode:
        pytest.skip("the system's Python is too old, or this folder is closed to others")
    return words


def python_as_nobody(code: str, *, limits: Limits = SMALL, collect: list[str] | None = None) -> Done:
    """The same, asked for by an unprivileged user."""
    asked = json.dumps({"code": code, "limits": asdict(limits), "collect": collect or []})
    done = subprocess.run([*as_nobody(), "-c", _ASKS], input=asked, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    return Done(**{**said, "files": {name: text.encode() for name, text in said["files"].items()}})
