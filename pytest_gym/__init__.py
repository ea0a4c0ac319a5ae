"""pytest-gym: LLM benchmarks as parametrized tests.

The public names, for verifiers, harnesses and conftests: the records, the error root, and the two decorators.
Importing this package costs the standard library only; the rest of it is imported for a gym run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_gym.bounded import CallFailed, OutOfBounds, run_bounded
    from pytest_gym.clauses import SqlSchema, UnparsableSql
    from pytest_gym.errors import DataError, GymError, SandboxError
    from pytest_gym.harnesses import Model, Reply, harness
    from pytest_gym.query import Database, QueryError, compare_queries, find_database
    from pytest_gym.records import CaseError, Message, Part, Result, Rollout, Task, ToolCall, Usage, Verdict
    from pytest_gym.sandbox import Done, Limits, Sandbox
    from pytest_gym.verify import verifier

__version__ = "0.1.0"

__all__ = [
    "CallFailed",
    "CaseError",
    "DataError",
    "Database",
    "Done",
    "GymError",
    "Limits",
    "Message",
    "Model",
    "OutOfBounds",
    "Part",
    "QueryError",
    "Reply",
    "Result",
    "Rollout",
    "Sandbox",
    "SandboxError",
    "SqlSchema",
    "Task",
    "ToolCall",
    "UnparsableSql",
    "Usage",
    "Verdict",
    "compare_queries",
    "find_database",
    "harness",
    "run_bounded",
    "verifier",
]

_HOMES = {
    "bounded": ("CallFailed", "OutOfBounds", "run_bounded"),
    "clauses": ("SqlSchema", "UnparsableSql"),
    "errors": ("DataError", "GymError", "SandboxError"),
    "harnesses": ("Model", "Reply", "harness"),
    "query": ("Database", "QueryError", "compare_queries", "find_database"),
    "records": ("CaseError", "Message", "Part", "Result", "Rollout", "Task", "ToolCall", "Usage", "Verdict"),
    "sandbox": ("Done", "Limits", "Sandbox"),
    "verify": ("verifier",),
}


def __getattr__(name: str) -> Any:
    # Each public name is loaded when it is first used: the plugin imports this package in every pytest run, also where gym is not used.
    import importlib

    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"pytest_gym.{module}"), name)
    raise AttributeError(f"module 'pytest_gym' has no attribute {name!r}")
