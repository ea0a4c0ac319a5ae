"""Config files: what they may say, how they include and inherit, and the sentence for each way to get one wrong."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_gym.benchmark import Benchmark, DatasetSpec, Metric, Source, read_benchmark
from pytest_gym.config import ConfigFiles, parse
from pytest_gym.errors import ConfigError
from pytest_gym.schema import BLOCK_KEYS, plain

from .samples import make_benchmark, write

SHA = "0123456789abcdef" * 4
MINIMAL = """
mine:
  prompt_config: {user: "{question}"}
  verifier: exact_match
  datasets:
    - path: rows.jsonl
"""
FULL = f"""
config_paths: [verifiers/math.yaml]
gsm8k:
  _inherit_from: math
  description: |
    Grade-school maths
    word problems
  domain: math
  tags: [arithmetic, school]
  requires: [long_context]
  version: 2
  prompt_config: prompts/boxed.yaml
  harness: single_turn
  verifier: {{name: math, field: answer}}
  metric: {{headline: mean_reward, direction: lower, range: [0, 2], pass_threshold: 1.5}}
  sampling: {{temperature: 0, max_tokens: 2048, stop: ["Q:"], extra_body: {{top_k: 1}}}}
  subset: level
  cluster: topic
  datasets:
    - name: gsm8k
      type: benchmark
      sources:
        test.jsonl: {{url: "https://example.org/test.jsonl", sha256: "{SHA}"}}
        more.parquet: {{hf: "owner/repo@main/data/more.parquet", local: gsm8k/more.parquet}}
      prepare_script: prepare.py
      path: gsm8k.jsonl
      sha256: "{SHA}"
      num_rows: 1319
      num_repeats: 4
    - {{name: tiny, type: example, path: tiny.jsonl}}
"""


def load(root, name="mine", config=None, path="benchmarks/mine/config.yaml"):
    if config is not None:
        write(root, {path: config})
    return read_benchmark(ConfigFiles([root]), root / path, name, root)


def sentence(root, config, name="mine"):
    with pytest.raises(ConfigError) as caught:
        load(root, name, config)
    text = str(caught.value)
    assert "\n" not in text
    return text.replace(str(root / "benchmarks/mine/config.yaml"), "config")


@pytest.fixture
def full(tmp_path):
    write(
        tmp_path,
        {
            "benchmarks/gsm8k/config.yaml": FULL,
            "benchmarks/gsm8k/prepare.py": "",
            "benchmarks/prompts/boxed.yaml": "system: Be terse.\nuser: '{question}'\n",
            "verifiers/math.yaml": "math:\n  verifier: {name: math, tolerance: 1e-4}\n  tags: [replaced]\n  sampling: {seed: 3}\n",
        },
    )
    return load(tmp_path, "gsm8k", path="benchmarks/gsm8k/config.yaml")


def test_every_key(full, tmp_path):
    folder = tmp_path / "benchmarks/gsm8k"
    assert full.description == "Grade-school maths word problems"
    assert (full.name, full.domain, full.tags, full.requires, full.version) == (
        "gsm8k", "math", ("arithmetic", "school"), ("long_context",), 2,
    )  # fmt: skip
    assert full.markers == ("math", "arithmetic", "school", "long_context")
    assert (full.prompt.system, full.prompt.user) == ("Be terse.", "{question}")
    assert full.prompt.source == str(tmp_path / "benchmarks/prompts/boxed.yaml")
    assert (full.harness, full.verifier) == ("single_turn", "math")
    assert full.verifier_options == {"tolerance": 1e-4, "field": "answer"}, "mappings merge"
    assert full.metric == Metric("mean_reward", "lower", 0.0, 2.0, 1.5)
    assert full.sampling == {"temperature": 0.0, "max_tokens": 2048, "stop": ["Q:"], "extra_body": {"top_k": 1}, "seed": 3}
    assert (full.subset, full.cluster) == ("level", "topic")
    assert full.dataset() == DatasetSpec(
        "gsm8k",
        "benchmark",
        (
            Source("test.jsonl", url="https://example.org/test.jsonl", sha256=SHA),
            Source("more.parquet", hf="owner/repo@main/data/more.parquet", local="gsm8k/more.parquet"),
        ),
        str(folder / "prepare.py"),
        "gsm8k.jsonl",
        SHA,
        1319,
        4,
    )
    assert full.dataset("example").path == "tiny.jsonl"
    assert (full.path, full.folder, full.root) == (folder / "config.yaml", folder, tmp_path)
    assert full.path.read_text().splitlines()[full.line - 1] == "gsm8k:"


def test_json_holds_everything(full):
    data = json.loads(json.dumps(full.to_json()))
    assert Benchmark.from_json(data) == full
    assert set(data) == set(Benchmark.__dataclass_fields__)
    minimal = make_benchmark()
    assert Benchmark.from_json(json.loads(json.dumps(minimal.to_json()))) == minimal


def test_what_may_be_left_out(tmp_path):
    benchmark = load(tmp_path, config=MINIMAL)
    assert (benchmark.description, benchmark.domain, benchmark.tags, benchmark.harness) == ("", "other", (), "single_turn")
    assert (benchmark.verifier, benchmark.verifier_options, benchmark.metric, benchmark.sampling) == ("exact_match", {}, Metric(), {})
    assert benchmark.dataset() == DatasetSpec("mine", "benchmark", (), None, "rows.jsonl")
    assert (benchmark.prompt.user, benchmark.prompt.source) == ("{question}", f"{benchmark.path}:2")


def test_null_is_absent(tmp_path):
    config = MINIMAL.replace("datasets", "description:\n  sampling: ~\n  metric: null\n  datasets")
    assert load(tmp_path, config=config) == load(tmp_path, config=config.replace("null", "{}"))
    assert "lacks the key 'verifier'" in sentence(tmp_path, MINIMAL.replace("exact_match", "null"))


def test_other_harnesses_need_no_prompt(tmp_path):
    benchmark = load(tmp_path, config="mine:\n  harness: chat\n  verifier: x\n  datasets: [{path: rows.jsonl}]\n")
    assert benchmark.prompt.fields == frozenset()


def test_splits(tmp_path):
    benchmark = load(tmp_path, config=MINIMAL)
    with pytest.raises(ConfigError, match=r"config.yaml:1: mine has no split 'example' \(it has: benchmark\); write data/example.jsonl"):
        benchmark.dataset("example")
    write(tmp_path, {"benchmarks/mine/data/example.jsonl": "{}\n"})
    assert benchmark.dataset("example").path == "data/example.jsonl"
    with pytest.raises(ConfigError, match=r"no split 'exampel' \(it has: benchmark, example\); did you mean 'example'"):
        benchmark.dataset("exampel")


def test_a_block_without_datasets_is_shared(tmp_path):
    write(tmp_path, {"c.yaml": "base: {verifier: exact_match}\n" + MINIMAL})
    assert load(tmp_path, "base", path="c.yaml") is None
    assert load(tmp_path, "mine", path="c.yaml").verifier == "exact_match"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("verifier: exact_match", "verifer: exact_match", "config:3: benchmark 'mine' has no key 'verifer'; did you mean 'verifier'"),
        ("verifier: exact_match", "zzz: 1", "config:3: benchmark 'mine' has no key 'zzz' (it has: "),
        ("  verifier: exact_match\n", "", "config:2: benchmark 'mine' lacks the key 'verifier'"),
        ("verifier: exact_match", "verifier: [a]", "config:3: verifier must be a mapping, not ['a']"),
        ("verifier: exact_match", "verifier: {field: a}", "config:3: verifier must have a name"),
        ("verifier: exact_match", "verifier: ../x", "config:3: '../x' is no verifier name"),
        ("verifier: exact_match", "verifier: x\n  version: one", "config:4: version must be a whole number of at least 1, not 'one'"),
        ("verifier: exact_match", "verifier: x\n  version: true", "config:4: version must be a whole number of at least 1, not True"),
        ("verifier: exact_match", "verifier: x\n  domain: maths", "config:4: domain has no value 'maths'; did you mean 'math'?"),
        ("verifier: exact_match", "verifier: x\n  requires: [sandbx]", "config:4: requires has no value 'sandbx'; did you mean 'sandbox'?"),
        ("verifier: exact_match", "verifier: x\n  tags: arithmetic", "config:4: tags must be a list of texts, not 'arithmetic'"),
        ("verifier: exact_match", "verifier: x\n  tags: [a b]", "config:4: the tag 'a b' becomes a pytest marker"),
        ("verifier: exact_match", "verifier: x\n  tags: [not]", "config:4: the tag 'not' becomes a pytest marker"),
        ("verifier: exact_match", "verifier: x\n  description: 12", "config:4: description must be a text, not 12; put it in quotes"),
        (
            "verifier: exact_match",
            "verifier: x\n  sampling:\n    temprature: 0",
            "config:5: sampling has no key 'temprature'; did you mean",
        ),
        ("verifier: exact_match", "verifier: x\n  sampling:\n    top_p: 2", "config:5: sampling.top_p must be a number above 0"),
        ("verifier: exact_match", "verifier: x\n  metric: {range: [1, 0]}", "config:4: range must be two numbers, the lower first"),
        ("verifier: exact_match", "verifier: x\n  metric: {direction: up}", "config:4: direction has no value 'up' (known: higher, lower)"),
        ("verifier: exact_match", "verifier: x\n  metric: {pass_threshold: 2}", "config:4: pass_threshold 2 is outside the metric's range"),
        ("verifier: exact_match", "verifier: x\n  verifier: y", "config:4: key 'verifier' stands here a second time (first at line 3)"),
        ('{user: "{question}"}', "{usr: x}", "config:2: a prompt has no key 'usr'; did you mean 'user'?"),
        ('{user: "{question}"}', "{system: x}", "config:2: a prompt needs the key 'user'"),
        ('{user: "{question}"}', '{user: "{a.b}"}', "config:2: prompt 'user', line 1: '{a.b}' is not a field name"),
        ('{user: "{question}"}', "nowhere.yaml", "config:2: prompt_config names 'nowhere.yaml', which is not a file"),
        ('{user: "{question}"}', "confg.yaml", "which is not a file; did you mean 'config.yaml'?"),
        ('  prompt_config: {user: "{question}"}\n', "", "config:2: prompt_config is missing"),
        ("- path: rows.jsonl", "- pth: rows.jsonl", "config:5: dataset of 'mine' has no key 'pth'; did you mean 'path'?"),
        ("- path: rows.jsonl", "- {type: benchmark}", "config:5: dataset of 'mine' lacks the key 'path'"),
        ("- path: rows.jsonl", "- {path: r, type: train}", "config:4: 'mine' has no dataset of type 'benchmark'"),
        ("- path: rows.jsonl", "- {path: r}\n    - path: s", "config:6: dataset of 'mine': there is a second one of type 'benchmark'"),
        ("- path: rows.jsonl", "- rows.jsonl", "config:4: datasets must be a list of mappings, not ['rows.jsonl']"),
        ("- path: rows.jsonl", "- {path: r, num_repeats: 0}", "config:5: num_repeats must be a whole number of at least 1, not 0"),
        (
            "- path: rows.jsonl",
            "- {path: r, sha256: 12ab}",
            "config:5: sha256 must be 64 lower-case hexadecimal digits in quotes, not '12ab'",
        ),
        ("- path: rows.jsonl", "- {path: r, prepare_script: p.py}", "config:5: prepare_script names 'p.py', which is not a file"),
        ("- path: rows.jsonl", "- {path: r, sources: {a.xml: {url: 'https://a/b'}}}", "has sources but no prepare_script"),
        ("- path: rows.jsonl", "- {path: ../r, sources: {a.jsonl: {}}}", "config:5: path must be a relative path without '..', not '../r'"),
        ("- path: rows.jsonl", "- {path: r, sources: {../a.jsonl: {}}}", "the name of a source must be a relative path"),
        ("- path: rows.jsonl", "- {path: r, sources: {a.jsonl: {local: /etc/x}}}", "config:5: local must be a relative path"),
        ("- path: rows.jsonl", "- {path: r, sources: {a.jsonl: {url: 'file:///x'}}}", "'file:///x' is no http or https address"),
        (
            "- path: rows.jsonl",
            "- {path: r, sources: {a.jsonl: {hf: owner/repo/x}}}",
            "hf must be owner/repo@revision/path, not 'owner/repo/x'",
        ),
        ("- path: rows.jsonl", "- {path: r, sources: {a.jsonl: {hf: o/r@1/x, url: 'https://a/b'}}}", "has both url and hf"),
        ("- path: rows.jsonl", "- {path: r, sources: {a.jsonl: 'https://a/b'}}", "source 'a.jsonl' must be a mapping with url"),
        ("  datasets:", "  _inherit_from: bas\n  datasets:", "config:4: mine -> bas: there is no block 'bas'"),
        ("  datasets:", "  _inherit_from: [a]\n  datasets:", "config:4: _inherit_from must be the name of one block, not a list"),
        ("mine:", "config_paths: [no.yaml]\nmine:", "config:1: config_paths names 'no.yaml', which is not a file"),
        ("mine:", "config_paths: no.yaml\nmine:", "config:1: config_paths must be a list of file names, not 'no.yaml'"),
        ("mine:", "config_paths: [config.yaml]\nmine:", "config:1: config_paths goes round in a circle: config -> config"),
        ("mine:", "other: 1\nmine:\n  _inherit_from: other", "config:1: 'other' must be a block (a mapping of keys), not 1"),
    ],
)
def test_wrong_configs(tmp_path, old, new, said):
    assert old in MINIMAL
    assert said in sentence(tmp_path, MINIMAL.replace(old, new))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1, 2", ":1: is not valid YAML"),
        ("a: 1\n\tb: 2", ":2: is not valid YAML"),
        ("- a\n- b", ":1: must be a mapping of keys, not a list"),
        ("just words", ":1: must be a mapping of keys, not 'just words'"),
        ("a: 1\n---\nb: 2", ":2: holds a second document"),
        ("a: *x", ":1: the alias '*x' stands before its anchor, or within it"),
        ("a: &x [*x]", ":1: the alias '*x' stands before its anchor, or within it"),
        ("a: !!python/object:os.system x", ""),
        ("a: !secret x", ":1: the tag '!secret' is not supported"),
        ("a: 1\n? [b]\n: 2", ":2: a key must be plain text"),
        ("a: " + "[" * 100, ":1: is nested more than 40 deep"),
        ("a: " + "[" * 5000, ":1: is n"),  # newer parsers have a limit of their own, and a sentence for it
        ("<<: 3", ":1: '<<' merges mappings, not 3"),
        ("a: 1\nb: \x00", ":2: is not valid YAML"),
    ],
)
def test_broken_yaml(tmp_path, text, said):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    if not said:
        assert plain(parse(path)) == {"a": "x"}, "a tag of another language is no command"
        return
    with pytest.raises(ConfigError) as caught:
        parse(path)
    assert str(caught.value).startswith(f"{path}{said}")
    assert "\n" not in str(caught.value)


def test_unreadable_files(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        parse(tmp_path / "none.yaml")
    (tmp_path / "c.yaml").write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError, match=r"c\.yaml:2: is not UTF-8 text \(byte 0xff\)"):
        parse(tmp_path / "c.yaml")


def test_aliases_cannot_grow_without_bound(tmp_path):
    lines = ["a0: &a0 [" + ", ".join("x" * 9) + "]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 9) + "]" for n in range(1, 9)]
    (tmp_path / "c.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="expands to more than 200,000 values"):
        parse(tmp_path / "c.yaml")


def test_scalars_follow_the_core_schema(tmp_path):
    (tmp_path / "c.yaml").write_text(
        "a: [no, yes, on, True, ~, null, '', '1', 0x1f, 0o17, 010, 1e-4, -2.5, .5, 1., 12:30, 2024-01-01, 1_000, .inf, =]\n"
        "b: &b {x: 1, y: 2}\nc: {<<: *b, y: 3}\n"
    )
    assert plain(parse(tmp_path / "c.yaml")) == {
        "a": [
            "no", "yes", "on", True, None, None, "", "1", 31, 15, 10, 1e-4, -2.5, 0.5, 1.0,
            "12:30", "2024-01-01", "1_000", float("inf"), "=",
        ],
        "b": {"x": 1, "y": 2},
        "c": {"x": 1, "y": 3},
    }  # fmt: skip


def test_includes_later_files_win_and_this_file_wins(tmp_path):
    write(
        tmp_path,
        {
            "shared/one.yaml": "base: {verifier: {name: a, x: 1, y: 1, z: 1}, tags: [one]}\n",
            "shared/two.yaml": "config_paths: [one.yaml]\nbase: {verifier: {y: 2, z: 2}}\n",
            "benchmarks/mine/three.yaml": "base: {verifier: {z: 3}, tags: [three, more]}\n",
        },
    )
    config = "config_paths: [shared/two.yaml, three.yaml]" + MINIMAL.replace("verifier: exact_match", "_inherit_from: base")
    benchmark = load(tmp_path, config=config)
    assert benchmark.verifier_options == {"x": 1, "y": 2, "z": 3}
    assert benchmark.tags == ("three", "more"), "lists are replaced"
    config = config.replace("_inherit_from: base", "_inherit_from: base\n  verifier: {x: 9}")
    assert load(tmp_path, config=config).verifier_options == {"x": 9, "y": 2, "z": 3}


def test_another_verifier_does_not_inherit_the_options(tmp_path):
    base = "base: {verifier: {name: math, tolerance: 1}}"
    for said, wanted in (
        ("verifier: exact_match", ("exact_match", {})),
        ("verifier: {name: exact_match, field: a}", ("exact_match", {"field": "a"})),
        ("verifier: math", ("math", {"tolerance": 1})),
        ("verifier: {tolerance: null}", ("math", {})),
    ):
        benchmark = load(tmp_path, config=base + MINIMAL.replace("verifier: exact_match", "_inherit_from: base\n  " + said))
        assert (benchmark.verifier, benchmark.verifier_options) == wanted


def test_inheritance_over_several_depths_and_its_errors(tmp_path):
    chain = "a: {_inherit_from: b}\nb: {_inherit_from: c, tags: [b]}\nc: {verifier: x, tags: [c]}"
    mine = MINIMAL.replace("verifier: exact_match", "_inherit_from: a")
    assert load(tmp_path, config=chain + mine).tags == ("b",)
    assert "mine -> a -> b -> a" in sentence(tmp_path, chain.replace("_inherit_from: c", "_inherit_from: a") + mine)
    assert "mine -> a -> b -> d: there is no block 'd'" in sentence(tmp_path, chain.replace("_inherit_from: c", "_inherit_from: d") + mine)


def test_an_included_block_of_the_same_name_is_extended(tmp_path):
    write(tmp_path, {"verifiers/mine.yaml": "mine: {verifier: {name: x, a: 1}}\n"})
    config = "config_paths: [verifiers/mine.yaml]" + MINIMAL.replace("verifier: exact_match", "_inherit_from: mine\n  verifier: {b: 2}")
    assert load(tmp_path, config=config).verifier_options == {"a": 1, "b": 2}
    assert load(tmp_path, config=config.replace("_inherit_from: mine\n  ", "")).verifier_options == {"a": 1, "b": 2}


def test_circular_includes_are_told_with_the_whole_path(tmp_path):
    write(tmp_path, {"a.yaml": "config_paths: [b.yaml]\n", "b.yaml": "config_paths: [a.yaml]\n"})
    config = "config_paths: [a.yaml]" + MINIMAL
    text = sentence(tmp_path, config).replace(f"{tmp_path}/", "")
    assert "config -> a.yaml -> b.yaml -> a.yaml" in text.replace("benchmarks/mine/../../", "")


def test_an_error_in_an_included_file_points_there(tmp_path):
    write(tmp_path, {"shared.yaml": "\n\nbase:\n  sampling:\n    top_p: 7\n  verifier: {name: x}\n"})
    config = "config_paths: [shared.yaml]" + MINIMAL.replace("verifier: exact_match", "_inherit_from: base")
    assert sentence(tmp_path, config).startswith(f"{tmp_path}/shared.yaml:3: sampling.top_p must be")


def test_names(tmp_path):
    write(tmp_path, {"c.yaml": MINIMAL.replace("mine:", "gsm8k/cot_8shot:") + MINIMAL.replace("mine:", "a//b:")})
    assert load(tmp_path, "gsm8k/cot_8shot", path="c.yaml").name == "gsm8k/cot_8shot"
    with pytest.raises(ConfigError, match=r"c\.yaml:7: 'a//b' is no benchmark name"):
        load(tmp_path, "a//b", path="c.yaml")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.sampled_from(sorted(BLOCK_KEYS)), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from(sorted(BLOCK_KEYS)), VALUES)
@settings(max_examples=100, deadline=None)
@example("verifier", {"name": "x", "verifier": None})
def test_any_value_of_any_key_is_a_benchmark_or_one_sentence(tmp_path_factory, key, value):
    root = tmp_path_factory.getbasetemp() / "any-value"
    block = {"prompt_config": {"user": "x"}, "verifier": "x", "datasets": [{"path": "rows.jsonl"}], key: value}
    # JSON is YAML but for NaN and Infinity, which are words there, and no harm.
    check(root, json.dumps({"mine": block}))


@given(st.integers(0, len(FULL) - 1), st.integers(0, 3), st.text(max_size=4))
@settings(max_examples=120, deadline=None)
def test_any_mutation_of_a_config_is_a_benchmark_or_one_sentence(tmp_path_factory, start, length, text):
    root = tmp_path_factory.getbasetemp() / "mutated"
    write(root, {"verifiers/math.yaml": "math: {verifier: {name: math}}\n", "benchmarks/mine/prepare.py": ""})
    check(root, FULL[:start] + text + FULL[start + length :])


def check(root: Path, text: str) -> None:
    path = root / "benchmarks/mine/config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    files = ConfigFiles([root])
    try:
        for name in files.own(path):
            benchmark = read_benchmark(files, path, name, root)
            if benchmark is not None:
                assert Benchmark.from_json(benchmark.to_json()) == benchmark
    except ConfigError as error:
        assert str(error).splitlines() == [str(error)]
