"""What a user should know about the numbers of a run: sentences made from one entry of `summary.json`.

Said are what the numbers cannot show and what would help (more repeats, more tasks, a paired comparison). Not here: any number that is
not in the entry already.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pytest_gym.intervals import normal_quantile


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


def would_decide(tasks: int, repeats: int, gap: float, se: float | None, split: Mapping[str, Any] | None, level: float) -> str:
    """What would bring an interval of a score to one side of a threshold that the score is `gap` away from.

    se: over tasks; split: `metrics.variance_split` of the attempts, None where the score is no mean of them.
    """
    if not se or gap == 0:
        return "The score is at the threshold itself: more tasks would show on which side"
    wanted = (gap / normal_quantile(level)) ** 2
    needed = max(math.ceil(tasks * se * se / wanted), tasks + 1)
    if split is None or split["within_task"] is None:
        return f"About {needed:,} tasks (here {tasks:,}) would decide it if the score stays, or a paired baseline"
    left = wanted - (split["between_tasks"] or 0.0) / tasks
    if left <= 0:
        return f"No number of repeats decides this; about {needed:,} tasks (here {tasks:,}) or a paired baseline would"
    more = max(math.ceil(split["within_task"] / tasks / left), repeats + 1)
    return f"About {more:,} repeats (here {repeats}) would decide it if the score stays"


def would_decide_pairs(pairs: int, gap: float, se: float, level: float) -> str:
    """The same for a difference of two runs over `pairs` tasks."""
    if gap == 0 or se == 0:
        return "The difference is at the threshold itself"
    needed = max(math.ceil(pairs * (se * normal_quantile(level) / gap) ** 2), pairs + 1)
    return f"About {needed:,} tasks (here {pairs:,}) would decide it if it stays, or more repeats of these"


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
