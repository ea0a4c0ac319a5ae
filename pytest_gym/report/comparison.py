"""The comparison of two runs as lines for a terminal of 80 columns, readable without colour and in plain ASCII.

What differs between the protocols stands first, then one sentence on why the score changed, then the numbers. Nothing is computed here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_gym.report.layout import BAD, BOLD, GOOD, PLAIN, WARN, Line, labelled, table, wrapped
from pytest_gym.report.text import columns, fit, printable

_MOST_SHOWN = 5
_MOST_DIFFERENCES = 20
_WORDS = {
    "missing": "tasks judged on one side only",
    "truncated": "truncation",
    "empty": "empty answers",
    "refused": "refusals",
    "not_extracted": "answers not extracted",
    "wrong": "other answers",
    "verifier": "the verifier",
    "dataset": "changed rows",
}


def comparison(found: Mapping[str, Any], *, width: int = 80, notes: Sequence[str] = ()) -> list[Line]:
    """The lines of `--gym-compare`; `found` is its JSON, `notes` are further sentences."""
    lines: list[Line] = [
        [("A  ", BOLD), (printable(found["a"]), PLAIN)],
        [("B  ", BOLD), (printable(found["b"]), PLAIN)],
        [],
        *_differs(found["differs"], width),
        [],
    ]
    if len(found["benchmarks"]) > 1:
        lines += [*_overview(found["benchmarks"], width), []]
    for name, entry in found["benchmarks"].items():
        lines += [*card(name, entry, found["differs"], width), []]
    for side, word in (("only_a", "A"), ("only_b", "B")):
        if found[side]:
            lines += wrapped(f"only in {word}, not compared: {printable(', '.join(found[side]))}", width, "", WARN)
    for note in notes:
        lines += wrapped(printable(note), width, "", WARN)
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _differs(differs: Sequence[Mapping[str, Any]], width: int) -> list[Line]:
    if not differs:
        return wrapped("differs: nothing; the same model and the same protocol, as far as the runs know", width, "")
    lines: list[Line] = [[("differs in", BOLD)]]
    for difference in differs[:_MOST_DIFFERENCES]:
        place = f"{difference['benchmark']}: " if difference["benchmark"] else ""
        text = f"{place}{difference['what']}: {_short(difference['a'])} -> {_short(difference['b'])}"
        lines += wrapped(printable(text), width, "  ", PLAIN if difference["part"] == "model" else WARN)
    if len(differs) > _MOST_DIFFERENCES:
        lines += wrapped(f"and {len(differs) - _MOST_DIFFERENCES} more (--gym-json shows all)", width, "  ")
    others = {difference["part"] for difference in differs} - {"model"}
    if others and any(difference["part"] == "model" for difference in differs):
        lines += wrapped("More than the model differs: the numbers below do not say which of these moved the score.", width, "", WARN)
    return lines


def card(name: str, entry: Mapping[str, Any], differs: Sequence[Mapping[str, Any]], width: int = 80) -> list[Line]:
    """Everything about one benchmark of a comparison."""
    pairs = f"{entry['pairs']:,} of {entry['planned']:,} tasks paired" if entry["test"] != "welch" else "not paired"
    lines: list[Line] = [[(fit(printable(name), max(10, width - len(pairs) - 2)), BOLD), (f"  {pairs}", PLAIN)]]
    sentence = summary_sentence(name, entry, differs)
    if sentence:
        lines += wrapped(printable(sentence), width, "  ", BOLD)
    lines += _result(entry, width)
    lines += _causes(entry, width)
    for word, label, markup in (("improved", "better in B", GOOD), ("regressed", "worse in B", BAD)):
        if entry[word]:
            first = ", ".join(entry[word][:_MOST_SHOWN]) + (", …" if len(entry[word]) > _MOST_SHOWN else "")
            lines += labelled(
                label, printable(f"{len(entry[word]):,} task{'s' * (len(entry[word]) != 1)}: {first}").replace("…", "..."), width, markup
            )
    return lines + _further(entry, width) + _subset_causes(name, entry, differs, width)


def summary_sentence(name: str, entry: Mapping[str, Any], differs: Sequence[Mapping[str, Any]]) -> str | None:
    """Why the score changed, in one sentence: "-2.1 points: 1.8 from truncation at max_tokens=2048, 0.3 within noise"."""
    causes = entry["causes"]
    if not causes:
        return None
    whole = sum(cause["change"] for cause in causes)
    sign = -1.0 if whole < 0 else 1.0
    sure = [cause for cause in causes if not cause["within_noise"]]
    noise = sum(cause["change"] for cause in causes if cause["within_noise"])
    parts = []
    for cause in sorted(sure, key=lambda cause: -sign * cause["change"]):
        share = _points(sign * cause["change"], entry, sign=False)
        parts.append(f"{share} from {_WORDS[cause['cause']]}{_limit(cause['cause'], name, differs)}")
    if len(sure) < len(causes):
        parts.append(f"{_points(sign * noise, entry, sign=False)} within noise")
    # What has no causes of its own, such as pass@8, has those of the single attempt.
    of = "" if entry["causes_of"] == entry["metric"] else f"{entry['causes_of']} "
    return f"{of}{_points(whole, entry)}{_unit(entry)}: " + ", ".join(parts)


def _limit(cause: str, name: str, differs: Sequence[Mapping[str, Any]]) -> str:
    """The setting that a cause comes from, where the runs differ in it."""
    if cause != "truncated":
        return ""
    limits = [d for d in differs if d["what"] == "sampling.max_tokens" and d["benchmark"] == name]
    return f" at max_tokens={limits[0]['b']}" if limits else ""


def _result(entry: Mapping[str, Any], width: int) -> list[Line]:
    lines = labelled(entry["metric"], f"A {_score(entry['a'])}   B {_score(entry['b'])}", width)
    if entry["difference"] is None:
        return lines + labelled("difference", f"none: {entry['reason']}", width, WARN)
    interval = f"  [{_points(entry['ci95'][0], entry)}, {_points(entry['ci95'][1], entry)}] 95% interval" if entry["ci95"] else ""
    sure = BOLD if entry["ci95"] is None or entry["ci95"][0] <= 0 <= entry["ci95"][1] else {**BOLD, **_colour(entry)}
    lines += labelled("B - A", f"{_points(entry['difference'], entry)}{_unit(entry)}{interval}", width, sure)
    if entry["ci95"] is None:
        lines += labelled("", f"no interval: {entry['reason']}", width, WARN)
    if entry["p_value"] is not None:
        words = {"mcnemar": "exact McNemar test", "permutation": "permutation test", "welch": "Welch's t test, unpaired"}[entry["test"]]
        holm = "" if entry["p_holm"] is None or entry["p_holm"] == entry["p_value"] else f", {_p(entry['p_holm'])} corrected (Holm)"
        lines += labelled("p", f"{_p(entry['p_value'])} {words}{holm}", width)
    if entry["detectable_difference"] is not None:
        shown = _points(entry["detectable_difference"], entry, sign=False)
        lines += labelled("could have seen", f"{shown}{_unit(entry)}, with 80% power", width)
    elif entry["ci95"] and None not in entry["range"]:
        lines += labelled("could have seen", "nothing: for so few tasks no difference is large enough", width, WARN)
    if entry["bounds"]:
        ends = f"[{_points(entry['bounds'][0], entry)}, {_points(entry['bounds'][1], entry)}]"
        lines += labelled("bounds", f"{ends}  all missing against B, all missing for B", width, WARN)
    absent = [
        f"{entry[key]:,} {word}"
        for key, word in (
            ("only_a", "tasks only in A"),
            ("only_b", "tasks only in B"),
            ("changed_rows", "tasks whose row has changed"),
            ("missing_a", "cases missing in A"),
            ("missing_b", "cases missing in B"),
        )
        if entry[key]
    ]
    if absent:
        lines += labelled("not compared", ", ".join(absent), width, WARN)
    if entry["direction"] == "lower":
        lines += labelled("", "lower is better", width)
    return lines


def _causes(entry: Mapping[str, Any], width: int) -> list[Line]:
    causes = entry["causes"]
    if not causes or all(cause["change"] == 0 for cause in causes):
        return []
    rows: list[Line] = []
    for cause in causes:
        noise = "within noise" if cause["within_noise"] else ""
        se = "" if cause["se"] is None else f"+-{_points(cause['se'], entry, sign=False)}"
        examples = printable(", ".join(cause["examples"]))
        rows.append(
            [(_WORDS[cause["cause"]], PLAIN), (_points(cause["change"], entry), PLAIN), (se, PLAIN), (noise, PLAIN), (examples, PLAIN)]
        )
    header: Line = [(title, PLAIN) for title in ("why", _unit(entry).strip() or entry["causes_of"], "se", "", "such as")]
    lines = table(header, rows, _widths(header, rows, width - 2), right={1, 2}, indent="  ")
    if entry["noise_se"] is not None:
        lines += labelled(
            "repeats alone",
            f"asking again moves the difference by +-{_points(entry['noise_se'], entry, sign=False)}{_unit(entry)} (SE)",
            width,
        )
    return lines


def _further(entry: Mapping[str, Any], width: int) -> list[Line]:
    """Other metrics and subsets, a row each."""
    lines: list[Line] = []
    for title, group in (("metric", entry["metrics"]), ("subset", entry["subsets"])):
        rows: list[Line] = []
        for name, other in group.items():
            if other["difference"] is None:
                continue
            interval = f"[{_points(other['ci95'][0], entry)}, {_points(other['ci95'][1], entry)}]" if other["ci95"] else "none"
            sure = PLAIN if other["ci95"] is None or other["ci95"][0] <= 0 <= other["ci95"][1] else BOLD
            cells = (
                printable(name),
                _score(other["a"]),
                _score(other["b"]),
                _points(other["difference"], entry),
                interval,
                _p(other["p_value"]),
            )
            rows.append([(cell, sure) for cell in cells])
        # The mean reward says the same as pass@1 where rewards are 0 and 1.
        same = None if entry["difference"] is None else _points(entry["difference"], entry)
        rows = [row for row in rows if title == "subset" or row[0][0] != "mean_reward" or row[3][0] != same]
        if rows:
            header: Line = [(cell, PLAIN) for cell in (title, "A", "B", "B - A", "95% interval", "p")]
            lines += table(header, rows, _widths(header, rows, width - 2), right={1, 2, 3, 5}, indent="  ")
    return lines


def _subset_causes(name: str, entry: Mapping[str, Any], differs: Sequence[Mapping[str, Any]], width: int) -> list[Line]:
    """Why the subsets changed in which something surely did, those first that changed most."""

    def moved(subset: Mapping[str, Any]) -> float:
        return max((abs(cause["change"]) for cause in subset["causes"] if not cause["within_noise"]), default=0.0)

    surely = sorted((one for one in entry["subsets"].items() if moved(one[1]) > 0), key=lambda one: -moved(one[1]))
    lines: list[Line] = []
    for subset, found in surely[:_MOST_SHOWN]:
        sentence = summary_sentence(name, {**entry, "causes": found["causes"]}, differs)
        lines += wrapped(printable(f"{subset}: {sentence}"), width, "  ")
    if len(surely) > _MOST_SHOWN:
        lines += wrapped(f"and {len(surely) - _MOST_SHOWN} more subsets (--gym-json shows all)", width, "  ")
    return lines


def _overview(entries: Mapping[str, Mapping[str, Any]], width: int) -> list[Line]:
    rows: list[Line] = []
    for name, entry in entries.items():
        interval = f"[{_points(entry['ci95'][0], entry)}, {_points(entry['ci95'][1], entry)}]" if entry["ci95"] else "none"
        difference = "none" if entry["difference"] is None else _points(entry["difference"], entry)
        p_value = "" if entry["p_holm"] is None else _p(entry["p_holm"])
        row: Line = [
            (printable(name), BOLD),
            (_score(entry["a"]), PLAIN),
            (_score(entry["b"]), PLAIN),
            (difference, BOLD),
            (interval, PLAIN),
        ]
        rows.append([*row, (p_value, PLAIN)])
    header: Line = [(title, PLAIN) for title in ("benchmark", "A", "B", "B - A", "95% interval", "p (Holm)")]
    return table(header, rows, _widths(header, rows, width), right={1, 2, 3, 5})


def _widths(header: Line, rows: Sequence[Line], width: int) -> list[int]:
    widths = [max(columns(title), *(columns(row[i][0]) for row in rows)) for i, (title, _) in enumerate(header)]
    while len(widths) > 2 and sum(widths) + 2 * (len(widths) - 1) > width and widths[0] <= 12:
        widths.pop()
    widths[0] = max(8, min(widths[0], width - sum(widths[1:]) - 2 * (len(widths) - 1)))
    return widths


def _colour(entry: Mapping[str, Any]) -> Mapping[str, bool]:
    better = (entry["difference"] > 0) == (entry["direction"] == "higher")
    return GOOD if better else BAD


def _unit(entry: Mapping[str, Any]) -> str:
    """What a difference of this benchmark is in: points, or the metric's own unit where it has no range."""
    return "" if None in entry["range"] else " points"


def _points(value: float, entry: Mapping[str, Any], *, sign: bool = True) -> str:
    """A difference in points, hundredths of the metric's range; as it is where there is none."""
    low, high = entry["range"]
    shown = value if low is None or high is None else 100 * value / (high - low)
    digits = 1 if abs(shown) >= 0.1 or shown == 0 else 2
    text = f"{shown:+.{digits}f}" if sign else f"{shown:.{digits}f}"
    return text if not math.isclose(shown, 0, abs_tol=10**-digits / 2) else f"{0:.{digits}f}"


def _score(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _p(value: float | None) -> str:
    return "" if value is None else "<0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.001 else f"{value:.3f}"


def _short(value: Any) -> str:
    text = "not set" if value is None else " ".join(str(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
