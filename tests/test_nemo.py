"""NeMo Gym's configs: how they resolve, what becomes of them, and a checkout of the real ones against the inventory of its benchmarks."""

import json
import re
import textwrap

import pytest
import yaml

from pytest_gym.catalogue import Catalogue, builtin_root
from pytest_gym.config import ConfigFiles
from pytest_gym.discovery import show_command
from pytest_gym.errors import GymError
from pytest_gym.model.chat import Chat
from pytest_gym.nemo import name_of
from pytest_gym.nemo_config import NemoConfig
from pytest_gym.nemo_rollouts import NemoRollouts
from pytest_gym.prepare import prepare
from pytest_gym.records import Message, Part
from pytest_gym.request import request_of
from pytest_gym.resolve import select

from .conftest import sources
from .samples import write

SERVER = """
adder:
  resources_servers:
    adder:
      domain: e2e
      description: Adding  numbers
      field: total
      judge_model_server: {type: responses_api_models, name: grader}
grader:
  responses_api_models:
    openai_model: {openai_model: "${oc.env:GRADER,small-judge}"}
adder_simple_agent:
  responses_api_agents:
    simple_agent:
      resources_server: {type: resources_servers, name: adder}
      model_server: {type: responses_api_models, name: policy_model}
      datasets:
      - {name: dev, type: validation, jsonl_fpath: nowhere.jsonl, license: MIT}
      - {name: few, type: example, jsonl_fpath: resources_servers/adder/data/example.jsonl}
"""
SUMS = """
config_paths: [resources_servers/adder/configs/adder.yaml]
sums_server:
  _inherit_from: adder
  resources_servers: {adder: {domain: math}}
sums_agent:
  _inherit_from: adder_simple_agent
  responses_api_agents:
    simple_agent:
      resources_server: {name: sums_server}
      datasets:
      - name: sums
        type: benchmark
        jsonl_fpath: benchmarks/sums/data/sums.jsonl
        prompt_config: benchmarks/prompts/plain.yaml
        prepare_script: benchmarks/sums/prepare.py
        num_repeats: ${oc.select:repeats,4}
        license: CC0
responses_create_params: {max_output_tokens: 77}
"""
CHECKOUT = {
    "resources_servers/adder/configs/adder.yaml": SERVER,
    "resources_servers/adder/data/example.jsonl": '{"question": "1+1", "total": "2", "uuid": "a-1"}\n',
    "benchmarks/sums/config.yaml": SUMS,
    "benchmarks/sums/hard.yaml": SUMS.replace("num_repeats: ${oc.select:repeats,4}", "num_repeats: 2").replace("license", "x"),
    "benchmarks/prompts/plain.yaml": "user: 'What is {question}?'\n",
    "benchmarks/sums/judge.yaml": "grader: {responses_api_models: {}}\n",
}


@pytest.fixture
def checkout(tmp_path):
    write(tmp_path, CHECKOUT)
    return tmp_path


def sentence(root, name="sums"):
    with pytest.raises(GymError) as caught:
        Catalogue([root]).benchmark(name)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{root}/", "")


def test_a_benchmark_of_a_checkout(checkout, monkeypatch):
    monkeypatch.setenv("GRADER", "big-judge")
    catalogue = Catalogue([checkout])
    assert [(one.name, one.dataset().num_repeats) for one in catalogue.all()] == [("sums", 4), ("sums/hard", 2)]
    assert catalogue.broken() == []
    sums = catalogue.benchmark("sums")
    assert (sums.description, sums.domain, sums.harness, sums.verifier, sums.requires) == (
        "Adding numbers", "math", "single_turn", "adder", ("judge",),
    )  # fmt: skip
    assert (sums.prompt.user, sums.sampling, sums.metric.headline) == ("What is {question}?", {"max_tokens": 77}, "mean_reward")
    assert sums.nemo == {
        "agent": "simple_agent", "agent_instance": "sums_agent", "resources_server": "adder", "server_instance": "sums_server",
        "judge": "big-judge", "domain": "math", "licence": "CC0", "dataset": "sums", "jsonl_fpath": "benchmarks/sums/data/sums.jsonl",
        "prompt_config": "benchmarks/prompts/plain.yaml", "prepare_script": "benchmarks/sums/prepare.py",
        "server_options": {"domain": "math", "description": "Adding  numbers", "field": "total"},
    }  # fmt: skip
    example = sums.dataset("example")
    assert (sums.folder / example.path).resolve() == checkout / "resources_servers/adder/data/example.jsonl"
    assert type(sums).from_json(json.loads(json.dumps(sums.to_json()))) == sums


def test_names_paths_and_a_servers_own_config(checkout):
    catalogue = Catalogue([checkout])
    assert catalogue.benchmark("benchmarks/sums/hard.yaml").name == "sums/hard"
    own = catalogue.benchmark("resources_servers/adder")
    assert (own.name, own.domain, own.nemo["domain"], own.dataset().path) == (
        "resources_servers/adder", "other", "e2e", "../../../nowhere.jsonl",
    )  # fmt: skip
    assert name_of(checkout / "resources_servers/adder/configs/other.yaml", checkout) == "resources_servers/adder/other"
    assert catalogue.match("sums/*") == ["sums/hard"]
    assert "there is no benchmark 'sum'; did you mean 'sums'" in sentence(checkout, "sum")
    assert "there is no benchmark 'benchmarks/nowhere.yaml'" in sentence(checkout, "benchmarks/nowhere.yaml")


def test_the_server_names_our_verifier_and_its_options(checkout):
    catalogue = Catalogue([checkout, builtin_root()])
    with pytest.raises(GymError, match=r"config.yaml:6: sums is judged by NeMo Gym's 'adder', for which there is no verifier here; one "):
        select(catalogue, catalogue.benchmark("sums"), split="example", demo=False, where=f"{checkout}/benchmarks/sums/config.yaml:6")
    config = checkout / "resources_servers/adder/configs/adder.yaml"
    config.write_text(SERVER.replace("    adder:\n", "    exact_match:\n"))
    (checkout / "benchmarks/sums/config.yaml").write_text(SUMS.replace("{adder:", "{exact_match:"))
    write(checkout, {"resources_servers/exact_match/data/example.jsonl": "{}"})
    catalogue = Catalogue([checkout, builtin_root()])
    selected = select(catalogue, catalogue.benchmark("sums"), split="example", demo=False, where="x")
    assert (selected.verifier.name, selected.options["field"]) == ("exact_match", "total")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("_inherit_from: adder_simple_agent", "_inherit_from: ader_simple_agent",
         "benchmarks/sums/config.yaml:6: _inherit_from names 'ader_simple_agent', and there is no such block in this file or its "
         "config_paths; did you mean 'adder_simple_agent' or 'sums_agent'?"),
        ("_inherit_from: adder\n", "_inherit_from: sums_server\n", "config.yaml:3: _inherit_from goes round in a circle: sums_server -> "),
        ("_inherit_from: adder\n", "_delete_key: domain\n", "config.yaml:3: _delete_key names 'domain', which is not there"),
        ("name: sums_server", "name: sum_server", "resources_server names 'sum_server', which is no block of this file"),
        ("jsonl_fpath: benchmarks", "jsonl_path: benchmarks", "config.yaml:11: the dataset 'sums' lacks jsonl_fpath"),
        ("plain.yaml", "plan.yaml", "config.yaml:5: prompt_config names 'benchmarks/prompts/plan.yaml', which is not a file; did "),
        ("configs/adder.yaml", "configs/addr.yaml", "config.yaml:1: config_paths names 'resources_servers/adder/configs/addr.yaml', "),
        ("config_paths: [", "config_paths: [3, ", "config.yaml:1: config_paths must be a list of file names"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_one(checkout, old, new, said):
    assert old in SUMS
    write(checkout, {"benchmarks/sums/config.yaml": SUMS.replace(old, new)})
    assert said in sentence(checkout)


def test_a_suite_is_told_and_hides_nothing(checkout):
    suite = "# type: benchmark\nconfig_paths: [benchmarks/sums/config.yaml, benchmarks/other.yaml]\n"
    write(checkout, {"benchmarks/both.yaml": suite, "benchmarks/other.yaml": SUMS.replace("sums_", "other_")})
    catalogue = Catalogue([checkout])
    assert catalogue.names() == ["other", "sums", "sums/hard"]
    (error,) = catalogue.broken()
    assert "both.yaml:1: is a suite of 2 benchmarks (sums_agent, other_agent)" in str(error)


def resolve(tmp_path, text, name="b", **files):
    write(tmp_path, {"main.yaml": textwrap.dedent(text), **{f"{stem}.yaml": textwrap.dedent(body) for stem, body in files.items()}})
    return NemoConfig(ConfigFiles([tmp_path]), tmp_path / "main.yaml", tmp_path)


def test_directives(tmp_path):
    config = resolve(
        tmp_path,
        """
        a: {x: {k: 1, list: [1, 2], name: old}, y: 2, z: 3}
        b: {_inherit_from: a, _delete_key: "y, w", x: {name: new, list: [3]}, w: 4}
        c: {deep: {_copy: a.x, k: 5}}
        d: {_copy: policy_model, k: 1}
        """,
    )
    b, replaced = config.resolved("b")
    assert (b, replaced) == ({"x": {"k": 1, "list": [3], "name": "new"}, "z": 3}, {"a"})
    assert config.resolved("c") == ({"deep": {"k": 5, "list": [1, 2], "name": "old"}}, set())
    assert config.resolved("d")[0] == {"k": 1}, "the policy model is given at run time"
    assert config.resolved("a")[0]["x"]["name"] == "old", "the base itself stays as it was"


def test_files_are_laid_over_those_that_they_include_each_once(tmp_path):
    config = resolve(
        tmp_path,
        "config_paths: [one.yaml, two.yaml]\nk: {c: main}\n",
        one="config_paths: [base.yaml]\nk: {a: one, b: one}\n",
        two="config_paths: [base.yaml, main.yaml]\nk: {b: two}\n",
        base="k: {a: base, b: base, c: base, d: base}\n",
    )
    assert config.tree["k"] == {"a": "one", "b": "two", "c": "main", "d": "base"}


def test_interpolations(tmp_path, monkeypatch):
    monkeypatch.setenv("GYM_TEST_PORT", "6000")
    config = resolve(tmp_path, "port: 3\nname: {of: x}\nmore: '${name.of}-${port}'\n")
    said = {
        "${port}": 3,
        "at ${name.of}:${port}": "at x:3",
        "${more}": "x-3",
        "${oc.env:GYM_TEST_PORT,1}": "6000",
        "${oc.env:GYM_TEST_NONE,null}": None,
        "${oc.select:nothing,${port}}": "3",
        "${oc.env:GYM_TEST_NONE}": "${oc.env:GYM_TEST_NONE}",
        "${policy_model_name}": "${policy_model_name}",
        "???": "???",
        7: 7,
    }
    assert {value: config.text(value) for value in said} == said


# How the inventory says that the messages stand in the rows, or are the agent's own affair.
_BAKED = re.compile(
    r"baked|rows? (carry|prompt|input)|materialised|prompt as user message|list of user turns|long instruction|scenario|"
    r"task (prompt|instr)|upstream snapshot|runner-specific|previous steps|question with images"
)


def differences(benchmark, entry):
    """What a config of the checkout and its entry in the inventory say differently: (what, ours, theirs)."""
    said, prompt = benchmark.nemo, entry["prompt"]
    yield "repeats", benchmark.dataset().num_repeats, entry["num_repeats"]
    yield "agent", said["agent"], entry["agent"].split()[0]
    yield "resources server", said["resources_server"], re.split(r"[: ]", entry["verifier"])[0]
    template = re.search(r"(generic|eval|judge|lean4)/[\w/-]+", prompt)
    if template:
        yield "prompt", said["prompt_config"], f"benchmarks/prompts/{template[0]}.yaml"
    known = {match[0] for field in entry["row_fields"] or [] if (match := re.match(r"[\w.]+", str(field)))}
    yield "rows bring messages", said["prompt_config"] is None, not template and bool(_BAKED.search(prompt))
    if said["prompt_config"]:
        yield "the dataset's fields that the prompt needs", benchmark.prompt.fields - known, frozenset()
        yield "fields named in the prompt", set(re.findall(r"\{(\w+)\}", prompt)) - benchmark.prompt.fields, set()
    if "no system prompt" in prompt:
        yield "system", benchmark.prompt.system, None


EXPLAINED = {
    ("longbench_v2", "the dataset's fields that the prompt needs"): "the inventory writes choice_A..D for the four fields",
    ("longbench_v2/config_n3_1m", "the dataset's fields that the prompt needs"): "the inventory writes choice_A..D for the four fields",
    ("mbpp", "prompt"): "a copy of the shared template beside the config",
    **{
        (name, "resources server"): "the agent judges by itself: it stands for its own server"
        for name in ("osworld", "pinchbench", "tau2/configs/tau2", "tau2/configs/banking_alltools", "tau2/configs/banking_terminal_use",
                     "tau2/configs/banking_bm25_grep_artificial_analysis")
    },
}  # fmt: skip


def test_the_real_checkout_against_the_inventory(pytester):
    root, inventory = sources() / "nemo_gym_checkout", sources().parent / "reference" / "catalogue.yaml"
    if not root.is_dir() or not inventory.is_file():
        pytest.skip("needs a checkout of NeMo Gym's configs below GYM_SOURCES and the inventory of its benchmarks beside it")
    result = pytester.runpytest_inprocess(f"--gym-path={root}", "--gym-list=nemo", "--gym-json")
    listed = {entry["name"]: entry for entry in json.loads("\n".join(result.outlines))}
    assert len(listed) == 112 and result.errlines == []
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    entries = yaml.load(inventory.read_text(), loader)
    entries = {entry["name"]: entry for entry in entries if entry["in_benchmarks_dir"] and not entry.get("suite")}
    assert listed.keys() == entries.keys()
    found = [
        (benchmark.name, what, ours, theirs)
        for benchmark in Catalogue([root]).all()
        for what, ours, theirs in differences(benchmark, entries[benchmark.name])
        if ours != theirs
    ]
    print("\n".join(f"{name:<40} {what:<28} {ours!s:<40} {theirs}" for name, what, ours, theirs in found))
    assert {(name, what) for name, what, *_ in found} - set(EXPLAINED) == set()


def test_every_benchmark_of_the_real_checkout_can_be_shown():
    root = sources() / "nemo_gym_checkout"
    if not root.is_dir():
        pytest.skip("needs a checkout of NeMo Gym's configs below GYM_SOURCES")
    catalogue = Catalogue([root, builtin_root()])
    told = {}
    for benchmark in catalogue.all():
        if not benchmark.nemo:
            continue
        shown = json.loads(show_command(catalogue, benchmark.name, lambda benchmark: False, as_json=True).out)
        assert shown["nemo"]["agent"] and shown["nemo"]["resources_server"] and shown["dataset"]["path"]
        try:
            select(catalogue, benchmark, split=None, demo=False, where="here")
        except GymError as error:
            told[benchmark.name] = str(error)
    assert "gsm8k" not in told and "mmlu" not in told
    missing = r"here: \S+ is judged by NeMo Gym's '\w+', for which there is no verifier here; one would be verifiers/\w+\.py of a gym root"
    assert all(
        re.fullmatch(missing, text) or "needs the package" in text or "no harness" in text or "unknown harness" in text
        for text in told.values()
    ), told


def test_rows_that_are_not_there_yet(checkout, tmp_path):
    benchmark = Catalogue([checkout]).benchmark("sums")
    with pytest.raises(GymError) as caught:
        prepare(benchmark, benchmark.dataset(), cache=tmp_path / "cache", sources=None, lock=None, progress=print)
    assert "the dataset 'benchmarks/sums/data/sums.jsonl' of sums is not there: NeMo Gym makes it with benchmarks/sums/prepare.py (" in str(
        caught.value
    )


# Servers without a benchmark of their own, by the config to take.
OWN_CONFIGS = {
    "calendar": "calendar",
    "indirect_prompt_injection": "indirect_prompt_injection",
    "single_step_tool_use_with_argument_comparison": "single_step_tool_use_with_argument_comparison",
    "structeval": "structeval/structeval_nonrenderable",
    "structured_outputs": "structured_outputs/structured_outputs_v3",
    "xlam_fc": "xlam_fc",
}


def test_one_benchmark_of_each_verifier_runs_on_its_examples(pytester):
    root = sources() / "nemo_gym_checkout"
    if not root.is_dir():
        pytest.skip("needs a checkout of NeMo Gym's configs below GYM_SOURCES")
    catalogue = Catalogue([root, builtin_root()])
    chosen: dict[str, str] = {}
    for name in (*(one.name for one in catalogue.all() if one.nemo), *(f"resources_servers/{name}" for name in OWN_CONFIGS.values())):
        benchmark = catalogue.benchmark(name)
        try:
            selected = select(catalogue, benchmark, split="example", demo=True, where="here")
        except GymError:
            continue
        chosen.setdefault(selected.verifier.name, name)
    for name in ("bird_sql", "code_fim", "evalplus", "spider2_lite"):
        chosen.pop(name, None)  # their databases and tests are part of no checkout
    assert {"math", "mcqa", "graphwalks", "mrcr", "ruler", "ruler2", "xlam_fc"} < set(chosen), "their packages are always there"
    words = (f"--gym-path={root}", f"--gym-benchmark={','.join(chosen.values())}", "--gym-demo", "--gym-split=example", "--gym-repeats=1")
    result = pytester.runpytest_inprocess(*words, "--gym-output=run", "-p", "no:cacheprovider")
    summary = json.loads((pytester.path / "run" / "summary.json").read_text())["benchmarks"]
    assert result.ret == 0, result.outlines[-30:]
    told = {name: (entry["cases"], entry["missing"]) for name, entry in summary.items()}
    assert all(cases >= 5 and missing == 0 for cases, missing in told.values()), told
    passed = {name: sum(json.loads(line)["passed"] for line in result_lines(pytester, name)) for name in told}
    print(passed)
    assert sum(count > 0 for count in passed.values()) >= len(passed) - 2, passed


def result_lines(pytester, name):
    return [line for line in (pytester.path / "run" / "rollouts.jsonl").read_text().splitlines() if json.loads(line)["benchmark"] == name]


def test_audio_of_the_side_channel():
    params = {"input": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "?"}]}
    params |= {"metadata": {"audio_url": "data:audio/wav;base64,UQ=="}}
    heard = (Part("text", text="Hi"), Part("audio", url="data:audio/wav;base64,UQ=="))
    assert request_of(params, "row").messages == (Message("user", heard), Message("assistant", "?"))
    (sent, _) = Chat().request("m", request_of(params, "row").messages, {}, None)["messages"]
    assert sent["content"][1] == {"type": "input_audio", "input_audio": {"data": "UQ==", "format": "wav"}}
    broken = {**params, "metadata": {"audio_url": "data:audio/wav;base64,!"}}
    with pytest.raises(ValueError, match="a part of type 'audio' has a data url that is no base64"):
        Chat().request("m", request_of(broken, "row").messages, {}, None)


def rollout(task, repeat, reward, **more):
    output = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": f"It is {task}"}]}]
    response = {"object": "response", "status": "completed", "model": "theirs", "output": output}
    response |= {"usage": {"input_tokens": 3, "output_tokens": 7}}
    row = {"_ng_task_index": task, "_ng_rollout_index": repeat, "reward": reward, "response": response, "agent_ref": {"name": "sums_agent"}}
    return json.dumps({**row, **more})


def test_rollouts_of_nemo_gym_are_profiled(pytester):
    rows = [(0, 0, 1.0), (0, 1, 0.0), (1, 0, 0.5), (1, 1, 1), (2, 1, 0.0)]
    (pytester.path / "r.jsonl").write_text("\n".join(rollout(*row) for row in rows) + "\n")
    result = pytester.runpytest_inprocess("--gym-profile=r.jsonl", "--gym-json")
    found = json.loads("\n".join(result.outlines))
    (name, entry), summary = *found["benchmarks"].items(), found["benchmarks"]["sums_agent"]["summary"]
    assert (result.ret, found["model"]["name"], name) == (0, "theirs", "sums_agent")
    assert (summary["cases"], summary["missing"]) == (6, 1)
    assert summary["metrics"]["mean_reward"]["value"] == pytest.approx((0.5 + 0.75 + 0) / 3)
    assert [task["task_id"] for task in entry["tasks"]] == ["0002", "0000", "0001"]
    assert entry["output_tokens"]["total"] == 35
    assert pytester.runpytest_inprocess("--gym-profile=r.jsonl").ret == 0


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "r.jsonl: has no rollouts"),
        (["{"], "r.jsonl:1: is no JSON"),
        (["[]"], "r.jsonl:1: is no JSON object"),
        (["{}"], "r.jsonl:1: _ng_task_index must be a whole number from 0, not None; is it a rollout of NeMo Gym?"),
        ([rollout(0, 0, None)], "r.jsonl:1: reward must be a number, not None"),
        ([rollout(0, 0, 1), rollout(0, 0, 1)], "r.jsonl:2: task 0000, repeat 0 stands here a second time (first on line 1)"),
        ([rollout(0, 10**9, 1)], "r.jsonl: repeat 1,000,000,000 is beyond its 1 rows"),
    ],
)
def test_broken_rollouts(tmp_path, lines, said):
    (tmp_path / "r.jsonl").write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(GymError) as caught:
        NemoRollouts(tmp_path / "r.jsonl", "r.jsonl")
    assert str(caught.value).startswith(said)
