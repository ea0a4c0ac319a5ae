"""Old verdicts against new ones, in words: what `--gym-reverify` shows below the scorecard. The comparing itself is done in `reverify`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_gym.report.text import printable

_SHOWN = 10


def changes_text(changes: Mapping[str, Any], *, folder: str) -> list[str]:
    """How many verdicts changed and in which direction, then the first ten; `folder` names the file that has them all."""
    changed = changes["changed"]
    if not changed:
        return [f"all {changes['compared']:,} verdicts are as before"]
    better = sum(row["old"] is not None and row["new"] is not None and row["new"] > row["old"] for row in changed)
    worse = sum(row["old"] is not None and row["new"] is not None and row["new"] < row["old"] for row in changed)
    gained = sum(row["old"] is None for row in changed)
    lost = sum(row["new"] is None for row in changed)
    counts = [(better, "up"), (worse, "down"), (gained, "new"), (lost, "gone")]
    lines = [f"{len(changed):,} verdicts changed: " + ", ".join(f"{number:,} {word}" for number, word in counts if number)]
    for row in changed[:_SHOWN]:
        name = printable(f"{row['benchmark']} {row['task_id']}, repeat {row['repeat']}")
        lines.append(f"  {name}: {_reward(row['old'])} → {_reward(row['new'])}")
    if len(changed) > _SHOWN:
        lines.append(f"  … and {len(changed) - _SHOWN:,} more, all in {folder}")
    return lines


def _reward(value: float | None) -> str:
    return "no verdict" if value is None else f"{value:g}"
