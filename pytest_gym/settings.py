"""Settings: everything that may be set but is not typed daily, under dotted names, in one table.

The table validates `--gym-set=NAME=VALUE`, `gym_set` lines and the `sampling:` of a config alike, and prints docs/settings.md.
Standard library only. Not here: command-line options (options), and a verifier's own options, which its signature declares (verify).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_gym.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from pytest_gym.benchmark import Benchmark

FREE = ".*"


@dataclass(frozen=True)
class Setting:
    """One line of the table.

    `type` is `number`, `integer`, `text`, `texts` (a text or a list of texts), `flag`, `mapping` or `any`; `protocol` says that it can
    move a score and is part of the fingerprint. `choices` lists the allowed values, `low` and `high` bound a number; `above` excludes
    `low` itself.
    A name that ends in `.*` stands for any further dotted name. A default of None means: not set, nothing is sent.
    """

    name: str
    type: str
    default: Any
    help: str
    protocol: bool = False
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    above: bool = False

    def describe(self) -> str:
        """What a value must be, as a user reads it: 'a number of at least 0'."""
        if self.choices:
            return " or ".join(repr(choice) for choice in self.choices)
        words = {"number": "a number", "integer": "a whole number", "text": "a text", "texts": "a text or a list of texts"}
        words |= {"flag": "true or false", "mapping": "a mapping", "range": "two numbers, the lower first, as [0, 1]"}
        text = words.get(self.type, "any value")
        if self.low is not None:
            text += f" {'above' if self.above else 'of at least'} {self.low:g}"
        if self.high is not None:
            text += f"{' and' if self.low is not None else ''} of at most {self.high:g}"
        return text

    def check(self, value: Any, where: str) -> Any:
        """The value as it will be used; None unsets. Raises ConfigError, whose sentence begins with `where`."""
        if value is None and self.default is None:
            return None
        if self.type == "number" and _is_number(value):
            value = float(value)
        fits = {
            "number": isinstance(value, float) and math.isfinite(value),
            "integer": isinstance(value, int) and not isinstance(value, bool),
            "text": isinstance(value, str),
            "texts": isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value)),
            "flag": isinstance(value, bool),
            "mapping": isinstance(value, dict),
            "range": isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)) and value[0] < value[1],
        }.get(self.type, True)
        if fits and self.choices:
            fits = value in self.choices
        if fits and self.low is not None:
            fits = value > self.low if self.above else value >= self.low
        if fits and self.high is not None:
            fits = value <= self.high
        if not fits:
            hint = did_you_mean(value, self.choices) if isinstance(value, str) and self.choices else ""
            raise ConfigError(f"{where}: {self.name} must be {self.describe()}, not {value!r}{hint}")
        return value


_OUTCOME = ("missing", "wrong")

SETTINGS: tuple[Setting, ...] = (
    Setting("sampling.temperature", "number", None, "Sampling temperature; 0 is greedy", True, low=0),
    Setting("sampling.top_p", "number", None, "Nucleus sampling: the share of probability that is kept", True, low=0, high=1, above=True),
    Setting("sampling.max_tokens", "integer", None, "Most tokens of one answer, reasoning included", True, low=1),
    Setting("sampling.seed", "integer", None, "Seed that the server is asked to sample with", True),
    Setting("sampling.stop", "texts", None, "Texts at which the answer ends", True),
    Setting("sampling.response_format", "mapping", None, "Structured output, in the form of Chat Completions for every API", True),
    Setting("sampling.logprobs", "flag", None, "Ask for the log probability of each token, and keep them with the rollout", True),
    Setting("sampling.top_logprobs", "integer", None, "Ask for the likeliest tokens in each place as well", True, low=0, high=20),
    Setting("sampling.tool_choice", "any", None, "Whether a tool must be called, in the form of Chat Completions for every API", True),
    Setting("sampling.parallel_tool_calls", "flag", None, "Whether one answer may call several tools", True),
    Setting("sampling.stream", "flag", None, "Have answers streamed, which measures the time to the first token and the tokens per second"),
    Setting("sampling.extra_body.*", "any", None, "Any further key of the request body, for example sampling.extra_body.top_k", True),
    Setting("client.timeout", "number", 600.0,
            "Seconds from sending a request to the end of its answer, for each attempt", low=0, above=True),
    Setting("client.timeout.connect", "number", 10.0, "Seconds that connecting may take", low=0, above=True),
    Setting("client.timeout.first_byte", "number", None, "Seconds until an answer begins (not set: client.timeout)", low=0, above=True),
    Setting("client.max_retries", "integer", 5, "Further attempts after an error that may pass (0: none, after no error)", low=0),
    Setting("client.rate_limit_wait", "number", 600.0, "Seconds without any answer that a limit on the rate (429, or 503 with Retry-After) "
            "is waited out beyond client.max_retries (0: not at all)", low=0),
    Setting("client.max_reply_mb", "number", 64.0, "Megabytes that one answer may have, unpacked", low=0, above=True),
    Setting("client.stop_after_errors", "integer", 20, "Errors in a row, without an answer between, that stop the run (0: never)", low=0),
    Setting("judge.concurrency", "integer", 64, "Async verifiers (judges) at work at once", low=1),
    Setting("sandbox.backend", "text", "auto", "What isolates programs that a model wrote; none is UNSAFE",
            choices=("auto", "bubblewrap", "docker", "podman", "none")),
    Setting("sandbox.concurrency", "integer", None, "Programs at work at once (not set: the number of cores)", low=1),
    Setting("sandbox.image", "text", None, "Image of the backends docker and podman (not set: python:3.12-slim)"),
    Setting("sandbox.memory", "integer", 2048, "Mebibytes that one program may use", True, low=64),
    Setting("compare.unpaired", "flag", None, "Compare runs of different tasks, as two samples; less can be told so"),
    Setting("data.cache", "text", None, "Folder for downloaded and prepared data (not set: the user's cache folder)"),
    Setting("outcomes.context_length", "text", "missing", "How a prompt beyond the model's context counts", True, _OUTCOME),
    Setting("outcomes.content_filter", "text", "missing", "How an answer withheld by the API's content filter counts", True, _OUTCOME),
    Setting("wrong_answers", "text", None,
            "What a wrong answer is to pytest (not set: xfail in the demo)", choices=("fail", "xfail")),
)  # fmt: skip

# What may be set for one benchmark alone, as `<benchmark>.<name>`; sampling's own lines come from the table above.
BENCHMARK_SETTINGS: tuple[Setting, ...] = (
    Setting("num_repeats", "integer", 1, "Independent attempts at each task", True, low=1),
    Setting("harness", "text", "single_turn", "How the model is talked to", True),
    Setting("prompt_config.system", "text", None, "The template of the system message; null: there is none", True),
    Setting("prompt_config.user", "text", None, "The template of the user's message", True),
    Setting("prompt_config.field", "text", None, "The row's field that holds messages as they are", True),
    Setting("prompt_config.tools", "text", None, "The row's field that holds the tools", True),
    Setting("metric.headline", "text", "pass@1", "The number that stands for the benchmark", True),
    Setting("metric.direction", "text", "higher", "Which is better", True, ("higher", "lower")),
    Setting("metric.range", "range", (0.0, 1.0), "The least and the greatest reward, as [0, 1]", True),
    Setting("metric.pass_threshold", "number", 1.0, "The reward from which a case passes, where the verifier does not say", True),
    Setting("subset", "text", None, "The row's field that scores are reported apart by; null: there is none"),
    Setting("cluster", "text", None, "The row's field that says which tasks were drawn together; null: none were"),
    Setting("verifier.*", "any", None, "An option of its verifier, as the verifier's signature declares it", True),
)
_CONFIGS = tuple(setting.name for setting in BENCHMARK_SETTINGS if not setting.name.endswith(FREE))

_TABLE = {setting.name: setting for setting in SETTINGS}
_FREE = {name[: -len(FREE)] + ".": setting for name, setting in _TABLE.items() if name.endswith(FREE)}
SAMPLING_KEYS = tuple(dict.fromkeys(name.split(".")[1] for name in _TABLE if name.startswith("sampling.")))
_OF_BENCHMARK = re.compile(
    r"(?P<benchmark>.+?)\.(?P<rest>" + "|".join(map(re.escape, _CONFIGS)) + r"|(?:verifier|sampling)\..+)", re.DOTALL
)


@dataclass(frozen=True)
class Settings:
    """The values that were set, by name; whatever is absent has its default."""

    values: Mapping[str, Any] = field(default_factory=dict)

    def get(self, name: str) -> Any:
        """The value of a setting, or its default. Raises ConfigError for a name that is not in the table."""
        return self.values[name] if name in self.values else _find(name, "settings").default

    def for_benchmark(self, benchmark: Benchmark) -> Benchmark:
        """The benchmark with these settings applied: config < `sampling.…` < `<benchmark>.…`. A None removes what the config says."""
        shared = {name: value for name, value in self.values.items() if name.startswith("sampling.") and _is_shared(name)}
        own = {match["rest"]: self.values[match.string] for match in self._of_benchmarks() if match["benchmark"] == benchmark.name}
        if not shared and not own:
            return benchmark
        sampling, options, datasets = json.loads(json.dumps(benchmark.sampling)), dict(benchmark.verifier_options), benchmark.datasets
        for name, value in (*shared.items(), *own.items()):
            if name.startswith("sampling."):
                _assign(sampling, name.split(".")[1:], value)
            elif name.startswith("verifier."):
                options[name.removeprefix("verifier.")] = value
            elif name == "num_repeats":
                datasets = tuple(replace(spec, num_repeats=value) for spec in datasets)
            elif name in ("harness", "subset", "cluster"):
                benchmark = replace(benchmark, **{name: value})
            else:
                benchmark = _changed(benchmark, name, value)
        metric = benchmark.metric
        if any(name.startswith("metric.") for name in own) and not metric.low <= metric.pass_threshold <= metric.high:
            said = f"{metric.pass_threshold:g} is outside the metric's range [{metric.low:g}, {metric.high:g}]"
            raise ConfigError(f"setting {benchmark.name}.metric.pass_threshold: {said}")
        if benchmark.prompt.user is None and benchmark.prompt.field is None and not benchmark.prompt.messages:
            for name in own:
                if name.startswith("prompt_config."):
                    left = "leaves nothing to ask: a prompt needs 'user', 'messages' or 'field'"
                    raise ConfigError(f"setting {benchmark.name}.{name}: {left}")
        return replace(benchmark, sampling=sampling, verifier_options=options, datasets=datasets)

    def sampling_set(self, benchmark: str) -> tuple[str, ...]:
        """The keys of a benchmark's sampling that were set, for it or for all."""
        own = f"{benchmark}.sampling."
        names = [name.removeprefix(own) if name.startswith(own) else name.removeprefix("sampling.") for name in self.values
                 if name.startswith((own, "sampling."))]  # fmt: skip
        return tuple(dict.fromkeys(name.split(".")[0] for name in names))

    @staticmethod
    def moves_scores(name: str) -> bool:
        """Whether the setting `name` can move a score, so that it is part of the protocol."""
        return _find(name, "settings").protocol

    def moving(self) -> list[str]:
        """What was set that can move a score, as `name=value`, long values cut."""
        said = [f"{name}={json.dumps(value)}" for name, value in self.values.items() if self.moves_scores(name)]
        return [text if len(text) <= 80 else text[:77] + "..." for text in said]

    def place(self, benchmark: Benchmark) -> str:
        """How an error about a benchmark's verifier options begins: its config's line, and the settings that change them."""
        changed = sorted(name for name in self.values if name.startswith(f"{benchmark.name}.verifier."))
        return f"{benchmark.path}:{benchmark.line}" + (f" with {', '.join(changed)} set" if changed else "")

    def check_benchmarks(self, names: Iterable[str]) -> None:
        """Raise ConfigError where a setting is for a benchmark that is not among `names`."""
        known = list(names)
        for match in self._of_benchmarks():
            if match["benchmark"] not in known:
                hint = did_you_mean(match["benchmark"], known, otherwise=f" (it has: {', '.join(known) or 'none'})")
                raise ConfigError(f"setting {match.string}: the run has no benchmark {match['benchmark']!r}{hint}")

    def _of_benchmarks(self) -> list[re.Match[str]]:
        matches = [_OF_BENCHMARK.fullmatch(name) for name in self.values if not _is_shared(name)]
        return [match for match in matches if match]

    def to_json(self) -> dict[str, Any]:
        """The values that were set, by name."""
        return dict(self.values)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Settings:
        """The settings that `to_json` wrote."""
        return cls(dict(data))


def _changed(benchmark: Benchmark, name: str, value: Any) -> Benchmark:
    """The benchmark with one key of its prompt or its metric set. Raises ConfigError naming the setting where the value does not go."""
    where, (part, key) = f"setting {benchmark.name}.{name}", name.split(".")
    if part == "metric":
        ends = {"low": float(value[0]), "high": float(value[1])} if key == "range" else {key: value}
        return replace(benchmark, metric=replace(benchmark.metric, **ends))
    prompt = replace(benchmark.prompt, source=where, **{key: value})
    return replace(benchmark, prompt=replace(prompt, source=benchmark.prompt.source))


def parse_assignments(lines: Sequence[str], where: str) -> Settings:
    """Settings from `NAME=VALUE` texts, a later one over an earlier.

    A VALUE that is JSON is read as JSON, everything else is a text; `null` unsets. Raises ConfigError, whose sentence begins with `where`
    (the option or file that the lines are from), for an unknown name or a value that does not fit.
    """
    values: dict[str, Any] = {}
    for line in lines:
        name, equals, text = line.partition("=")
        name, text = name.strip(), text.strip()
        if not equals or not name:
            raise ConfigError(f"{where}: {line!r} is not NAME=VALUE; for example sampling.temperature=0.7")
        setting = _find(name, where)
        value = _value(text)
        # A number or a word of JSON is meant as text where a text is wanted: data.cache=2024.
        if setting.type in ("text", "texts") and not isinstance(value, str | list | None):
            value = text
        values.pop(name, None)
        values[name] = replace(setting, name=name).check(value, where)
    return Settings(values)


def check_sampling(sampling: Mapping[str, Any], where: Callable[[str], str]) -> dict[str, Any]:
    """The `sampling:` of a config, checked against the table; null values are left out.

    `where` gives the place (file and line) of a key, which begins the sentence of the ConfigError.
    """
    checked: dict[str, Any] = {}
    for key, value in sampling.items():
        if key not in SAMPLING_KEYS:
            hint = did_you_mean(key, SAMPLING_KEYS, otherwise=f" (it has: {', '.join(SAMPLING_KEYS)});")
            raise ConfigError(f"{where(key)}: sampling has no key {key!r}{hint} other keys of the request go below extra_body")
        if value is None:
            continue
        if key == "extra_body":
            if not isinstance(value, dict):
                raise ConfigError(f"{where(key)}: sampling.extra_body must be a mapping, not {value!r}")
            checked[key] = value
        else:
            checked[key] = _TABLE[f"sampling.{key}"].check(value, where(key))
    return checked


def markdown() -> str:
    """The table of docs/settings.md."""
    rows = ["| setting | value | default | moves scores | what it is |", "|---|---|---|---|---|"]
    per_benchmark = [replace(setting, name=f"<benchmark>.{setting.name}") for setting in BENCHMARK_SETTINGS]
    sampling = [replace(s, name=f"<benchmark>.{s.name}") for s in SETTINGS if s.name.startswith("sampling.")]
    for setting in (*SETTINGS, *sampling, *per_benchmark):
        default = (
            "not set" if setting.default is None else f"`{setting.default:g}`" if _is_number(setting.default) else f"`{setting.default}`"
        )
        default = "the config's" if setting.name.removeprefix("<benchmark>.") in _CONFIGS else default
        rows.append(f"| `{setting.name}` | {setting.describe()} | {default} | {'yes' if setting.protocol else 'no'} | {setting.help} |")
    return "\n".join(rows) + "\n"


def _is_shared(name: str) -> bool:
    return name in _TABLE or any(name.startswith(prefix) and len(name) > len(prefix) for prefix in _FREE)


def _find(name: str, where: str) -> Setting:
    if name in _TABLE and not name.endswith(FREE):
        return _TABLE[name]
    for prefix, setting in _FREE.items():
        if name.startswith(prefix) and len(name) > len(prefix):
            return setting
    if match := _OF_BENCHMARK.fullmatch(name):
        rest = match["rest"]
        if rest.startswith("verifier."):
            return BENCHMARK_SETTINGS[-1]
        return BENCHMARK_SETTINGS[_CONFIGS.index(rest)] if rest in _CONFIGS else _find(rest, where)
    hint = did_you_mean(name, _TABLE, otherwise="; docs/settings.md lists them all")
    raise ConfigError(f"{where}: there is no setting {name!r}{hint}")


def _value(text: str) -> Any:
    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return text


def _assign(target: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for key in path[:-1]:
        below = target.get(key)
        if not isinstance(below, dict):
            below = target[key] = {}
        target = below
    if value is None:
        target.pop(path[-1], None)
    else:
        target[path[-1]] = value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
