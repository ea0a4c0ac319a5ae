"""No isolation at all (`sandbox.backend=none`): for trusted programs, or where the whole machine is the sandbox.

Limits of time, memory and output still hold for honest programs; nothing holds against others. Header, manifest and report say UNSAFE.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pytest_gym.sandbox import Command, Limits


class Nothing:
    """The backend `none`."""

    name = "none"
    work = ""
    own_users = False

    def command(self, launcher: str, limits: Limits, read_only: Sequence[Path]) -> Command:
        """The launcher as a plain process with a temporary folder."""
        python = f"{sys.base_prefix}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
        return Command([python, "-I", "-S", "-c", launcher], folder=tempfile.mkdtemp(prefix="gym-unsafe-"))

    def explain(self, stderr: str) -> str:
        """Why a plain Python did not start."""
        return f"no Python could be started: {stderr[:300] or 'no reason given'}"
