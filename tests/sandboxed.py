"""Running programs in the sandbox from a test."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from pytest_gym.sandbox import Done, Limits, Sandbox

needs_bubblewrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
SMALL = Limits(cpu_s=1, wall_s=15, memory_mb=256, processes=16, output_kb=64, disk_mb=1)


def python(code: str, *, limits: Limits = SMALL, sandbox: Sandbox | None = None, **rest) -> Done:
    """How a Python program ended, in a sandbox of its own."""
    sandbox = sandbox or Sandbox()
    return asyncio.run(sandbox.run(["python", "-I", "-S", "main.py"], files={"main.py": code}, limits=limits, **rest))
