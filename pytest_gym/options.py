"""Every `--gym-*` option, declared once, and the one frozen Options that the rest of the pytest side reads.

An option has an ini twin (`gym_model`) and an environment twin (`GYM_MODEL`); the command line wins over the environment, that over
pyproject. Only the command line starts a gym run: the twins set values. What is not typed daily is a setting (`settings`), not an option.
Imported in every pytest run: standard library and pytest only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import pytest

APIS = ("chat", "responses", "messages", "completions")
"""The wire APIs; `model.WIRES` names the same ones, but this module is imported in every pytest run, and that one is not."""

SECRETS = ("GYM_API_KEY", "OPENAI_API_KEY")
"""Where a key is looked for, in this order. Keys are never options."""

MESSAGES_SECRETS = ("GYM_API_KEY", "ANTHROPIC_API_KEY")
"""The same for `--gym-api=messages`: one vendor's key is never sent to another."""


class _Option(NamedTuple):
    name: str
    kind: str  # text: one value; list: comma or repeated; flag; count: a number from 1; look: text, and nothing is run
    metavar: str | None
    help: str
    choices: tuple[str, ...] = ()
    optional: str | None = None
    """What the option means without a value, where it may stand without one."""
    twin: str | None = None
    """The name of its ini and environment twins, where it is not the option's own."""


DECLARED: Sequence[_Option] = (
    _Option("benchmark", "list", "NAMES", "Run these benchmarks: names or globs, separated by commas; may be repeated"),
    _Option("model", "text", "NAME", "The model to ask, by the name that the endpoint knows"),
    _Option("base_url", "text", "URL", "The endpoint, such as http://localhost:8000/v1 (default: OPENAI_BASE_URL)"),
    _Option("api", "text", "API", "The wire API that the endpoint speaks: chat (default), responses, messages or completions", APIS),
    _Option("demo", "flag", None, "Run on the example rows against a simulated model on this machine"),
    _Option("repeats", "count", "N", "Independent attempts at each task (default: what the benchmark says)"),
    _Option("limit", "text", "N[@SEED]", "Only the first N tasks, or with @SEED a seeded sample of N"),
    _Option("split", "text", "NAME", "Another split of the dataset, such as 'example'"),
    _Option("shard", "text", "I/N", "Only part I of N of the tasks (1/N to N/N), or 'auto' for what the scheduler says (docs/shards.md)"),
    _Option("concurrency", "count", "N", "Requests in flight at once, whatever -n is (default: 64)"),
    _Option("output", "text", "DIR", "The run folder (default: a new one below gym-results/)"),
    _Option("path", "list", "DIRS", "Further gym roots: folders with benchmarks/ and verifiers/, searched first"),
    _Option("resume", "text", "RUN", "Go on with the run in this folder: what has no answer yet is asked, with the run's own options"),
    _Option("reverify", "text", "RUN", "Judge the answers of the run in this folder again, in a new run; nobody is asked"),
    _Option("responses", "text", "FILE", "Judge the answers in a JSON Lines file instead of asking a model"),
    _Option("set", "repeat", "NAME=VALUE", "A setting, such as sampling.temperature=0.7 (docs/settings.md); may be repeated"),
    _Option(
        "gate", "repeat", "GATE", "What must hold, such as 'gsm8k: pass@1 >= 0.85 at 95%' (docs/gates.md); may be repeated", twin="gates"
    ),
    _Option("baseline", "text", "RUN", "The run that gates and the scorecard compare with, task by task"),
    _Option("max_errors", "text", "N|P%", "Missing data that gates tolerate: cases, or a share of them (default: 0)"),
    _Option(
        "stop_when_decided",
        "text",
        "99%",
        "Stop when no answer that is left can change the verdict on any gate, or with a value, when these are that sure (docs/gates.md)",
        optional="exact",
    ),
    _Option("show_failures", "text", "N", "Failed cases shown in full: a number or 'all' (default: 10)"),
    _Option(
        "list", "look", "FILTER", "List the benchmarks and exit; with a value, only those whose name, domain or tag matches", optional=""
    ),
    _Option("search", "look", "QUERY", "Search the benchmarks' names, descriptions, tags and needs, and exit"),
    _Option("show", "look", "NAME", "Show everything about one benchmark and exit"),
    _Option(
        "new", "look", "NAME=FILE", "Make a benchmark of a table of questions and answers (jsonl, csv, …), and exit (docs/benchmarks.md)"
    ),
    _Option(
        "check", "look", "NAMES", "Hold benchmarks (names, globs or 'all') against what makes them trustworthy (docs/check.md), and exit"
    ),
    _Option("prepare", "look", "NAMES", "Fetch, make and freeze the data of benchmarks (names, globs or 'all'), several at once, and exit"),
    _Option("aggregate", "look", "RUNS", "Merge the runs in these folders (commas, globs) into the new run folder that --gym-output names"),
    _Option("profile", "look", "RUN", "Show the numbers of the run in this folder: tasks, subsets, hardest and flakiest, and exit"),
    _Option("compare", "look", "A,B", "Compare two runs task by task: what differs, by how much, how surely, and why; and exit"),
    _Option("by", "text", "FIELD", "Report scores apart by this field of the tasks: in a run, --gym-profile and --gym-compare"),
    _Option("json", "flag", None, "With the options that only show something (--gym-list to --gym-compare): JSON alone on stdout"),
)

LOOKS = tuple(option.name for option in DECLARED if option.kind == "look")

TYPED_ONLY = (*LOOKS, "benchmark", "output", "json", "by", "resume", "reverify", "responses")
"""Options without twins: what starts something, or names one run's folder, is typed."""


@dataclass(frozen=True)
class Options:
    """The options of a run, as resolved from command line, environment and ini. Unset ones are None or empty."""

    benchmark: tuple[str, ...] = ()
    model: str | None = None
    base_url: str | None = None
    api: str = "chat"
    demo: bool = False
    repeats: int | None = None
    limit: str | None = None
    split: str | None = None
    shard: str | None = None
    concurrency: int = 64
    output: str | None = None
    path: tuple[str, ...] = ()
    resume: str | None = None
    reverify: str | None = None
    responses: str | None = None
    set: tuple[str, ...] = ()
    gate: tuple[str, ...] = ()
    baseline: str | None = None
    max_errors: str | None = None
    stop_when_decided: str | None = None
    show_failures: str = "10"
    list: str | None = None
    search: str | None = None
    show: str | None = None
    new: str | None = None
    check: str | None = None
    prepare: str | None = None
    aggregate: str | None = None
    profile: str | None = None
    compare: str | None = None
    by: str | None = None
    json: bool = False
    cases: tuple[str, ...] = field(default=(), metadata={"help": "node ids of cases that stood among the arguments"})

    def to_json(self) -> dict[str, Any]:
        """All options, for workers and the manifest."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Options:
        """The options that `to_json` wrote."""
        values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
        return cls(**values)


def flag(name: str) -> str:
    """The option as it is typed: `--gym-base-url` for `base_url`."""
    return "--gym-" + name.replace("_", "-")


def declare(parser: pytest.Parser) -> None:
    """Declare every option and its ini twin."""
    group = parser.getgroup("gym", "LLM benchmarks as tests (pytest-gym)")
    for option in DECLARED:
        dest, said = f"gym_{option.name}", option.help.replace("%", "%%")
        # '?' and not '*': pytest looks for its rootdir among all words that could be paths, before it knows this option.
        optional: dict[str, Any] = {} if option.optional is None else {"nargs": "?", "const": option.optional}
        if option.kind == "flag":
            group.addoption(flag(option.name), dest=dest, action="store_const", const=True, default=None, help=said)
        elif option.kind == "look":
            group.addoption(flag(option.name), dest=dest, default=None, metavar=option.metavar, help=said, **optional)
        else:
            repeated = {"action": "append"} if option.kind in ("list", "repeat") else {}
            group.addoption(flag(option.name), dest=dest, default=None, metavar=option.metavar, help=said, **repeated, **optional)
        if option.name not in TYPED_ONLY:
            kind = {"flag": "bool", "list": "args", "repeat": "linelist"}.get(option.kind, "string")
            parser.addini(ini_name(option), f"The same as {flag(option.name)}", type=kind, default=None)  # type: ignore[arg-type]


def is_look(config: pytest.Config) -> bool:
    """Whether the command line asks to look at something rather than to run."""
    return any(config.getoption(f"gym_{name}", None) is not None for name in LOOKS)


def nothing_is_run(config: pytest.Config) -> bool:
    """Whether pytest is only asked to show something about the cases: then nobody is asked and nothing is left behind."""
    looks = ("collectonly", "setupplan", "showfixtures", "show_fixtures_per_test", "cacheshow")
    return any(getattr(config.option, name, None) not in (None, False) for name in looks)


def looks_like_benchmark(word: str) -> bool:
    """A cheap look, done in every pytest run: whether `word` could be a case's id or the path of a benchmark."""
    head, colons, _ = word.partition("::")
    if colons:
        return not head.endswith((".py", ".txt", ".rst", ".md"))
    name = word.replace("\\", "/").rstrip("/")
    return name.endswith("config.yaml") or "benchmarks" in name.split("/")[:-1]


def is_asked_for(config: pytest.Config) -> bool:
    """Whether the command line's options ask for a gym run."""
    starts = ("gym_benchmark", "gym_resume", "gym_reverify", "gym_responses")
    return any(config.getoption(name, None) for name in starts) and not is_look(config)


def parse(config: pytest.Config) -> Options:
    """The resolved options. Raises pytest.UsageError with the valid values where one cannot be meant."""
    values: dict[str, Any] = {}
    for option in DECLARED:
        value, where = _raw(config, option)
        if value is not None:
            values[option.name] = _parsed(option, value, where)
    if values.get("demo"):
        for name in ("model", "base_url"):
            if config.getoption(f"gym_{name}", None):
                raise pytest.UsageError(f"--gym-demo brings its own model: leave out {flag(name)}, or --gym-demo")
            values.pop(name, None)
        if values.pop("api", "chat") != "chat" and config.getoption("gym_api", None):
            raise pytest.UsageError("--gym-demo brings its own model, which speaks chat: leave out --gym-api, or --gym-demo")
    elif "base_url" not in values and (url := _known_url(values)):
        values["base_url"] = url
    options = Options(**values)
    _check(options)
    return options


def _known_url(values: Mapping[str, Any]) -> str | None:
    """The endpoint where none is given: what OpenAI's variables say, or the vendor whose key is there."""
    if values.get("api") == "messages":
        return "https://api.anthropic.com/v1" if os.environ.get("ANTHROPIC_API_KEY") and values.get("model") else None
    if url := os.environ.get("OPENAI_BASE_URL"):
        return url
    return "https://api.openai.com/v1" if os.environ.get("OPENAI_API_KEY") and values.get("model") else None


def secrets(api: str) -> tuple[str, ...]:
    """The variables that a key for this wire API is looked for in, in this order."""
    return MESSAGES_SECRETS if api == "messages" else SECRETS


def api_key(options: Options) -> str | None:
    """The endpoint's key from the environment, or None."""
    if options.demo:
        return None
    return next((key for name in secrets(options.api) if (key := os.environ.get(name, "").strip())), None)


def _raw(config: pytest.Config, option: _Option) -> tuple[Any, str]:
    """What was given, and where, for the sentence if it is wrong."""
    given = config.getoption(f"gym_{option.name}", None)
    if given not in (None, []):
        return given, flag(option.name)
    variable = ini_name(option).upper()
    if option.name not in TYPED_ONLY and os.environ.get(variable):
        value = os.environ[variable]
        return (value.splitlines() if option.kind == "repeat" else [value] if option.kind == "list" else value), f"the variable {variable}"
    if option.name in TYPED_ONLY:
        return None, ""
    ini = config.getini(ini_name(option))
    return (ini if ini not in (None, "", []) else None), f"the ini value {ini_name(option)}"


def ini_name(option: _Option) -> str:
    """The name of the option's ini twin; its environment twin has the same in capitals."""
    return f"gym_{option.twin or option.name}"


def _parsed(option: _Option, value: Any, where: str) -> Any:
    if option.kind == "list":
        names = [part.strip() for word in value for part in str(word).split(",")]
        if not all(names):
            raise pytest.UsageError(f"{where}: an empty name in {','.join(map(str, value))!r}")
        return tuple(dict.fromkeys(names))
    if option.kind == "repeat":
        return tuple(str(line) for line in value)
    if option.kind == "flag":
        if isinstance(value, bool):
            return value
        if (word := str(value).lower()) not in ("0", "1", "true", "false", "yes", "no", "on", "off"):
            raise pytest.UsageError(f"{where}: {value!r} is neither yes nor no")
        return word in ("1", "true", "yes", "on")
    if option.kind == "count":
        if not str(value).isdecimal() or int(value) < 1:
            raise pytest.UsageError(f"{where}: {value!r} is not a whole number from 1 up")
        return int(value)
    if option.kind == "text" and value == "" and option.optional is None:
        raise pytest.UsageError(f"{where}: is empty (an unset variable?)")
    if option.choices and value not in option.choices:
        raise pytest.UsageError(f"{where}: {value!r} is not one of {', '.join(option.choices)}")
    return str(value)


def _check(options: Options) -> None:
    from urllib.parse import urlsplit

    if options.limit is not None:
        number, _, seed = options.limit.partition("@")
        if not number.isdecimal() or int(number) < 1 or ("@" in options.limit and not seed.isdecimal()):
            raise pytest.UsageError(f"--gym-limit={options.limit}: must be a number of tasks, or N@SEED for a seeded sample")
    if options.show_failures != "all" and not options.show_failures.isdecimal():
        raise pytest.UsageError(f"--gym-show-failures={options.show_failures}: must be a number or 'all'")
    if options.base_url is not None:
        try:
            url = urlsplit(options.base_url)
            valid = (
                url.scheme in ("http", "https") and bool(url.hostname) and (url.port or 1) > 0 and not re.search(r"\s", options.base_url)
            )
        except ValueError:
            valid = False
        if not valid:
            raise pytest.UsageError("--gym-base-url: must be a URL such as http://localhost:8000/v1")
        if url.username or url.password:
            raise pytest.UsageError("--gym-base-url: holds a user name or password; give keys in GYM_API_KEY only")


def check_runnable(options: Options) -> None:
    """Raise pytest.UsageError where a run would have nobody to ask."""
    if options.demo:
        return
    if not options.model:
        raise pytest.UsageError("no model: give --gym-model=NAME and --gym-base-url=URL, or --gym-demo to try it without one")
    if not options.base_url:
        raise pytest.UsageError("no endpoint: give --gym-base-url=URL, or --gym-demo to try it without one")
