"""The scorecard: `summary.json` as lines for a terminal of 80 columns, readable without colour and in plain ASCII.

A line is a list of pieces, each a text and the markup for pytest's TerminalWriter, so that the caller writes them as they come.
Nothing is computed here, and pytest is not imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_gym.report.layout import BAD, BOLD, GOOD, LABEL, PLAIN, WARN, Line, labelled, table, wrapped
from pytest_gym.report.text import columns, fit, printable

_CELL = 7
_MOST_CARDS = 12
"""With more benchmarks than this their table alone is shown: it would be out of sight above so many cards."""
_COUNTED = re.compile(r"(pass@|pass\^|majority@|best@|g-pass@)\d+.*")


def scorecard(
    summary: Mapping[str, Any], *, verbosity: int = 0, width: int = 80, run_folder: str | None = None, notes: Sequence[str] = ()
) -> list[Line]:
    """The scorecard of a run as lines.

    summary: the content of `summary.json`. verbosity: below 0 one score line per benchmark and nothing else, 0 everything (of many
    benchmarks the table alone), from 1 on with a row for each subset. width: columns that lines keep to (paths and very narrow
    terminals excepted). run_folder: shown last, whole, so that it can be copied. notes: further sentences, one paragraph each; an indented
    one is a line to be copied, and is not wrapped.
    """
    width = max(width, 40)
    demo = bool(summary.get("demo"))
    benchmarks: Mapping[str, Mapping[str, Any]] = summary["benchmarks"]
    if verbosity < 0:
        return [line for name, entry in benchmarks.items() for line in _score_line(name, entry, demo, width)]
    lines: list[Line] = []
    if demo:
        lines += wrapped("DEMO: a simulated model answered. These numbers say nothing about any real model.", width, "", {**WARN, **BOLD})
        lines.append([])
    if len(benchmarks) > 1:
        lines += [*overview(benchmarks, summary.get("mean"), width), []]
    many = len(benchmarks) > _MOST_CARDS and verbosity == 0
    for name, entry in benchmarks.items() if not many else ():
        lines += [*_card(name, entry, width, verbosity), []]
    if many:
        lines += [*wrapped("Each benchmark by itself: -v, or --gym-profile of the run.", width, ""), []]
    for gate in summary.get("gates") or ():
        lines += gate_lines(gate, width)
    for note in notes:
        lines += [[(printable(note), PLAIN)]] if note.startswith("  ") else wrapped(printable(note), width, "")
    lines.append([(_pace(summary), PLAIN)])
    if run_folder is not None:
        lines.append([("results in ", PLAIN), (printable(run_folder), BOLD)])
    return lines


def _score_line(name: str, entry: Mapping[str, Any], demo: bool, width: int) -> list[Line]:
    metric = entry["metrics"][entry["headline"]]
    pieces: Line = [(printable(name), BOLD), (f"{printable(entry['headline'])} {_number(metric['value'], entry)}", BOLD)]
    few = " few" if metric.get("few") else ""
    pieces.append(((_interval(metric["ci95"], entry) or "no interval") + few, WARN if few else PLAIN))
    if entry["missing"]:
        pieces.append((f"{_scored(entry)} scored", BAD))
        pieces.append((f"bounds {_interval(metric.get('bounds'), entry) or 'unknown'}", WARN))
    else:
        pieces.append((f"{entry['cases']:,} scored", PLAIN))
    if demo:
        pieces.append(("DEMO", {**WARN, **BOLD}))
    lines: list[Line] = [[]]
    used = 0
    for text, markup in pieces:
        if used and used + 2 + columns(text) > width:
            lines.append([("    ", PLAIN)])
            used = 2
        elif used:
            lines[-1].append(("  ", PLAIN))
        lines[-1].append((text, markup))
        used += columns(text) + 2
    return lines


def overview(benchmarks: Mapping[str, Mapping[str, Any]], mean: Mapping[str, Any] | None, width: int) -> list[Line]:
    """One row per benchmark: metric, score, interval, and where data is missing scored / planned and the bounds; last their mean."""
    missing = any(entry["missing"] for entry in benchmarks.values())
    header = ["benchmark", "metric", "score", "95% interval", "scored", *(["bounds"] if missing else [])]
    rows: list[Line] = []
    for name, entry in benchmarks.items():
        metric = entry["metrics"][entry["headline"]]
        shaky = WARN if metric.get("few") else PLAIN
        row: Line = [(printable(name), BOLD), (printable(entry["headline"]), PLAIN), (_number(metric["value"], entry), BOLD)]
        row.append(((_interval(metric["ci95"], entry) or "none") + (" few" if metric.get("few") else ""), shaky))
        row.append((_scored(entry) if missing else f"{entry['cases']:,}", BAD if entry["missing"] else PLAIN))
        if missing:
            row.append((_interval(metric.get("bounds"), entry) if entry["missing"] else "", WARN))
        rows.append(row)
    if mean is not None and mean["value"] is not None:
        row = [("macro mean", BOLD), ("", PLAIN), (_number(mean["value"], entry), BOLD)]
        row.append(((_interval(mean["ci95"], entry) or "none") + (" few" if mean["few"] else ""), WARN if mean["few"] else PLAIN))
        row += [("", PLAIN), (_interval(mean.get("bounds"), entry), WARN)] if missing else [("", PLAIN)]
        rows.append(row)
    widths = [max(columns(title), *(columns(row[i][0]) for row in rows)) for i, title in enumerate(header)]
    while len(widths) > 3 and sum(widths[1:]) + 2 * len(widths) + 8 > width:
        widths.pop()
    widths[0] = max(10, min(widths[0], width - sum(widths[1:]) - 2 * (len(widths) - 1)))
    lines = table([(title, PLAIN) for title in header], rows, widths, right={2, 4})
    if mean is not None and mean["value"] is None:
        lines += wrapped(f"no macro mean: {printable(mean['reason'])}", width, "")
    return lines


def cards(benchmarks: Mapping[str, Mapping[str, Any]], width: int, *, verbosity: int = 0) -> list[Line]:
    """The card of each benchmark, without what frames a run's scorecard."""
    return [line for name, entry in benchmarks.items() for line in _card(name, entry, width, verbosity)]


def _card(name: str, entry: Mapping[str, Any], width: int, verbosity: int) -> list[Line]:
    """Everything about one benchmark."""
    metrics, repeats = entry["metrics"], entry["repeats"]
    size = f"{entry['tasks']:,} task{'s' * (entry['tasks'] != 1)} x {repeats} repeat{'s' * (repeats != 1)}"
    scored = f"{_scored(entry)} scored" if entry["missing"] else "all scored"
    title = fit(printable(name), max(10, width - len(size) - len(scored) - 4))
    lines: list[Line] = [[(title, BOLD), (f"  {size}, ", PLAIN), (scored, BAD if entry["missing"] else PLAIN)]]
    for key in _main_keys(entry):
        lines += _metric_row(key, metrics[key], entry, width, first=key == entry["headline"])
    lines += _by_attempts(entry, width)
    variance = entry["variance"]
    if repeats == 1:
        lines += labelled("run-to-run SD", "needs repeats", width)
    if variance["run_sd"] is not None:
        lines += labelled("run-to-run SD", f"{_small(variance['run_sd'])} of one repeat's score on these same tasks", width)
    if variance["within_task"] is not None:
        between = "unknown" if variance["between_tasks"] is None else _small(variance["between_tasks"])
        cut = " (cut at 0)" if variance.get("cut") else ""
        lines += labelled("variance", f"{between} between tasks{cut}, {_small(variance['within_task'])} within a task", width)
    counts = entry["tasks_passed"]
    lines += labelled("tasks passed", f"{counts['always']:,} always, {counts['sometimes']:,} sometimes, {counts['never']:,} never", width)
    if entry.get("errors"):
        lines += labelled("errors", ", ".join(f"{printable(kind)} {count:,}" for kind, count in entry["errors"].items()), width, BAD)
    if rates := {kind: rate for kind, rate in (entry.get("rates") or {}).items() if rate > 0}:
        lines += labelled(
            "answers", ", ".join(f"{printable(kind).replace('_', ' ')} {_percent(rate)}" for kind, rate in rates.items()), width, WARN
        )
    tokens = entry.get("tokens") or {}
    if tokens.get("input") or tokens.get("output"):
        reasoning = f", {tokens['reasoning']:,} of them reasoning" if tokens.get("reasoning") else ""
        lines += labelled("tokens", f"{tokens.get('input') or 0:,} in, {tokens.get('output') or 0:,} out{reasoning}", width)
    for published in entry.get("published") or ():
        lines += labelled("published", printable(published_text(published, entry)), width, PLAIN if published["within"] else WARN)
    if verbosity > 0:
        lines += _subsets(entry, width)
    for hint in entry.get("hints") or ():
        lines += wrapped("hint: " + printable(hint), width, "  ", WARN)
    return lines


def published_text(published: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """A published score beside the run's: how far apart, whether that is within the tolerance, and what differs."""
    score, metric = _number(published["score"], entry), published["metric"]
    text = f"{metric} {score} of {published['model']} ({published['source']}); "
    if published["difference"] is None:
        return text + f"this run has no {metric}"
    text += f"here {_number(published['value'], entry)}, {published['difference']:+.{_digits(entry)}f}"
    if published["within"] is not None:
        text += f", {'within' if published['within'] else 'beyond'} the tolerance of {_number(published['tolerance'], entry)}"
    differs = "; ".join(published["differs"]) or "nothing that is known"
    return f"{text}. Protocol there: {published['protocol']}. It differs in: {differs}"


def _main_keys(entry: Mapping[str, Any]) -> list[str]:
    """The metrics with a row of their own: the headline, pass@1, the mean reward where it says something else, the named scores."""
    metrics = entry["metrics"]
    keys = [entry["headline"], "pass@1"]
    if "mean_reward" in metrics and _differ(metrics["mean_reward"], metrics["pass@1"]):
        keys.append("mean_reward")
    keys += [key for key in metrics if key != "mean_reward" and not _COUNTED.fullmatch(key)]
    return list(dict.fromkeys(keys))


def _metric_row(key: str, metric: Mapping[str, Any], entry: Mapping[str, Any], width: int, *, first: bool) -> list[Line]:
    label = fit(printable(key), max(LABEL, min(columns(printable(key)), width - 60)))
    line: Line = [(f"  {label} ", PLAIN), (f"{_number(metric['value'], entry):>5}", BOLD if first else PLAIN)]
    if metric["ci95"] is None:
        reason = printable(str(metric.get("reason") or "no interval"))
        lines = [line]
        if first and metric["value"] is None:
            lines += wrapped(reason, width, " " * (LABEL + 3), WARN)
        return lines
    line.append((f"  {_interval(metric['ci95'], entry)}", PLAIN))
    if first:
        line.append(("  95% interval", PLAIN))
    line += [("  few", WARN)] if metric.get("few") else []
    lines = [line]
    if first and entry["missing"]:
        bounds = _interval(metric.get("bounds"), entry)
        text = f"{bounds}  all missing wrong, all missing right" if bounds else "unknown: the metric has no range"
        lines += labelled("bounds", text, width, WARN)
    if first and metric["se"] is not None:
        lines += labelled("standard error", f"{_small(metric['se'])} with the tasks as a sample", width)
    if first and entry.get("direction") == "lower":
        lines += labelled("", "lower is better", width)
    return lines


def _by_attempts(entry: Mapping[str, Any], width: int) -> list[Line]:
    """pass@k and its like, a column for each k; with many, those that fit and the last."""
    metrics = entry["metrics"]
    ks = [int(key[5:]) for key in metrics if key.startswith("pass^")]
    room = max((width - LABEL - 1) // _CELL, 1)
    if len(ks) > room:
        ks = [*ks[: room - 1], ks[-1]]
    if not ks:
        return []

    def row(label: str, cells: Iterable[str]) -> Line:
        return [(f"  {fit(label, LABEL - 1)}" + "".join(f"{cell:>{_CELL}}" for cell in cells), PLAIN)]

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
        shaky = WARN if metric.get("few") else PLAIN
        row: Line = [(printable(name), PLAIN), (f"{subset['tasks']:,}", PLAIN), (_number(metric["value"], entry), PLAIN)]
        row.append(((_interval(metric["ci95"], entry) or "none") + (" few" if metric.get("few") else ""), shaky))
        row += [(_scored(subset), BAD if subset["missing"] else PLAIN)] if missing else []
        rows.append(row)
    header: Line = [(title, PLAIN) for title in ("subset", "tasks", "score", "95% interval", *(["scored"] if missing else []))]
    widths = [max(columns(title), *(columns(row[i][0]) for row in rows)) for i, (title, _) in enumerate(header)]
    widths[0] = max(8, min(widths[0], width - 2 - sum(widths[1:]) - 2 * (len(widths) - 1)))
    return table(header, rows, widths, right={1, 2, 4}, indent="  ")


def gate_lines(gate: Mapping[str, Any], width: int) -> list[Line]:
    """The verdict on a gate, an entry of `gates` in `summary.json`, and the reason."""
    word, markup = ("passed", GOOD) if gate.get("passed") else ("failed", BAD) if gate.get("decided") else ("not decided", BAD)
    head: Line = [("gate ", PLAIN), (fit(word, 11), {**markup, **BOLD}), (f"  {printable(str(gate.get('gate', '')))}", PLAIN)]
    message = printable(str(gate.get("message") or ""))
    return [head, *(wrapped(message, width, "  ") if message else [])]


def _pace(summary: Mapping[str, Any]) -> str:
    seconds, requests = float(summary.get("wall_s") or 0.0), int(summary.get("requests") or 0)
    minutes = f"{int(seconds // 60)} min {seconds % 60:.0f} s" if seconds >= 119.5 else f"{seconds:.1f} s"
    text = f"wall time {minutes}, {requests:,} request{'s' * (requests != 1)}"
    return f"{text}, {requests / seconds:,.1f} requests/s" if requests and seconds > 0 else text


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
