"""Discovery: `--gym-list`, `--gym-search` and `--gym-show` as data, and as text for a terminal of 80 to 100 columns.

The functions return what is to be printed and print nothing themselves; the options that call them are the plugin's.
The text has no colour and no control characters, so that it is the same when it is piped.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from pytest_gym.benchmark import Benchmark
from pytest_gym.catalogue import Catalogue
from pytest_gym.errors import ConfigError, GymError
from pytest_gym.filters import parse_filter
from pytest_gym.nemo import BAKED
from pytest_gym.outlook import expected_se, kind, tokens
from pytest_gym.schema import DOMAINS
from pytest_gym.verify import Verifier, check_needs, check_options, type_name

IsPrepared = Callable[[Benchmark], bool]
Entry = dict[str, Any]

_SOURCES = 5
_WORD = re.compile(r"[^\W_]+")


class Output(NamedTuple):
    """What a command says: `out` for stdout, `err` for stderr (sentences about what cannot be read, in JSON mode), and the exit code."""

    out: str
    err: str = ""
    code: int = 0


def list_command(catalogue: Catalogue, expression: str, prepared: IsPrepared, *, as_json: bool = False, width: int = 100) -> Output:
    """`--gym-list`, or `--gym-list=EXPR` where `expression` is not empty; broken configs are told at the end, in JSON mode on stderr."""
    entries = listing(catalogue, prepared)
    if expression:
        keep = parse_filter(expression)
        entries = [entry for entry in entries if keep(entry)]
    broken = [str(error) for error in catalogue.broken()]
    if as_json:
        return Output(_json(entries), "".join(f"{sentence}\n" for sentence in broken))
    text = list_text(entries, width=width)
    if expression and not entries:
        text = f"no benchmark matches {expression!r}; pytest --gym-list shows all\n"
    return Output(text + _broken_text(broken))


def search_command(catalogue: Catalogue, query: str, *, as_json: bool = False, width: int = 100) -> Output:
    """`--gym-search=QUERY`."""
    found = search(catalogue, query)
    if as_json:
        return Output(_json(found))
    return Output(search_text(found, query, width=width))


def show_command(
    catalogue: Catalogue, name: str, prepared: IsPrepared, *, cache: Path | None = None, as_json: bool = False, width: int = 100
) -> Output:
    """`--gym-show=NAME`. Raises ConfigError where there is no such benchmark, or a broken one; a broken verifier is told in the text."""
    benchmark = catalogue.benchmark(name)
    verifier: Verifier | GymError
    try:
        verifier = catalogue.verifier(benchmark.verifier)
    except GymError as error:
        verifier = error
    shown = show(benchmark, verifier, prepared=prepared(benchmark))
    shown |= {"expected_se": expected_se(benchmark), "tokens": None if cache is None else tokens(benchmark, cache)}
    return Output(_json(shown) if as_json else show_text(shown, width=width))


def listing(catalogue: Catalogue, prepared: IsPrepared) -> list[Entry]:
    """One entry for each benchmark that can be read, by name, with the keys of `--gym-list --gym-json`.

    `rows` is None where the config does not say; `kind` says how answers are judged (one of `outlook.KINDS`); `needs` are the config's
    `requires`; `source` is the config file.
    """
    entries = []
    for benchmark in catalogue.all():
        spec = benchmark.dataset()
        entries.append(
            {
                "name": benchmark.name,
                "description": benchmark.description,
                "domain": benchmark.domain,
                "tags": list(benchmark.tags),
                "rows": spec.num_rows,
                "num_repeats": spec.num_repeats,
                "verifier": benchmark.verifier,
                "kind": kind(benchmark),
                "needs": list(benchmark.requires),
                "prepared": prepared(benchmark),
                "source": str(benchmark.path),
                **({"nemo": dict(benchmark.nemo)} if benchmark.nemo else {}),
            }
        )
    return entries


def search(catalogue: Catalogue, query: str) -> list[Entry]:
    """The benchmarks that a query of some words finds, best first: `name`, `description`, `tags`, `needs`, `domain`.

    More of the query's words count before better places (name, then domain, tags and needs, then description). Endings such as
    -s, -ed and -ing do not matter.
    """
    words = [_stem(word) for word in _WORD.findall(query.lower())]
    ranked = []
    for benchmark in catalogue.all():
        places = (
            (8, [benchmark.name, *benchmark.aliases]),
            (4, [benchmark.domain, *benchmark.tags, *benchmark.requires]),
            (2, [benchmark.description]),
        )
        scores = [max(_score(word, texts) * weight for weight, texts in places) for word in words]
        if any(scores):
            entry = {
                "name": benchmark.name,
                "description": benchmark.description,
                "tags": list(benchmark.tags),
                "needs": list(benchmark.requires),
                "domain": benchmark.domain,
            }
            exact = query.strip().lower() in (name.lower() for name in (benchmark.name, *benchmark.aliases))
            ranked.append((not exact, -sum(score > 0 for score in scores), -sum(scores), benchmark.name, entry))
    return [entry for *_, entry in sorted(ranked, key=lambda item: item[:-1])]


def show(benchmark: Benchmark, verifier: Verifier | GymError, *, prepared: bool) -> dict[str, Any]:
    """Everything about one benchmark. `verifier` is the loaded one, or the error that it could not be loaded with."""
    main = benchmark.dataset()
    dataset = {
        "name": main.name,
        "sources": [{key: value for key, value in asdict(source).items() if value is not None} for source in main.sources],
        "path": main.path,
        "rows": main.num_rows,
        "sha256": main.sha256,
        "frozen": main.sha256 is not None,
        "prepared": prepared,
        "splits": _splits(benchmark),
    }
    return {
        "name": benchmark.name,
        "description": benchmark.description,
        "domain": benchmark.domain,
        "tags": list(benchmark.tags),
        "aliases": list(benchmark.aliases),
        "kind": kind(benchmark),
        "needs": list(benchmark.requires),
        "published": [dict(score) for score in benchmark.published],
        "version": benchmark.version,
        "dataset": dataset,
        "num_repeats": main.num_repeats,
        "prompt": {**benchmark.prompt.to_json(), "fields": sorted(benchmark.prompt.fields)},
        "harness": benchmark.harness,
        "verifier": _verifier(benchmark, verifier),
        "metric": asdict(benchmark.metric),
        "sampling": dict(benchmark.sampling),
        "subset": benchmark.subset,
        "cluster": benchmark.cluster,
        "readme": _readme(benchmark),
        "config": str(benchmark.path),
        "line": benchmark.line,
        **({"nemo": dict(benchmark.nemo)} if benchmark.nemo else {}),
    }


def list_text(entries: Sequence[Entry], *, width: int = 100) -> str:
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


def search_text(found: Sequence[Entry], query: str, *, width: int = 100) -> str:
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
    for role in ("system", "user"):
        if shown["prompt"][role] is not None:
            yield f"  {role}:"
            yield from (f"    {_clean(line)}".rstrip() for line in shown["prompt"][role].splitlines() or [""])


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


def _cells(entry: Entry) -> tuple[str, ...]:
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


def _broken_text(broken: Sequence[str]) -> str:
    if not broken:
        return ""
    return "\n".join(["", f"{len(broken)} cannot be read:", *(f"  {_clean(sentence)}" for sentence in broken)]) + "\n"


def _domain_order(domain: str) -> int:
    return DOMAINS.index(domain) if domain in DOMAINS else len(DOMAINS)


def _verifier(benchmark: Benchmark, verifier: Verifier | GymError) -> dict[str, Any]:
    said = dict(benchmark.verifier_options)
    if isinstance(verifier, GymError):
        given = {name: {"type": "", "value": value, "default": None, "required": False} for name, value in said.items()}
        return {"name": benchmark.verifier, "description": "", "options": given, "error": str(verifier)}
    options = {}
    for option in verifier.options.values():
        required = option.default is inspect.Parameter.empty
        default = None if required else _jsonable(option.default)
        options[option.name] = {
            "type": type_name(option.annotation),
            "value": said.get(option.name, default),
            "default": default,
            "required": required,
        }
    description = " ".join(inspect.cleandoc(verifier.__doc__ or "").split("\n\n")[0].split())
    result: dict[str, Any] = {"name": verifier.name, "description": description, "options": options}
    try:
        check_options(verifier, said, f"{benchmark.path}:{benchmark.line}")
        check_needs(verifier)
    except GymError as error:
        result["error"] = str(error)
    return result


def _jsonable(value: Any) -> Any:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return str(value)
    return value


def _splits(benchmark: Benchmark) -> list[str]:
    splits = [spec.type for spec in benchmark.datasets]
    try:
        benchmark.dataset("example")
    except ConfigError:
        return splits
    return list(dict.fromkeys((*splits, "example")))


def _readme(benchmark: Benchmark) -> str:
    """The first paragraph of the README beside the config that is no heading, on one line; empty without one."""
    try:
        text = (benchmark.folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line for line in paragraph.splitlines() if not line.lstrip().startswith("#")]
        if words := " ".join(lines).split():
            return " ".join(words)
    return ""


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _score(word: str, texts: Iterable[str]) -> float:
    """1 for a whole word of the texts, less for its beginning or a part of it, 0 where it is not there."""
    best = 0.0
    for text in texts:
        low = text.lower()
        if word in low:
            stems = [_stem(item) for item in _WORD.findall(low)]
            best = max(best, 1.0 if word in stems else 0.6 if any(stem.startswith(word) for stem in stems) else 0.3)
    return best


def _json(data: Any) -> str:
    return f"{json.dumps(data, indent=2, ensure_ascii=False)}\n"
