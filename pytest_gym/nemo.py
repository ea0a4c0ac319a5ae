"""NeMo Gym's benchmark configs as they are: its server blocks become a `Benchmark`, its resources server names our verifier.

A checkout is a gym root. A benchmark has the name that NeMo Gym gives it: `gsm8k` for `benchmarks/gsm8k/config.yaml`, else the path below
`benchmarks` without `.yaml`; a server's own config is `resources_servers/<server>[/<flavour>]`. Formats: docs/nemo-gym.md.
Not here: how the YAML resolves (nemo_config), and judging.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_gym.benchmark import EXAMPLE, Benchmark, DatasetSpec, Metric
from pytest_gym.config import INHERIT, Block, ConfigFiles, Place
from pytest_gym.errors import ConfigError
from pytest_gym.nemo_config import COPY, UNSET, NemoConfig
from pytest_gym.prompt import Prompt
from pytest_gym.schema import DOMAINS

AGENTS, SERVERS, MODELS = "responses_api_agents", "resources_servers", "responses_api_models"
BAKED = "responses_create_params"

# Servers whose rule one of our verifiers has under another name; any other server's verifier would have the server's own name.
VERIFIERS: Mapping[str, str] = {"math_with_judge": "math", "polymath": "math"}
# Agents that ask once where no tools are run: single steps are judged by the calls that the model asks for. Any other agent's harness would
# have the agent's own name.
HARNESSES = {"simple_agent": "single_turn", "non_executing_simple_agent": "single_turn", "tool_simulation_agent": "single_turn"}

_SAMPLING = {"temperature": "temperature", "top_p": "top_p", "max_output_tokens": "max_tokens"}


def is_checkout(root: Path) -> bool:
    """Whether a gym root is laid out as NeMo Gym's repository."""
    return (root / SERVERS).is_dir() and not (root / "verifiers").is_dir()


def is_nemo(content: Block) -> bool:
    """Whether a config file is written in NeMo Gym's form: a block of it describes a server."""
    return any(isinstance(block, Block) and any(key in block for key in (AGENTS, SERVERS, MODELS)) for block in content.values())


def config_files(root: Path) -> Iterator[Path]:
    """The benchmark configs of a checkout, in order: the YAML files below `benchmarks/` that say `type: benchmark` anywhere."""
    for folder, folders, names in os.walk(root / "benchmarks"):
        folders[:] = sorted(name for name in folders if name not in ("data", "__pycache__") and not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix in (".yaml", ".yml") and b"type: benchmark" in path.read_bytes():
                yield path


def name_of(path: Path, root: Path) -> str:
    """NeMo Gym's name of a config file."""
    below = path.relative_to(root).with_suffix("").parts
    if below[0] == SERVERS and len(below) >= 4 and below[2] == "configs":
        flavour = below[3:] if below[3:] != (below[1],) else ()
        return "/".join((SERVERS, below[1], *flavour))
    parts = below[1:] if below[0] == "benchmarks" else below
    return parts[0] if len(parts) == 2 and parts[1] == "config" else "/".join(parts)


def usual(root: Path, name: str) -> list[Path]:
    """Where the config with this name is in a checkout."""
    parts = name.split("/")
    if parts[0] == SERVERS and len(parts) in (2, 3):
        return [root / SERVERS / parts[1] / "configs" / f"{parts[-1]}.yaml"]
    return [root / "benchmarks" / f"{name}.yaml", root / "benchmarks" / name / "config.yaml"]


def read_nemo(files: ConfigFiles, path: Path, root: Path) -> Benchmark | None:
    """The benchmark of a config file in NeMo Gym's form; None where it has no agent with a dataset.

    Raises ConfigError with file and line for what cannot be read, and for a suite, whose benchmarks have configs of their own.
    """
    config = NemoConfig(files, path, root)
    agents = _agents(config)
    if not agents:
        return None
    name = name_of(path, root)
    if len(agents) > 1:
        members = ", ".join(agents)
        raise ConfigError(f"{path}:1: is a suite of {len(agents)} benchmarks ({members}); run those by the names of their own configs")
    (instance, (kind, agent, place)) = next(iter(agents.items()))
    server, server_instance, fields = _server(config, kind, agent, place)
    datasets = _datasets(config, agent, server)
    main = next(one for one in datasets if one["type"] == "benchmark")
    judge = _judge(config, fields)
    said = {
        "agent": kind,
        "agent_instance": instance,
        "resources_server": server,
        "server_instance": server_instance,
        "judge": judge,
        "domain": fields.get("domain") or agent.get("domain"),
        "licence": main.get("license"),
        "dataset": str(main.get("name") or name),
        "jsonl_fpath": main["jsonl_fpath"],
        "prompt_config": main.get("prompt_config"),
        "prepare_script": main.get("prepare_script"),
        "server_options": {key: value for key, value in fields.items() if isinstance(value, bool | int | float | str)},
    }
    return Benchmark(
        name=name,
        description=" ".join(str(fields.get("description") or agent.get("description") or f"NeMo Gym's {name}").split()),
        domain=said["domain"] if said["domain"] in DOMAINS else "other",
        tags=("nemo",),
        requires=("judge",) if judge else (),
        version=1,
        prompt=_prompt(config, files, main, place),
        harness=HARNESSES.get(kind, kind),
        verifier=VERIFIERS.get(server, server) if not fields.get("should_use_judge") else server,
        verifier_options={},
        metric=Metric(headline="mean_reward"),
        sampling=_sampling(config),
        datasets=tuple(_spec(path, root, one) for one in datasets),
        subset=None,
        cluster=None,
        path=path,
        line=config.tree.where(instance).line,
        root=root,
        nemo=said,
    )


def with_rows_prompt(benchmark: Benchmark, spec: DatasetSpec) -> Benchmark:
    """The benchmark with the prompt that the rows of a split want: example rows bring their messages also where there is a template.

    Told from the first row: NeMo Gym allows no mixture. A file that is not there, or no JSON, is told of when it is opened.
    """
    try:
        with (benchmark.folder / spec.path).open("rb") as file:
            row = json.loads(file.readline())
    except (OSError, ValueError):
        return benchmark
    params = row.get(BAKED) if isinstance(row, dict) else None
    if benchmark.prompt.field is not None or not isinstance(params, dict) or not params.get("input"):
        return benchmark
    return replace(benchmark, prompt=Prompt(None, None, benchmark.prompt.source, field=BAKED))


def _agents(config: NemoConfig) -> dict[str, tuple[str, Block, Place]]:
    """The agent instances with a benchmark's dataset: kind, fields and place by name; of a server's own config any dataset will do."""
    found: dict[str, tuple[str, Block, Place]] = {}
    replaced: set[str] = set()
    own = name_of(config.path, config.root).startswith(SERVERS)
    for name in config.tree:
        said = config.tree[name]
        if not isinstance(said, Block) or not any(key in said for key in (AGENTS, INHERIT, COPY)):
            continue
        block, bases = config.resolved(name)
        replaced |= bases
        agents = block.get(AGENTS)
        for kind, fields in agents.items() if isinstance(agents, Block) else ():
            datasets = fields.get("datasets") if isinstance(fields, Block) else None
            if isinstance(datasets, list) and any(_is_main(one, own) for one in datasets):
                found[name] = (kind, fields, config.tree.where(name))
    return {name: agent for name, agent in found.items() if name not in replaced}


def _is_main(dataset: Any, own: bool) -> bool:
    return isinstance(dataset, Block) and (own or dataset.get("type") == "benchmark")


def _server(config: NemoConfig, kind: str, agent: Block, place: Place) -> tuple[str, str | None, Block]:
    """The resources server that an agent is judged by: implementation, instance, fields.

    An agent that names none is judged by the only one of the file itself, or else by itself.
    """
    reference = agent.get("resources_server")
    if isinstance(reference, Block):
        instance = config.text(reference.get("name"))
        if instance not in config.tree:
            where = reference.where("name")
            raise ConfigError(f"{where}: resources_server names {instance!r}, which is no block of this file or its config_paths")
    else:
        own = [name for name in config.own if SERVERS in config.resolved(name)[0]]
        if len(own) != 1:
            return kind, None, agent
        instance = own[0]
    servers = config.resolved(instance)[0].get(SERVERS)
    if not isinstance(servers, Block) or len(servers) != 1:
        raise ConfigError(f"{config.tree.where(instance)}: {instance!r} must have exactly one resources server")
    name, fields = next(iter(servers.items()))
    return name, instance, fields if isinstance(fields, Block) else Block(place)


def _judge(config: NemoConfig, fields: Block) -> str | None:
    """The judge's model as the config names it; None where the server judges by rule."""
    if fields.get("should_use_judge") is False:
        return None
    references = [value for key, value in fields.items() if "judge" in key and isinstance(value, Block) and "name" in value]
    if not references:
        return None
    instance = config.text(references[0]["name"])
    models = config.resolved(instance)[0].get(MODELS) if isinstance(config.tree.get(instance), Block) else None
    for model in (models or {}).values():
        for key in ("model", "openai_model"):
            if isinstance(model, Block) and isinstance(said := config.text(model.get(key)), str) and said != UNSET and "${" not in said:
                return said
    return str(instance)


def _datasets(config: NemoConfig, agent: Block, server: str) -> list[dict[str, Any]]:
    """The agent's datasets by type, the main one as `benchmark`, and the example rows that the checkout has."""
    found: dict[str, dict[str, Any]] = {}
    for item in agent["datasets"]:
        if not isinstance(item, Block):
            continue
        one = {key: config.text(value) for key, value in item.items()}
        if not isinstance(one.get("jsonl_fpath"), str):
            raise ConfigError(f"{item.place}: the dataset {one.get('name')!r} lacks jsonl_fpath, the path of its rows")
        repeats = one.get("num_repeats")
        one["num_repeats"] = int(str(repeats)) if str(repeats).isdecimal() else 1
        found.setdefault(str(one.get("type")), one)
    if "benchmark" not in found:
        found["benchmark"] = {**(found.get("validation") or found.get("example") or next(iter(found.values())))}
    folders = (config.path.parent, config.root / SERVERS / server)
    example = next((folder / EXAMPLE for folder in folders if (folder / EXAMPLE).is_file()), None)
    declared = found.get("example")
    if example is not None and (declared is None or not (config.root / declared["jsonl_fpath"]).is_file()):
        path = example.relative_to(config.root).as_posix()
        found["example"] = {"name": "example", "jsonl_fpath": path, "num_repeats": found["benchmark"]["num_repeats"]}
    return [{**one, "type": kind} for kind, one in found.items()]


def _spec(path: Path, root: Path, dataset: Mapping[str, Any]) -> DatasetSpec:
    return DatasetSpec(
        name=str(dataset.get("name") or dataset["type"]),
        type=dataset["type"],
        sources=(),
        prepare_script=None,
        path=os.path.relpath(root / dataset["jsonl_fpath"], path.parent),
        num_repeats=dataset["num_repeats"],
    )


def _prompt(config: NemoConfig, files: ConfigFiles, dataset: Mapping[str, Any], place: Place) -> Prompt:
    name = dataset.get("prompt_config")
    if name is None:
        return Prompt(None, None, str(place), field=BAKED)
    file = config.find(str(name), place, "prompt_config")
    said = files.parse(file)
    for key in ("system", "user"):
        if not isinstance(said.get(key), str | None) or (key == "user" and said.get(key) is None):
            raise ConfigError(f"{said.where(key)}: a prompt of NeMo Gym has a text 'user', and perhaps a text 'system'")
    return Prompt(said.get("system"), said["user"], str(file))


def _sampling(config: NemoConfig) -> dict[str, Any]:
    said = config.tree.get(BAKED)
    if not isinstance(said, Block):
        return {}
    return {ours: said[theirs] for theirs, ours in _SAMPLING.items() if isinstance(said.get(theirs), int | float)}
