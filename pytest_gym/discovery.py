"""Discovery: `--gym-list`, `--gym-search` and `--gym-show` as data.

The functions return what is to be printed and print nothing themselves; the options that call them are the plugin's. Text is made in
`report/benchmarks`.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from pytest_gym.benchmark import Benchmark
from pytest_gym.catalogue import Catalogue
from pytest_gym.errors import ConfigError, GymError
from pytest_gym.filters import parse_filter
from pytest_gym.outlook import expected_se, kind, tokens
from pytest_gym.report.benchmarks import broken_text, list_text, search_text, show_text, suite_text, suites_text
from pytest_gym.verify import Verifier, check_needs, check_options, type_name

IsPrepared = Callable[[Benchmark], bool]
Entry = dict[str, Any]

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
    text = list_text(entries, width=width) + ("" if expression else suites_text(list(catalogue.suites.values()), width=width))
    if expression and not entries:
        text = f"no benchmark matches {expression!r}; pytest --gym-list shows all\n"
    return Output(text + broken_text(broken))


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
    if name in catalogue.suites:
        suite = catalogue.suites[name]
        told = {**asdict(suite), "path": str(suite.path), "members": catalogue.match(name)}
        return Output(_json(told) if as_json else suite_text(told, width=width))
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
