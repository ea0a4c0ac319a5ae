"""Harnesses: how a task becomes a rollout by talking to the model; one file each, found by name.

A harness is `@harness async def name(task: Task, model: Model) -> Rollout` in a file of its own name, here or in `harnesses/` of a gym
root. `model` is the handle of this one case: it sends, retries, counts and records, so that no harness can forget to. A harness knows
nothing of pytest, of HTTP, or of other cases.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pytest_gym.errors import ConfigError, did_you_mean
from pytest_gym.records import FinishReason, Json, Message, Rollout, Task, TokenLogprob, Usage
from pytest_gym.verify import load_module


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the model: the message, why it ended, what it cost, and the model's name as the server reports it.

    A harness that goes on after tool calls puts `message` itself into the conversation: it holds what the API wants back with them.
    `logprobs` are the answer's tokens with their log probabilities, where they were asked for and given.
    """

    message: Message
    finish_reason: FinishReason
    usage: Usage
    model: str | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None


class Model(Protocol):
    """The handle that a harness gets for one case."""

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The benchmark's prompt rendered for this task."""

    @property
    def tools(self) -> tuple[Json, ...] | None:
        """The tools that this task offers, in Chat Completions' form, or None."""

    async def ask(self, messages: Sequence[Message], *, tools: Sequence[Mapping[str, Any]] | None = None) -> Reply:
        """Send the conversation and wait for the answer, retries included. Raises ModelError where none can be had."""

    def rollout(self, messages: Sequence[Message], reply: Reply) -> Rollout:
        """The record of the attempt: the conversation up to `reply`, with all tokens, time and requests of this case."""


HarnessFunction = Callable[[Task, Model], Awaitable[Rollout]]


@dataclass(frozen=True)
class Harness:
    """A harness function and its name."""

    name: str
    function: HarnessFunction

    async def __call__(self, task: Task, model: Model) -> Rollout:
        """Make one attempt at `task`."""
        return await self.function(task, model)


def harness(function: HarnessFunction) -> Harness:
    """Declare a harness: a decorator for `async def name(task, model) -> Rollout`."""
    name = function.__name__
    if not inspect.iscoroutinefunction(function):
        raise ConfigError(f"harness {name!r} must be an 'async def'")
    if len(inspect.signature(function).parameters) != 2:
        raise ConfigError(f"harness {name!r} must take two parameters, task and model")
    return Harness(name, function)


def load_harness(name: str, roots: Sequence[Path], where: str) -> Harness:
    """The harness `name` from `harnesses/<name>.py` of a gym root, else of this package. ConfigError with the known names otherwise."""
    folders = [root / "harnesses" for root in roots] + [Path(__file__).parent]
    for folder in folders:
        path = folder / f"{name}.py"
        if name.isidentifier() and path.is_file():
            found = [value for value in vars(load_module(path, "harness")).values() if isinstance(value, Harness)]
            for candidate in found:
                if candidate.name == name:
                    return candidate
            raise ConfigError(f"{path}: has no '@harness async def {name}(task, model)'")
    known = sorted({path.stem for folder in folders if folder.is_dir() for path in folder.glob("[!_]*.py")})
    raise ConfigError(f"{where}: unknown harness {name!r}" + did_you_mean(name, known, otherwise=f" (known: {', '.join(known)})"))
