"""The scorecard: `summary.json` as lines for a terminal of 80 columns, readable without colour and in plain ASCII.

A line is a list of pieces, each a text and the markup for pytest's TerminalWriter, so that the caller writes them as they come.
Nothing is computed here, and pytest is not imported.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_gym.report.text import columns, fit, printable

Piece = tuple[str, Mapping[str, bool]]
Line = list[Piece]

_LABEL = 17
_CELL = 7
_PLAIN: Mapping[str, bool] = {}
_BOLD = {"bold": True}
_GOOD = {"green": True}
_WARN = {"yellow": True}
_BAD = {"red": True}
_COUNTED = re.compile(r"(pass@|pass\^|majority@|best@|g-pass@)\d+.*")


def scorecard(
    summary: Mapping[str, Any], *, verbosity: int = 0, width: int = 80, run_folder: str | None = None, notes: Sequence[str] = ()
) -> list[Line]:
    """The scorecard of a run as lines.

    summary: the content of `summary.json`. verbosity: below 0 one score line per benchmark and nothing else, 0 everything, from 1 on with
    a row for each subset. width: columns that lines keep to (paths and very narrow terminals excepted).
    run_folder: shown last, whole, so that it can be copied. notes: further sentences, one paragraph each; an indented
    one is a line to be copied, and is not wrapped.
    """
    width = max(width, 40)
    demo = bool(summary.get("demo"))
    benchmarks: Mapping[str, Mapping[str, Any]] = summary["benchmarks"]
    if verbosity < 0:
        return [line for name, entry in benchmarks.items() for line in _score_line(name, entry, demo, width)]
    lines: list[Line] = []
    if demo:
        lines += _wrapped(
            "DEMO: a simulated model answered. These numbers say nothing about any real model.", width, "", {**_WARN, **_BOLD}
        )
        lines.append([])
    if len(benchmarks) > 1:
        lines += [*_overview(benchmarks, width), []]
    for name, entry in benchmarks.items():
        lines += [*_card(name, entry, width, verbosity), []]
    for gate in summary.get("gates") or ():
        lines += _gate(gate, width)
    for note in notes:
        lines += [[(printable(note), _PLAIN)]] if note.startswith("  ") else _wrapped(printable(note), width, "")
    lines.append([(_pace(summary), _PLAIN)])
    if run_folder is not None:
        lines.append([("results in ", _PLAIN), (printable(run_folder), _BOLD)])
    return lines


def plain(lines: Iterable[Line]) -> str:
    """The lines as text without markup."""
    return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in lines)


def _score_line(name: str, entry: Mapping[str, Any], demo: bool, width: int) -> list[Line]:
    metric = entry["metrics"][entry["headline"]]
    pieces: Line = [(printable(name), _BOLD), (f"{printable(entry['headline'])} {_number(metric['value'], entry)}", _BOLD)]
    few = " few" if metric.get("few") else ""
    pieces.append(((_interval(metric["ci95"], entry) or "no interval") + few, _WARN if few else _PLAIN))
    if entry["missing"]:
        pieces.append((f"{_scored(entry)} scored", _BAD))
        pieces.append((f"bounds {_interval(metric.get('bounds'), entry) or 'unknown'}", _WARN))
    else:
        pieces.append((f"{entry['cases']:,} scored", _PLAIN))
    if demo:
        pieces.append(("DEMO", {**_WARN, **_BOLD}))
    lines: list[Line] = [[]]
    used = 0
    for text, markup in pieces:
        if used and used + 2 + columns(text) > width:
            lines.append([("    ", _PLAIN)])
            used = 2
        elif used:
            lines[-1].append(("  ", _PLAIN))
        lines[-1].append((text, markup))
        used += columns(text) + 2
    return lines


def _overview(benchmarks: Mapping[str, Mapping[str, Any]], width: int) -> list[Line]:
    """One row per benchmark: metric, score, interval, and where data is missing scored / planned and the bounds."""
    missing = any(entry["missing"] for entry in benchmarks.values())
    header = ["benchmark", "metric", "score", "95% interval", "scored", *(["bounds"] if missing else [])]
    rows: list[list[Piece]] = []
    for name, entry in benchmarks.items():
        metric = entry["metrics"][entry["headline"]]
        shaky = _WARN if metric.get("few") else _PLAIN
        row: list[Piece] = [(printable(name), _BOLD), (printable(entry["headline"]), _PLAIN), (_number(metric["value"], entry), _BOLD)]
        row.append(((_interval(metric["ci95"], entry) or "none") + (" few" if metric.get("few") else ""), shaky))
        row.append((_scored(entry) if missing else f"{entry['cases']:,}", _BAD if entry["missing"] else _PLAIN))
        if missing:
            row.append((_interval(metric.get("bounds"), entry) if entry["missing"] else "", _WARN))
        rows.append(row)
    widths = [max(columns(title), *(columns(row[i][0]) for row in rows)) for i, title in enumerate(header)]
    while len(widths) > 3 and sum(widths[1:]) + 2 * len(widths) + 8 > width:
        widths.pop()
    widths[0] = max(10, min(widths[0], width - sum(widths[1:]) - 2 * (len(widths) - 1)))
    return _table([(title, _PLAIN) for title in header], rows, widths, right={2, 4})


def _table(header: Line, rows: Sequence[Line], widths: Sequence[int], right: set[int], indent: str = "") -> list[Line]:
    lines: list[Line] = []
    for row in [header, *rows]:
        line: Line = [(indent, _PLAIN)] if indent else []
        for i, (text, markup) in enumerate(row[: len(widths)]):
            line += [("  ", _PLAIN)] if i else []
            line.append((fit(text, widths[i], right=i in right), markup))
        lines.append(line)
    return lines


def _card(name: str, entry: Mapping[str, Any], width: int, verbosity: int) -> list[Line]:
    """Everything about one benchmark."""
    metrics, repeats = entry["metrics"], entry["repeats"]
    size = f"{entry['tasks']:,} task{'s' * (entry['tasks'] != 1)} x {repeats} repeat{'s' * (repeats != 1)}"
    scored = f"{_scored(entry)} scored" if entry["missing"] else "all scored"
    title = fit(printable(name), max(10, width - len(size) - len(scored) - 4))
    lines: list[Line] = [[(title, _BOLD), (f"  {size}, ", _PLAIN), (scored, _BAD if entry["missing"] else _PLAIN)]]
    for key in _main_keys(entry):
        lines += _metric_row(key, metrics[key], entry, width, first=key == entry["headline"])
    lines += _by_attempts(entry, width)
    variance = entry["variance"]
    if repeats == 1:
        lines += _row("run-to-run SD", "needs repeats", width)
    if variance["run_sd"] is not None:
        lines += _row("run-to-run SD", f"{_small(variance['run_sd'])} of one repeat's score on these same tasks", width)
    if variance["within_task"] is not None:
        between = "unknown" if variance["between_tasks"] is None else _small(variance["between_tasks"])
        cut = " (cut at 0)" if variance.get("cut") else ""
        lines += _row("variance", f"{between} between tasks{cut}, {_small(variance['within_task'])} within a task", width)
    counts = entry["tasks_passed"]
    lines += _row("tasks passed", f"{counts['always']:,} always, {counts['sometimes']:,} sometimes, {counts['never']:,} never", width)
    if entry.get("errors"):
        lines += _row("errors", ", ".join(f"{printable(kind)} {count:,}" for kind, count in entry["errors"].items()), width, _BAD)
    if rates := {kind: rate for kind, rate in (entry.get("rates") or {}).items() if rate > 0}:
        lines += _row(
            "answers", ", ".join(f"{printable(kind).replace('_', ' ')} {_percent(rate)}" for kind, rate in rates.items()), width, _WARN
        )
    tokens = entry.get("tokens") or {}
    if tokens.get("input") or tokens.get("output"):
        reasoning = f", {tokens['reasoning']:,} of them reasoning" if tokens.get("reasoning") else ""
        lines += _row("tokens", f"{tokens.get('input') or 0:,} in, {tokens.get('output') or 0:,} out{reasoning}", width)
    if verbosity > 0:
        lines += _subsets(entry, width)
    for hint in entry.get("hints") or ():
        lines += _wrapped("hint: " + printable(hint), width, "  ", _WARN)
    return lines


def _main_keys(entry: Mapping[str, Any]) -> list[str]:
    """The metrics with a row of their own: the headline, pass@1, the mean reward where it says something else, the named scores."""
    metrics = entry["metrics"]
    keys = [entry["headline"], "pass@1"]
    if "mean_reward" in metrics and _differ(metrics["mean_reward"], metrics["pass@1"]):
        keys.append("mean_reward")
    keys += [key for key in metrics if key != "mean_reward" and not _COUNTED.fullmatch(key)]
    return list(dict.fromkeys(keys))


def _metric_row(key: str, metric: Mapping[str, Any], entry: Mapping[str, Any], width: int, *, first: bool) -> list[Line]:
    label = fit(printable(key), max(_LABEL, min(columns(printable(key)), width - 60)))
    line: Line = [(f"  {label} ", _PLAIN), (f"{_number(metric['value'], entry):>5}", _BOLD if first else _PLAIN)]
    if metric["ci95"] is None:
        reason = printable(str(metric.get("reason") or "no interval"))
        lines = [line]
        if first and metric["value"] is None:
            lines += _wrapped(reason, width, " " * (_LABEL + 3), _WARN)
        return lines
    line.append((f"  {_interval(metric['ci95'], entry)}", _PLAIN))
    if first:
        line.append(("  95% interval", _PLAIN))
    line += [("  few", _WARN)] if metric.get("few") else []
    lines = [line]
    if first and entry["missing"]:
        bounds = _interval(metric.get("bounds"), entry)
        text = f"{bounds}  all missing wrong, all missing right" if bounds else "unknown: the metric has no range"
        lines += _row("bounds", text, width, _WARN)
    if first and metric["se"] is not None:
        lines += _row("standard error", f"{_small(metric['se'])} with the tasks as a sample", width)
    if first and entry.get("direction") == "lower":
        lines += _row("", "lower is better", width)
    return lines


def _by_attempts(entry: Mapping[str, Any], width: int) -> list[Line]:
    """pass@k and its like, a column for each k; with many, those that fit and the last."""
    metrics = entry["metrics"]
    ks = [int(key[5:]) for key in metrics if key.startswith("pass^")]
    room = max((width - _LABEL - 1) // _CELL, 1)
    if len(ks) > room:
        ks = [*ks[: room - 1], ks[-1]]
    if not ks:
        return []

    def row(label: str, cells: Iterable[str]) -> Line:
        return [(f"  {fit(label, _LABEL - 1)}" + "".join(f"{cell:>{_CELL}}" for cell in cells), _PLAIN)]

    lines = [row("", (f"k={k}" for k in ks))]
    families = ["pass@", "pass^", "majority@"]
    if any(_differ(metrics[f"best@{k}"], metrics[f"pass@{k}"]) for k in ks if f"best@{k}" in metrics):
        families.append("best@")
    for family in families:
        if all(f"{family}{k}" in metrics for k in ks):
            lines.append(row(f"{family}k", (_number(metrics[f"{family}{k}"]["value"], entry, best=family == "best@") for k in ks)))
    if any(metrics[f"pass@{k}"]["tasks"] != entry["tasks"] for k in ks):
        lines.append(row("tasks with k", (f"{metrics[f'pass@{k}']['tasks']:,}" for k in ks)))
    return lines


def _subsets(entry: Mapping[str, Any], width: int) -> list[Line]:
    subsets = entry.get("subsets") or {}
    if not subsets:
        return []
    missing = any(subset["missing"] for subset in subsets.values())
    rows: list[Line] = []
    for name, subset in subsets.items():
        metric = subset["metrics"][entry["headline"]]
        shaky = _WARN if metric.get("few") else _PLAIN
        row: Line = [(printable(name), _PLAIN), (f"{subset['tasks']:,}", _PLAIN), (_number(metric["value"], entry), _PLAIN)]
        row.append(((_interval(metric["ci95"], entry) or "none") + (" few" if metric.get("few") else ""), shaky))
        row += [(_scored(subset), _BAD if subset["missing"] else _PLAIN)] if missing else []
        rows.append(row)
    header: Line = [(title, _PLAIN) for title in ("subset", "tasks", "score", "95% interval", *(["scored"] if missing else []))]
    widths = [max(columns(title), *(columns(row[i][0]) for row in rows)) for i, (title, _) in enumerate(header)]
    widths[0] = max(8, min(widths[0], width - 2 - sum(widths[1:]) - 2 * (len(widths) - 1)))
    return _table(header, rows, widths, right={1, 2, 4}, indent="  ")


def _gate(gate: Mapping[str, Any], width: int) -> list[Line]:
    word, markup = ("passed", _GOOD) if gate.get("passed") else ("failed", _BAD) if gate.get("decided") else ("not decided", _BAD)
    head: Line = [("gate ", _PLAIN), (fit(word, 11), {**markup, **_BOLD}), (f"  {printable(str(gate.get('gate', '')))}", _PLAIN)]
    message = printable(str(gate.get("message") or ""))
    return [head, *(_wrapped(message, width, "  ") if message else [])]


def _pace(summary: Mapping[str, Any]) -> str:
    seconds, requests = float(summary.get("wall_s") or 0.0), int(summary.get("requests") or 0)
    minutes = f"{int(seconds // 60)} min {seconds % 60:.0f} s" if seconds >= 119.5 else f"{seconds:.1f} s"
    text = f"wall time {minutes}, {requests:,} request{'s' * (requests != 1)}"
    return f"{text}, {requests / seconds:,.1f} requests/s" if requests and seconds > 0 else text


def _row(label: str, text: str, width: int, markup: Mapping[str, bool] = _PLAIN) -> list[Line]:
    indent = " " * (_LABEL + 3)
    parts = textwrap.wrap(text, max(width - len(indent), 20), break_long_words=False)
    return [[(f"  {fit(label, _LABEL)} " if i == 0 else indent, _PLAIN), (part, markup)] for i, part in enumerate(parts)]


def _wrapped(text: str, width: int, indent: str, markup: Mapping[str, bool] = _PLAIN) -> list[Line]:
    parts = textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return [[(part, markup)] for part in parts]


def _scored(entry: Mapping[str, Any]) -> str:
    return f"{entry['cases'] - entry['missing']:,} / {entry['cases']:,}"


def _digits(entry: Mapping[str, Any]) -> int:
    low, high = entry.get("range") or (0.0, 1.0)
    span = None if low is None or high is None else high - low
    return 3 if span is None or span <= 2 else 2 if span <= 20 else 1


def _differ(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    if a["value"] is None or b["value"] is None:
        return a["value"] is not b["value"]
    return abs(float(a["value"]) - float(b["value"])) > 1e-9


def _number(value: float | None, entry: Mapping[str, Any], *, best: bool = True) -> str:
    return "none" if value is None else f"{value:.{_digits(entry) if best else 3}f}"


def _interval(ends: Sequence[float] | None, entry: Mapping[str, Any]) -> str:
    return f"[{_number(ends[0], entry)}, {_number(ends[1], entry)}]" if ends else ""


def _small(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.4g}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%" if share >= 0.0005 else "under 0.1%"
