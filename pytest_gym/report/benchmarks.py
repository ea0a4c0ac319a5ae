"""What `--gym-list`, `--gym-search` and `--gym-show` found, as text for a terminal of 80 to 100 columns.

It has no colour and no control characters, so that it is the same when it is piped.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_gym.nemo import BAKED
from pytest_gym.schema import DOMAINS

_SOURCES = 5


def list_text(entries: Sequence[Mapping[str, Any]], *, width: int = 100) -> str:
    """The list as an aligned table, grouped by domain."""
    if not entries:
        return "there are no benchmarks\n"
    head = ("", "rows", "repeats", "judged by", "data", "", "")
    table = {id(entry): _cells(entry) for entry in entries}
    widths = [max(len(cells[column]) for cells in (head, *table.values())) for column in range(5)]
    # A single long name must not push all the others off the screen.
    widths[0], widths[3] = min(widths[0], 32), min(widths[3], 24)
    lines: list[str] = []
    for domain in sorted({entry["domain"] for entry in entries}, key=_domain_order):
        lines += ["" if lines else _row(head, widths, width), domain]
        lines += [_row(table[id(entry)], widths, width) for entry in entries if entry["domain"] == domain]
    count = f"{len(entries)} benchmark{'s' if len(entries) != 1 else ''}"
    return "\n".join([*lines, "", f"{count}; 'pytest --gym-show=NAME' tells all about one"]) + "\n"


def suites_text(suites: Sequence[Any], *, width: int = 100) -> str:
    """The suites below a list; nothing where there are none."""
    if not suites:
        return ""
    lines = ["", "suites"]
    for suite in suites:
        lines += _wrapped(f"{suite.name}: {suite.description or ', '.join(suite.benchmarks)}", width, "  ")
    return "\n".join(lines) + "\n"


def suite_text(shown: Mapping[str, Any], *, width: int = 100) -> str:
    """Everything about a suite."""
    lines = [_clean(shown["name"]), *(_wrapped(shown["description"], width, "  ") if shown["description"] else ())]
    for key, label in (("members", "benchmarks"), ("settings", "settings"), ("gates", "gates")):
        lines += ["", label, *(f"  {_clean(line)}" for line in shown[key])] if shown[key] else []
    return "\n".join([*lines, "", f"config      {_clean(shown['path'])}:{shown['line']}"]) + "\n"


def search_text(found: Sequence[Mapping[str, Any]], query: str, *, width: int = 100) -> str:
    """What was found, best first, each with its description."""
    if not found:
        return f"nothing matches {query!r}; pytest --gym-list shows all\n"
    lines = []
    for entry in found:
        words = ", ".join(dict.fromkeys((entry["domain"], *entry["tags"], *(f"needs {need}" for need in entry["needs"]))))
        lines.append(f"{_clean(entry['name'])}  ({words})")
        lines += _wrapped(entry["description"], width, "    ")
    return "\n".join(lines) + "\n"


def show_text(shown: Mapping[str, Any], *, width: int = 100) -> str:
    """Everything about a benchmark, as `show` gives it, on a page."""
    return "\n".join(_show_lines(shown, width)) + "\n"


def _show_lines(shown: Mapping[str, Any], width: int) -> Iterator[str]:
    dataset, metric, verifier = shown["dataset"], shown["metric"], shown["verifier"]
    yield _clean(shown["name"])
    yield from _wrapped(shown["description"], width, "  ")
    if shown["readme"]:
        yield ""
        yield from _wrapped(shown["readme"], width, "  ")
    yield ""
    yield _field("domain", shown["domain"])
    yield _field("tags", ", ".join(shown["tags"]) or "none")
    yield _field("needs", ", ".join(shown["needs"]) or "nothing beyond a model")
    if shown["aliases"]:
        yield _field("also called", ", ".join(shown["aliases"]))
    yield _field("version", shown["version"])
    yield _field("config", f"{shown['config']}:{shown['line']}")
    yield ""
    rows = "a number not declared" if dataset["rows"] is None else f"{dataset['rows']:,}"
    yield _field("rows", f"{rows}, {shown['num_repeats']} attempt{'s' if shown['num_repeats'] != 1 else ''} each")
    yield _field("data", f"{dataset['path']} ({'ready' if dataset['prepared'] else 'prepared on first use'})")
    loose = (
        "not frozen upstream: gym.lock records it when it is first prepared"
        if dataset["sources"]
        else "not given: the file lives beside the config"
    )
    yield _field("sha256", dataset["sha256"] or loose)
    for source in dataset["sources"][:_SOURCES]:
        yield _field("source", f"{source['name']}: {source.get('url') or source.get('hf') or 'no address'}")
    if len(dataset["sources"]) > _SOURCES:
        yield _field("", f"and {len(dataset['sources']) - _SOURCES} more")
    yield _field("splits", ", ".join(dataset["splits"]))
    yield from (_field(name, value) for name, value in _nemo(shown))
    for name in ("subset", "cluster"):
        if shown[name]:
            yield _field(name, f"the row's field {shown[name]!r}")
    yield ""
    yield _field("harness", shown["harness"])
    yield _field("sampling", json.dumps(shown["sampling"]) if shown["sampling"] else "the server's own")
    bounds = f"{metric['low']:g} to {metric['high']:g}, {metric['direction']} is better, passed from {metric['pass_threshold']:g}"
    yield _field("headline", f"{metric['headline']} (reward {bounds})")
    yield _field("verifier", f"{verifier['name']} ({shown['kind']})")
    yield from _wrapped(verifier.get("error") or verifier["description"], width, " " * 12)
    for name, option in verifier["options"].items():
        value = "" if option["value"] == option["default"] and not option["required"] else "  (set here)"
        yield f"{'':12}{name} = {json.dumps(option['value'])}{value}  {option['type']}"
    yield from _outlook_lines(shown, width)
    yield ""
    yield f"prompt ({shown['prompt']['source']})"
    yield from _prompt_lines(shown["prompt"])


def _prompt_lines(prompt: Mapping[str, Any]) -> Iterator[str]:
    """The templates in the order in which they are sent."""
    turns = [("system", prompt["system"]), *((turn["role"], turn["content"]) for turn in prompt.get("messages") or ())]
    if prompt.get("field"):
        turns.append((f"the messages in the row's field {prompt['field']!r}", ""))
    turns.append(("user", prompt["user"]))
    for role, content in turns:
        if content is None:
            continue
        yield f"  {role}:" if content else f"  {role}"
        text = content if isinstance(content, str) else "\n".join(json.dumps(part, ensure_ascii=False) for part in content)
        yield from (f"    {_clean(line)}".rstrip() for line in text.splitlines())
    if prompt.get("tools"):
        yield f"  the tools in the row's field {prompt['tools']!r}"


def _outlook_lines(shown: Mapping[str, Any], width: int) -> Iterator[str]:
    """Published scores, the standard error to expect, and the tokens of a run, where each is known."""
    se, used = shown.get("expected_se"), shown.get("tokens")
    if shown["published"] or se or used:
        yield ""
    for score in shown["published"]:
        text = f"{score['model']}: {score['metric']} {score['score']:g}, {score['protocol']} ({score['source']})"
        yield from _hanging("published", text, width)
    if se:
        least = "" if se["at_least"] == se["at_most"] else f", down to {100 * se['at_least']:.1f} if all tasks are alike"
        repeats = "" if shown["num_repeats"] == 1 else f" with {shown['num_repeats']} attempts each"
        yield from _hanging("error", f"SE of about {100 * se['at_most']:.1f} points at a score of {se['score']:g}{repeats}{least}", width)
    if used:
        most = "no limit on output" if used["output_at_most"] is None else f"at most {used['output_at_most']:,} tokens out"
        by = "its rows" if used["rows"] == "benchmark" else "the example rows"
        yield from _hanging("a run", f"{used['requests']:,} requests, about {used['input']:,} tokens in (by {by}), {most}", width)


def _hanging(name: str, text: str, width: int) -> list[str]:
    lines = textwrap.wrap(_clean(text), max(width - 12, 20), break_long_words=False)
    return [f"{name if number == 0 else '':<12}{line}" for number, line in enumerate(lines)]


def _nemo(shown: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """What a config in NeMo Gym's form names, by NeMo Gym's words."""
    said = shown.get("nemo")
    if not said:
        return
    yield "agent", said["agent"]
    yield "server", said["resources_server"]
    yield "judge", said["judge"] or "none"
    yield "licence", said["licence"] or "not given"
    yield "prompt file", said["prompt_config"] or f"none: the rows bring their messages in {BAKED}"
    yield "prepared by", said["prepare_script"] or "not given"


def _field(name: str, value: object) -> str:
    return f"{name:<12}{_clean(str(value))}"


def _cells(entry: Mapping[str, Any]) -> tuple[str, ...]:
    needs = f" [needs {', '.join(entry['needs'])}]" if entry["needs"] else ""
    rows = "?" if entry["rows"] is None else f"{entry['rows']:,}"
    repeats = "" if entry["num_repeats"] == 1 else f"x{entry['num_repeats']}"
    return (entry["name"], rows, repeats, entry["kind"], "ready" if entry["prepared"] else "-", entry["description"], needs)


def _row(cells: Sequence[str], widths: Sequence[int], width: int) -> str:
    name, rows, repeats, verifier, data, description, needs = map(_clean, cells)
    verifier = _cut(verifier, widths[3])
    line = (
        f"  {name:<{widths[0]}}  {rows:>{widths[1]}}  {repeats:>{widths[2]}}  {verifier:<{widths[3]}}  {data:<{widths[4]}}  {description}"
    )
    # What a benchmark needs stays to be read when its description is cut.
    return (_cut(line.rstrip(), max(width - len(needs), 40)) + needs).rstrip()


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 3].rstrip() + "..."


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(_clean(text), width, initial_indent=indent, subsequent_indent=indent, break_long_words=False)


def _clean(text: str) -> str:
    """The text with control characters written out: a config of somebody else's must not command the terminal."""
    return text if text.isprintable() else "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def broken_text(broken: Sequence[str]) -> str:
    """The sentences about configs that cannot be read, each on a line."""
    if not broken:
        return ""
    return "\n".join(["", f"{len(broken)} cannot be read:", *(f"  {_clean(sentence)}" for sentence in broken)]) + "\n"


def _domain_order(domain: str) -> int:
    return DOMAINS.index(domain) if domain in DOMAINS else len(DOMAINS)
