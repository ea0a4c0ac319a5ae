"""The profile of a run as lines for a terminal of 80 columns: the scorecard, then its tasks. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_gym.report.layout import BOLD, PLAIN, WARN, Line, labelled, table, wrapped
from pytest_gym.report.terminal import cards, overview
from pytest_gym.report.text import columns, printable

_MOST_SHOWN = 10
_BAR = 40


def profile_text(found: Mapping[str, Any], *, width: int = 80, notes: Sequence[str] = ()) -> list[Line]:
    """The lines of `--gym-profile`; `found` is its JSON, `notes` are further sentences."""
    model = found["model"].get("name") or "unknown"
    lines: list[Line] = [[("run    ", BOLD), (printable(found["run"]), PLAIN)], [("model  ", BOLD), (printable(model), PLAIN)], []]
    if found["demo"]:
        lines += [*wrapped("DEMO: a simulated model answered. These numbers say nothing about any real model.", width, "", WARN), []]
    if len(found["benchmarks"]) > 1:
        lines += [*overview({name: entry["summary"] for name, entry in found["benchmarks"].items()}, found["mean"], width), []]
    for name, entry in found["benchmarks"].items():
        lines += [*cards({name: entry["summary"]}, width, verbosity=1), *_details(entry, width), []]
    for note in notes:
        lines += wrapped(printable(note), width, "", WARN)
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _details(entry: Mapping[str, Any], width: int) -> list[Line]:
    lines: list[Line] = []
    classes = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in entry["classes"].items() if count)
    lines += labelled("cases", classes or "none", width)
    for key, label in (("output_tokens", "output tokens"), ("latency_s", "seconds")):
        if entry[key] is not None:
            told = {name: _number(value) for name, value in entry[key].items()}
            text = f"median {told['median']}, 5% below {told['p5']}, 5% above {told['p95']}, most {told['max']}"
            lines += labelled(label, text, width)
    lines += _histogram(entry["histogram"], width)
    judged = [row for row in entry["tasks"] if row["score"] is not None]
    lines += _tasks("hardest tasks", judged[:_MOST_SHOWN], width)
    by_id = {row["task_id"]: row for row in entry["tasks"]}
    lines += _tasks("flakiest tasks", [by_id[task] for task in entry["flakiest"][:_MOST_SHOWN]], width)
    return lines


def _histogram(histogram: Mapping[str, Any] | None, width: int) -> list[Line]:
    if histogram is None:
        return []
    most = max(histogram["tasks"])
    lines: list[Line] = [[("  tasks by score", PLAIN)]]
    for low, high, count in zip(histogram["edges"], histogram["edges"][1:], histogram["tasks"], strict=False):
        bar = "#" * (round(_BAR * count / most) if most else 0) or ("|" if count else "")
        lines.append([(f"  {f'{low:g} to {high:g}':>17} {count:>8,}  {bar}".rstrip(), PLAIN)])
    return lines


def _tasks(title: str, rows: Sequence[Mapping[str, Any]], width: int) -> list[Line]:
    if not rows:
        return []
    header = [title, "score", "spread", "verdicts", "tokens", "seconds"]
    cells = [
        [
            printable(row["task_id"]) or "unknown",
            *(_number(row[key]) for key in ("score", "spread")),
            f"{row['verdicts']:,}",
            *(_number(row[key]) for key in ("output_tokens", "latency_s")),
        ]
        for row in rows
    ]
    kept = [i for i in range(len(header)) if i < 2 or any(cell[i] != "" for cell in cells)]
    widths = [max(len(header[i]), *(columns(cell[i]) for cell in cells)) for i in kept]
    widths[0] = max(len(title), min(widths[0], width - 2 - sum(widths[1:]) - 2 * (len(widths) - 1)))
    body: list[Line] = [[(cell[i], PLAIN) for i in kept] for cell in cells]
    return table([(header[i], PLAIN) for i in kept], body, widths, right=set(range(1, len(kept))), indent="  ")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"
