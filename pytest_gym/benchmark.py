"""A benchmark: what one block of a config file says, checked key by key.

`Benchmark` and its parts are plain records with a complete JSON form, which is how workers get them; they read no YAML.
Not here: which keys there are (schema), files, includes and inheritance (config), finding benchmarks (catalogue), and a verifier's own
options (verify).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pytest_gym.errors import ConfigError, did_you_mean
from pytest_gym.prompt import Prompt, Turn
from pytest_gym.schema import (
    AGGREGATE_KEYS,
    BLOCK_KEYS,
    CHECK_KEYS,
    DATASET_KEYS,
    METRIC_KEYS,
    PART_KEYS,
    PROMPT_KEYS,
    PUBLISHED_KEYS,
    SOURCE_KEYS,
    TURN_KEYS,
    check_keys,
    plain,
    read,
)
from pytest_gym.schema import DOMAINS as DOMAINS
from pytest_gym.schema import REQUIRES as REQUIRES
from pytest_gym.settings import check_sampling
from pytest_gym.tables import formats, is_table

if TYPE_CHECKING:
    from pytest_gym.config import Block, ConfigFiles

NAME = re.compile(r"(?!\.{1,2}(/|$))[A-Za-z0-9_.-]+(/(?!\.{1,2}(/|$))[A-Za-z0-9_.-]+)*")
EXAMPLE = "data/example.jsonl"

_MARKER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_MARKER_WORDS = ("and", "or", "not", "True", "False", "None")
_HF = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+@[^/@]+/.+")
_URL = re.compile(r"https?://[^\s/]+/\S*")


@dataclass(frozen=True)
class Source:
    """One raw file as upstream publishes it. `name` is its file name; `url`, or `hf` as `owner/repo@revision/path`, says where it is.

    Where that is a zip or tar archive, `member` is the file in it. `local` is its path under GYM_SOURCES (None: `<benchmark>/<file name>`),
    `sha256` of the raw bytes (the archive's) in lower-case hex where it is pinned.
    """

    name: str
    url: str | None = None
    hf: str | None = None
    local: str | None = None
    sha256: str | None = None
    member: str | None = None

    @property
    def file_name(self) -> str:
        """The name of the file that upstream publishes: the archive's where there is a member."""
        if self.member is None:
            return self.name
        where = self.hf or urlsplit(self.url or "").path or self.local or self.name
        return unquote(where).rstrip("/").rpartition("/")[2] or self.name


@dataclass(frozen=True)
class DatasetSpec:
    """One split of a benchmark: `type` is `benchmark`, `example` or another split's name.

    `path` is the JSONL beside the config or, where it is prepared, in the data cache; `sha256` and `num_rows` are of that file.
    `prepare_script` is the path of the script that turns `sources` into rows, or makes rows from nothing; `prepare_options` are
    passed to its function by name.
    """

    name: str
    type: str
    sources: tuple[Source, ...]
    prepare_script: str | None
    path: str
    sha256: str | None = None
    num_rows: int | None = None
    num_repeats: int = 1
    prepare_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """The number that stands for the benchmark: its name, which direction is better, its range, and the reward from which a case passes.

    `aggregate` are means over subsets by name: of which metric, over which subsets, and their weights (docs/benchmarks.md).
    """

    headline: str = "pass@1"
    direction: str = "higher"
    low: float = 0.0
    high: float = 1.0
    pass_threshold: float = 1.0
    aggregate: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The metric as the manifest says it; an end that the range lacks is null."""
        ends = [end if math.isfinite(end) else None for end in (self.low, self.high)]
        said = {"headline": self.headline, "direction": self.direction, "range": ends, "pass_threshold": self.pass_threshold}
        return said | ({"aggregate": {name: dict(mean) for name, mean in self.aggregate.items()}} if self.aggregate else {})


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: frozen dataset + prompt + harness + verifier + sampling + repeats.

    `subset` and `cluster` name row fields. `gates` are lines as in `--gym-gate`, without the benchmark. `path` and `line` are the block in
    its config file, `root` the gym root it belongs to.
    `verifier_options` are as the config says them: their names and types are checked when the verifier is loaded.
    `aliases` are other names that it is found by, `published` scores to reproduce (docs/benchmarks.md). `context_length` is the tokens that
    prompt and answer may have together, `check` why a check of `--gym-check` may fail, by its name.
    `nemo` is what a config in NeMo Gym's form says beyond that (agent, resources server, judge, licence, …); empty for others.
    """

    name: str
    description: str
    domain: str
    tags: tuple[str, ...]
    requires: tuple[str, ...]
    version: int
    prompt: Prompt
    harness: str
    verifier: str
    verifier_options: Mapping[str, Any]
    metric: Metric
    sampling: Mapping[str, Any]
    datasets: tuple[DatasetSpec, ...]
    subset: str | None
    cluster: str | None
    path: Path
    line: int
    root: Path
    gates: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    published: tuple[Mapping[str, Any], ...] = ()
    context_length: int | None = None
    check: Mapping[str, str] = field(default_factory=dict)
    nemo: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The benchmark's folder: where its config file is."""
        return self.path.parent

    @property
    def markers(self) -> tuple[str, ...]:
        """The pytest markers of its cases: domain, tags and requirements, each once."""
        return tuple(dict.fromkeys((self.domain, *self.tags, *self.requires)))

    def dataset(self, split: str | None = None) -> DatasetSpec:
        """The dataset of a split: None is the benchmark itself, `example` the declared one or `data/example.jsonl` beside the config.

        Raises ConfigError listing the splits there are.
        """
        for spec in self.datasets:
            if spec.type == (split or "benchmark"):
                return spec
        example = (self.folder / EXAMPLE).is_file()
        if split == "example" and example:
            return DatasetSpec("example", "example", (), None, EXAMPLE, num_repeats=self.dataset().num_repeats)
        splits = [spec.type for spec in self.datasets] + ["example"] * example
        hint = f"; write {EXAMPLE} beside the config" if split == "example" else did_you_mean(split or "", splits)
        raise ConfigError(f"{self.path}:{self.line}: {self.name} has no split {split!r} (it has: {', '.join(splits)}){hint}")

    def to_json(self) -> dict[str, Any]:
        """The whole benchmark as a JSON object."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            **data,
            "tags": list(self.tags),
            "requires": list(self.requires),
            "gates": list(self.gates),
            "aliases": list(self.aliases),
            "published": [dict(score) for score in self.published],
            "prompt": self.prompt.to_json(),
            "verifier_options": dict(self.verifier_options),
            "metric": asdict(self.metric),
            "sampling": dict(self.sampling),
            "check": dict(self.check),
            "nemo": dict(self.nemo),
            "datasets": [{**asdict(spec), "sources": [asdict(source) for source in spec.sources]} for spec in self.datasets],
            "path": str(self.path),
            "root": str(self.root),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Benchmark:
        """The benchmark that `to_json` wrote."""
        specs = (DatasetSpec(**{**spec, "sources": tuple(Source(**source) for source in spec["sources"])}) for spec in data["datasets"])
        changed = {
            "tags": tuple(data["tags"]),
            "gates": tuple(data["gates"]),
            "aliases": tuple(data["aliases"]),
            "published": tuple(data["published"]),
            "requires": tuple(data["requires"]),
            "prompt": Prompt.from_json(data["prompt"]),
            "metric": Metric(**data["metric"]),
            "datasets": tuple(specs),
            "path": Path(data["path"]),
            "root": Path(data["root"]),
        }
        return cls(**{**data, **changed})


def read_benchmark(files: ConfigFiles, path: Path, name: str, root: Path) -> Benchmark | None:
    """The benchmark that the block `name` of the config `path` declares; None for a shared block, which has no datasets.

    Raises ConfigError with file and line for whatever is wrong with it.
    """
    block = files.resolved(path, name)
    if block.get("datasets") is None:
        # A misspelt 'datasets' would otherwise make a benchmark vanish without a word.
        check_keys(block, BLOCK_KEYS, f"block {name!r}")
        return None
    place = files.parse(path).where(name)
    if not NAME.fullmatch(name):
        raise ConfigError(f"{place}: {name!r} is no benchmark name; use letters, digits, '_', '.', '-', and '/' between parts")
    values = read(block, BLOCK_KEYS, f"benchmark {name!r}")
    for tag in values["tags"]:
        if not _MARKER.fullmatch(tag) or tag in _MARKER_WORDS:
            raise ConfigError(f"{block.where('tags')}: the tag {tag!r} becomes a pytest marker; use letters, digits, '_', '.' and '-'")
    verifier = {key: value for key, value in plain(values["verifier"]).items() if value is not None}
    if not isinstance(verifier.get("name"), str):
        raise ConfigError(f"{block.where('verifier')}: verifier must have a name, as verifier: {{name: exact_match}}")
    for key, named in (("verifier", verifier["name"]), ("harness", values["harness"])):
        if not NAME.fullmatch(named):
            raise ConfigError(f"{block.where(key)}: {named!r} is no {key} name")
    return Benchmark(
        name=name,
        description=" ".join(values["description"].split()),
        domain=values["domain"],
        tags=tuple(dict.fromkeys(values["tags"])),
        requires=tuple(dict.fromkeys(values["requires"])),
        version=values["version"],
        prompt=_prompt(block, files, values["prompt_config"], needed=values["harness"] == "single_turn"),
        harness=values["harness"],
        verifier=verifier.pop("name"),
        verifier_options=verifier,
        metric=replace(_metric(values["metric"]), aggregate=_aggregate(values["aggregate"], subset=values["subset"])),
        sampling=_sampling(values["sampling"]),
        datasets=_datasets(block, files, name),
        subset=values["subset"],
        cluster=values["cluster"],
        gates=tuple(values["gates"]),
        aliases=tuple(values["aliases"]),
        published=tuple(_published(item) for item in values["published"]),
        context_length=values["context_length"],
        check=_check(values["check"]),
        path=path,
        line=place.line,
        root=root,
    )


def _sampling(block: Block | None) -> dict[str, Any]:
    return {} if block is None else plain(check_sampling(block, lambda key: str(block.where(key))))


def _published(block: Block) -> dict[str, Any]:
    values = read(block, PUBLISHED_KEYS, "a published score")
    return values | {"sampling": _sampling(values["sampling"])}


def _datasets(block: Block, files: ConfigFiles, name: str) -> tuple[DatasetSpec, ...]:
    specs: list[DatasetSpec] = []
    for item in block["datasets"]:
        what = f"dataset of {name!r}"
        values = read(item, DATASET_KEYS, what)
        sources: Block | None = values.pop("sources")
        options: Block | None = values.pop("prepare_options")
        values["prepare_options"] = {} if options is None else plain(options)
        built = tuple(_source(sources, source) for source in sources) if sources else ()
        spec = DatasetSpec(**{**values, "name": values["name"] or name, "sources": built})
        if spec.prepare_script is not None:
            script = files.find(spec.prepare_script, item.where("prepare_script"), "prepare_script")
            spec = replace(spec, prepare_script=str(script))
        if sources and spec.prepare_script is None and not (len(built) == 1 and is_table(built[0].name)):
            known = f"only one file of rows ({formats()}, also .gz) can do without"
            raise ConfigError(f"{item.where('sources')}: {what} has sources but no prepare_script; {known}")
        if options is not None and spec.prepare_script is None:
            raise ConfigError(f"{item.where('prepare_options')}: {what} has prepare_options but no prepare_script to take them")
        if sources or spec.prepare_script is not None:
            _inside(spec.path, item.where("path"), "path")
        if any(spec.type == other.type for other in specs):
            raise ConfigError(f"{item.where('type')}: {what}: there is a second one of type {spec.type!r}; a variant is a block of its own")
        specs.append(spec)
    if not any(spec.type == "benchmark" for spec in specs):
        raise ConfigError(f"{block.where('datasets')}: {name!r} has no dataset of type 'benchmark'")
    return tuple(specs)


def _source(sources: Block, name: str) -> Source:
    place = sources.where(name)
    _inside(name, place, "the name of a source")
    said = sources[name]
    if said is None:
        return Source(name)
    if not hasattr(said, "where"):
        raise ConfigError(f"{place}: source {name!r} must be a mapping with url, hf, local or sha256, not {said!r}")
    source = Source(name, **read(said, SOURCE_KEYS, f"source {name!r}"))
    if source.url is not None and source.hf is not None:
        raise ConfigError(f"{said.where('hf')}: source {name!r} has both url and hf; one of them is where it is")
    if source.url is not None and not _URL.fullmatch(source.url):
        raise ConfigError(f"{said.where('url')}: source {name!r}: {source.url!r} is no http or https address")
    if source.hf is not None and not _HF.fullmatch(source.hf):
        raise ConfigError(f"{said.where('hf')}: source {name!r}: hf must be owner/repo@revision/path, not {source.hf!r}")
    for key in ("local", "member"):
        if getattr(source, key) is not None:
            _inside(getattr(source, key), said.where(key), key)
    return source


def _inside(path: str, place: object, what: str) -> None:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\\" in path or ".." in parts:
        raise ConfigError(f"{place}: {what} must be a relative path without '..', not {path!r}")


def _prompt(block: Block, files: ConfigFiles, said: Any, *, needed: bool) -> Prompt:
    place = block.where("prompt_config")
    if said is None:
        if needed:
            raise ConfigError(f"{place}: prompt_config is missing; name a file, or write it here as {{user: '{{question}}'}}")
        return Prompt(None, None, str(place))
    source = str(place)
    if isinstance(said, str):
        file = files.find(said, place, "prompt_config", also=("benchmarks",))
        said, source = files.parse(file), str(file)
    values = read(said, PROMPT_KEYS, "a prompt")
    if values["user"] is None and values["field"] is None and not values["messages"] and needed:
        raise ConfigError(f"{said.place}: a prompt needs the key 'user', 'messages' or 'field'")
    turns = tuple(_turn(item) for item in values["messages"])
    return Prompt(values["system"], values["user"], source, turns, values["field"], values["tools"], str(block.place.path.parent))


def _turn(item: Block) -> Turn:
    values = read(item, TURN_KEYS, "a message of a prompt")
    if isinstance(values["content"], str):
        return Turn(values["role"], values["content"])
    parts = []
    for part in values["content"]:
        said = {name: value for name, value in read(part, PART_KEYS, "a part of a message").items() if value is not None}
        wanted = ("text",) if said["type"] == "text" else ("url", "path")
        if len(said) != 2 or not set(said) & set(wanted):
            raise ConfigError(f"{part.place}: a part of type {said['type']!r} has {' or '.join(map(repr, wanted))}, and nothing else")
        parts.append(said)
    return Turn(values["role"], tuple(parts))


def _check(block: Block | None) -> dict[str, str]:
    return {} if block is None else {name: reason for name, reason in read(block, CHECK_KEYS, "check").items() if reason is not None}


def _metric(block: Block | None) -> Metric:
    if block is None:
        return Metric()
    values = read(block, METRIC_KEYS, "metric")
    low, high = values.pop("range")
    if not low <= values["pass_threshold"] <= high:
        said = f"pass_threshold {values['pass_threshold']:g} is outside the metric's range [{low:g}, {high:g}]"
        raise ConfigError(f"{block.where('pass_threshold')}: {said}")
    values["pass_threshold"] = float(values["pass_threshold"])
    return Metric(low=float(low), high=float(high), **values)


def _aggregate(block: Block | None, *, subset: str | None) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name in block or ():
        assert block is not None
        place = block.where(name)
        if subset is None:
            raise ConfigError(f"{place}: aggregate {name!r} is a mean over subsets, and the benchmark names none (subset: FIELD)")
        if not re.fullmatch(r"[A-Za-z_][\w.-]*", name):
            raise ConfigError(f"{place}: {name!r} is no name of a metric; use letters, digits, '_', '.' and '-'")
        said = block[name]
        if said is not None and not hasattr(said, "where"):
            raise ConfigError(f"{place}: aggregate {name!r} must be a mapping with of, only and weights, not {said!r}")
        values: dict[str, Any] = (
            {"of": "pass@1", "only": (), "weights": None} if said is None else read(said, AGGREGATE_KEYS, f"aggregate {name!r}")
        )
        weights = plain(values["weights"])
        if isinstance(weights, str) and weights != "tasks":
            raise ConfigError(f"{place}: weights of aggregate {name!r} must be 'tasks' or a mapping of names to numbers, not {weights!r}")
        for part, weight in weights.items() if isinstance(weights, dict) else ():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
                raise ConfigError(f"{place}: the weight of {part!r} in aggregate {name!r} must be a number of at least 0, not {weight!r}")
        found[name] = {"of": values["of"], "only": list(values["only"]), "weights": weights}
    for name, mean in found.items():
        if mean["of"] in found:
            assert block is not None
            raise ConfigError(f"{block.where(name)}: aggregate {name!r} is of {mean['of']!r}, which is an aggregate itself")
    return found
