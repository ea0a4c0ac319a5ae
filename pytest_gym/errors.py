"""What can go wrong, as exceptions whose text is one sentence for the user: what, where, and what to do.

    GymError
    ├── ConfigError      a config, prompt, setting or option says something that cannot be meant
    ├── DataError        a dataset, source file or row is missing, broken or not what was frozen
    ├── ModelError       the model's endpoint gave no answer that could be judged (`kind`, and `fatal` where every case would fare so)
    ├── VerifierError    a verifier is missing, wrongly configured, or gave no usable verdict
    ├── SandboxError     the sandbox itself failed, not the program in it
    ├── RunError         a run folder cannot be written or read
    └── Stopped          the run asks nothing more, and says why

This module imports nothing of ours. Which error stops a run and which is only one case's is decided where it is caught.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GymError(Exception):
    """The root: whatever pytest-gym tells a user is one of these, and `str()` of it is the sentence."""

    kind = "error"


class ConfigError(GymError):
    """A config, prompt, setting or option is wrong."""

    kind = "config"


class DataError(GymError):
    """A dataset, source file or row is missing, broken, or not what was frozen."""

    kind = "data"


class ModelError(GymError):
    """The endpoint gave no answer that could be judged.

    `kind` is a word of the taxonomy (`connect`, `timeout`, `rate_limit`, `server`, `bad_reply`, `bad_request`, `context_length`,
    `content_filter`, `auth`, `not_found`); `fatal` says that every other case would end the same way, so the run stops.
    `attempts` is the number of requests that were sent, `waited_s` the seconds spent waiting between them and for a free slot; `status` and
    `excerpt` are the HTTP status of the last one and what its body said, where there was one. No text holds a key.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        fatal: bool = False,
        attempts: int = 0,
        status: int | None = None,
        excerpt: str | None = None,
        waited_s: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.kind, self.fatal = kind, fatal
        self.attempts, self.waited_s = attempts, waited_s
        self.status, self.excerpt = status, excerpt


class VerifierError(GymError):
    """A verifier is missing, wrongly configured, or gave no usable verdict."""

    kind = "verifier"


class SandboxError(GymError):
    """The sandbox itself failed (missing, forbidden, broken): missing data, never a verdict on the program that was to run in it."""

    kind = "sandbox"


class RunError(GymError):
    """A run folder cannot be written or read."""

    kind = "run"


DECIDED = "decided"
"""The kind of a stop that is no error: all gates are decided. What is left is neither run nor reported."""


class Stopped(GymError):
    """The run asks nothing more. `first` is true for the first case that hears of it; `kind` is that of the error that stopped it."""

    def __init__(self, message: str, *, first: bool, kind: str) -> None:
        super().__init__(message)
        self.first, self.kind = first, kind


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """A half-sentence `; did you mean 'x' or 'y'?` with up to three near names, else `otherwise`."""
    near = difflib.get_close_matches(word.lower(), {name.lower(): name for name in known}, n=3, cutoff=0.55)
    by_lower = {name.lower(): name for name in known}
    if not near:
        return otherwise
    return "; did you mean " + " or ".join(repr(by_lower[name]) for name in near) + "?"
