"""What `--gym-check` found, as a table of benchmarks and groups of checks, and a sentence for each thing to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_gym.report.layout import BAD, BOLD, GOOD, PLAIN, WARN, Line, Piece, table, wrapped
from pytest_gym.report.text import printable

GROUPS = (
    ("config", ("config",)),
    ("frozen", ("sources", "version")),
    ("rows", ("rows", "ids", "prompt", "length")),
    ("copies", ("duplicates",)),
    ("letters", ("positions",)),
    ("right", ("reference",)),
    ("wrong", ("empty", "corrupted", "foreign")),
    ("readme", ("readme",)),
)
"""Columns of the table, each the worst of some checks: `right` answers must pass, `wrong` ones must not."""

_WORST = ("fail", "warn", "excused", "ok", "skipped")
_SHOWN: Mapping[str, Piece] = {
    "fail": ("FAIL", BAD), "warn": ("warn", WARN), "excused": ("excused", PLAIN), "ok": ("ok", GOOD), "skipped": ("-", PLAIN),
}  # fmt: skip


def check_text(checked: Sequence[Mapping[str, Any]], *, width: int) -> list[Line]:
    """The lines for the elements of `--gym-check --gym-json`."""
    header: Line = [("", BOLD), ("rows", BOLD), *((name, BOLD) for name, _ in GROUPS)]
    rows: list[Line] = []
    for one in checked:
        count = one["rows"].get("benchmark") or max(one["rows"].values(), default=0)
        rows.append([(printable(one["name"]), PLAIN), (f"{count:,}", PLAIN), *(_worst(one["findings"], names) for _, names in GROUPS)])
    widths = [max(len(row[column][0]) for row in [header, *rows]) for column in range(len(header))]
    widths[0] = max(min(widths[0], width - sum(widths[1:]) - 2 * len(widths[1:])), 8)
    lines = table(header, rows, widths, {1})
    for one in checked:
        for finding in one["findings"]:
            if finding["result"] in ("fail", "warn", "excused"):
                split = f" ({finding['split']})" if finding["split"] else ""
                word, markup = _SHOWN[finding["result"]]
                text = printable(f"{one['name']}{split}: {finding['check']}: {word}: {finding['message']}".replace("\n", " "))
                lines += [[("", PLAIN)], *wrapped(text, width, "", markup if word == "FAIL" else PLAIN)]
    failed = sum(not one["ok"] for one in checked)
    warned = sum(one["ok"] and any(finding["result"] == "warn" for finding in one["findings"]) for one in checked)
    total = f"{len(checked)} benchmark{'s' if len(checked) != 1 else ''}: {failed} failed, {warned} with warnings"
    return [*lines, [("", PLAIN)], [(total, BAD if failed else GOOD)]]


def _worst(findings: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Piece:
    results = [finding["result"] for finding in findings if finding["check"] in names]
    return _SHOWN[min(results, key=_WORST.index, default="skipped")]
