"""What a user should know about the numbers of a run: sentences made from one entry of `summary.json`.

Said are what the numbers cannot show and what would help (more repeats, more tasks, a paired comparison). Not here: any number that is
not in the entry already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def hints(summary: Mapping[str, Any], *, temperature: float | None = None, same_text: bool = False) -> list[str]:
    """Sentences for the user of a summary entry: what its numbers cannot say, and what would help."""
    found = []
    metric, repeats = summary["metrics"][summary["headline"]], summary["repeats"]
    if repeats > 1 and (temperature == 0 or same_text):
        why = "every task's repeats have the same text (a caching server?)" if same_text else "the temperature is 0"
        found.append(f"{why[0].upper()}{why[1:]}, so repeats cannot vary: pass@k and the run-to-run SD mean nothing here.")
    if metric["reason"] and summary["cases"] > summary["missing"]:
        found.append(f"No interval: {metric['reason']}.")
    if metric["few"]:
        found.append("Fewer than ten expected passes or failures: the interval is rough (its coverage may be as low as 91%).")
    difference, (low, high) = summary["detectable_difference"], summary["range"]
    span = 1.0 if low is None or high is None else high - low
    unpaired, paired = difference["unpaired"], difference["paired"]
    if unpaired is not None and unpaired >= span:
        found.append(f"Too few tasks to tell any two models apart by this score; {_help(summary, temperature)}.")
    elif unpaired is not None and unpaired > 0.02 * span:
        seen = f"Another model must differ by {_points(unpaired, span)} to be told apart"
        if paired < unpaired:
            noise = difference["repeats"] is not None
            given = "at least " if noise else "", "" if noise else " if a tenth of the tasks comes out differently"
            seen += f", by {given[0]}{_points(paired, span)} when compared task by task{given[1]}"
        found.append(f"{seen}; {_help(summary, temperature)}.")
    return found


def _help(summary: Mapping[str, Any], temperature: float | None) -> str:
    """What would narrow the interval: more repeats only where a fair part of SE² is noise within tasks."""
    within, between, repeats = summary["variance"]["within_task"], summary["variance"]["between_tasks"], summary["repeats"]
    if temperature == 0:
        return "more tasks would show less"
    if within is None or between is None:
        return "more tasks or more repeats would show less"
    noise = within / repeats
    if noise > 0.2 * (noise + between):
        return "more tasks or more repeats would show less"
    return "more tasks would show less, more repeats would not"


def _points(difference: float, span: float) -> str:
    return f"{100 * difference / span:.1f} points"
