"""The summary as Markdown, for `summary.md` and for the page of a CI job: models, scores, errors, gates. Nothing is computed here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_gym.report.terminal import published_text
from pytest_gym.report.text import excerpt, printable

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#|~!$^])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def summary_markdown(summary: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """The Markdown text for the content of `summary.json` and `run.json`.

    Names and messages that others wrote are escaped, so that they cannot become markup, links or table cells.
    """
    demo = bool(summary.get("demo"))
    model = str((manifest.get("model") or {}).get("name") or "unknown model")
    lines = [f"## {'DEMO: ' if demo else ''}{escape(model)}", ""]
    if demo:
        lines += ["**DEMO: a simulated model answered. These numbers say nothing about any real model.**", ""]
    if changed := (manifest.get("options") or {}).get("settings"):
        lines += ["Set for this run: " + ", ".join(escape(f"{name}={json.dumps(changed[name])}", 200) for name in sorted(changed)), ""]
    if (manifest.get("sandbox") or {}).get("unsafe"):
        lines += ["**UNSAFE: programs that the model wrote ran without a sandbox (sandbox.backend=none).**", ""]
    benchmarks: Mapping[str, Mapping[str, Any]] = summary["benchmarks"]
    lines += ["| benchmark | tasks × repeats | metric | score | 95% interval | scored | bounds |", "|---|--:|---|--:|---|--:|---|"]
    for name, entry in benchmarks.items():
        metric = entry["metrics"][entry["headline"]]
        cells = [
            escape(name),
            f"{entry['tasks']:,} × {entry['repeats']}",
            escape(entry["headline"]) + (", lower is better" if entry.get("direction") == "lower" else ""),
            "none" if metric["value"] is None else f"**{metric['value']:.4g}**",
            _pair(metric["ci95"], "none") + (" (few)" if metric.get("few") else ""),
            f"{entry['cases'] - entry['missing']:,} / {entry['cases']:,}",
            _pair(metric.get("bounds"), "unknown") if entry["missing"] else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    if (mean := summary.get("mean")) and mean["value"] is not None:
        few = " (few)" if mean["few"] else ""
        cells = ["macro mean", "", "", f"**{mean['value']:.4g}**", _pair(mean["ci95"], "none") + few, "", _pair(mean.get("bounds"), "")]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    for name, entry in benchmarks.items():
        notes = _notes(entry)
        lines += [f"**{escape(name)}**", "", *(f"- {note}" for note in notes), ""] if notes else []
    if gates := summary.get("gates"):
        lines += ["| gate | verdict | why |", "|---|---|---|"]
        for gate in gates:
            verdict = "passed" if gate.get("passed") else "**failed**" if gate.get("decided") else "**not decided**"
            lines.append(f"| {escape(str(gate.get('gate', '')))} | {verdict} | {escape(str(gate.get('message') or ''))} |")
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def escape(text: str, limit: int = 500) -> str:
    """Text as Markdown that shows it: one line, at most `limit` characters, nothing in it special."""
    line = " ".join(printable(excerpt(text, limit)).split())
    line = "".join(_ENTITIES.get(character, character) for character in line)
    # A bare address would become a link; the backslash is not shown.
    return _SPECIAL.sub(r"\\\1", line).replace("://", "\\://")


def _notes(entry: Mapping[str, Any]) -> list[str]:
    notes = []
    if entry.get("errors"):
        notes.append("errors: " + ", ".join(f"{escape(kind)} {count:,}" for kind, count in entry["errors"].items()))
    if rates := {kind: rate for kind, rate in (entry.get("rates") or {}).items() if rate > 0}:
        notes.append("answers: " + ", ".join(f"{escape(kind.replace('_', ' '))} {100 * rate:.2g}%" for kind, rate in rates.items()))
    notes += ["published: " + escape(published_text(published, entry)) for published in entry.get("published") or ()]
    return [*notes, *(escape(hint) for hint in entry.get("hints") or ())]


def _pair(ends: Sequence[float] | None, otherwise: str) -> str:
    return f"{ends[0]:.4g} – {ends[1]:.4g}" if ends else otherwise
