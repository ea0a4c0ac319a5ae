"""Fingerprints: the same protocol gives the same ones everywhere, and each change that can move a score changes those of its part."""

import json
from pathlib import Path

import jsonschema
import pytest

from pytest_gym import completion, fingerprint
from pytest_gym.catalogue import Catalogue
from pytest_gym.config import ConfigFiles, parse
from pytest_gym.dataset import Dataset
from pytest_gym.errors import ConfigError
from pytest_gym.fingerprint import libraries, protocol
from pytest_gym.plan import Plan
from pytest_gym.resolve import resolve
from pytest_gym.schema import plain
from pytest_gym.settings import parse_assignments

from .samples import write

CONFIG = """
mine:
  description: sums
  prompt_config: {system: Add., user: "{question}"}
  verifier: {name: same, field: answer, slack: 1}
  sampling: {temperature: 0, max_tokens: 20}
  datasets: [{path: rows.jsonl, num_repeats: 2}]
"""
VERIFIER = '''
from pytest_gym import Rollout, Task, Verdict, verifier

@verifier
def same(task: Task, rollout: Rollout, *, field: str = "answer", slack: float = 0.0) -> Verdict:
    """Compare."""
    return Verdict(float(rollout.text == task[field]))
'''
ROWS = '{"id": "a", "question": "1+1", "answer": "2"}\n'
REPOSITORY = Path(__file__).parents[1]


def fingerprints(root, config=CONFIG, verifier=VERIFIER, rows=ROWS, *assigned):
    write(root, {"benchmarks/mine/config.yaml": config, "verifiers/same.py": verifier, "benchmarks/mine/rows.jsonl": rows})
    settings = parse_assignments(list(assigned), "here")
    (selected,) = resolve(Catalogue([root]), settings, ["mine"], split=None, demo=False)
    dataset = Dataset.open(root / "benchmarks/mine/rows.jsonl", selected.benchmark)
    planned = Plan().add(selected.benchmark, dataset, repeats=selected.spec.num_repeats, limit=None, index=root / "index")
    said = protocol(selected, planned, frozen=True, outcomes={})
    return said["fingerprint"], said["fingerprints"]


@pytest.mark.parametrize(
    ("what", "old", "new"),
    [
        ("config", "temperature: 0, max_tokens: 20", "max_tokens: 20, temperature: 0.0"),
        ("config", "name: same, field: answer, slack: 1", "slack: 1.0, name: same, field: answer"),
        ("config", "description: sums", "description: other words\n  tags: [new]"),
        ("config", "path: rows.jsonl", "name: other, path: rows.jsonl"),
        ("verifier", "@verifier\n", "# A remark.\n\n@verifier  # and one more\n"),
        ("verifier", "\n", "\r\n"),
    ],
)
def test_what_cannot_move_a_score_changes_nothing(tmp_path, what, old, new):
    texts = {"config": CONFIG, "verifier": VERIFIER}
    assert old in texts[what]
    assert fingerprints(tmp_path / "a") == fingerprints(tmp_path / "elsewhere/b", **{**texts, what: texts[what].replace(old, new)})


@pytest.mark.parametrize(
    ("part", "what", "old", "new"),
    [
        ("prompt", "config", "Add.", "Add!"),
        ("prompt", "config", 'user: "{question}"', 'user: "{question} "'),
        ("verifier", "config", "slack: 1", "slack: 2"),
        ("verifier", "verifier", "rollout.text == task", "rollout.text != task"),
        ("sampling", "config", "temperature: 0", "temperature: 0.5"),
        ("sampling", "config", "max_tokens: 20", "max_tokens: 20, seed: 1"),
        ("num_repeats", "config", "num_repeats: 2", "num_repeats: 3"),
        ("dataset", "rows", "1+1", "1+ 1"),
        ("metric", "config", "description: sums", "metric: {pass_threshold: 0.5}"),
        ("version", "config", "description: sums", "version: 2"),
    ],
)
def test_what_can_move_a_score_changes_its_own_part_and_the_whole(tmp_path, part, what, old, new):
    texts = {"config": CONFIG, "verifier": VERIFIER, "rows": ROWS}
    assert old in texts[what]
    whole, parts = fingerprints(tmp_path / "a")
    other, others = fingerprints(tmp_path / "b", **{**texts, what: texts[what].replace(old, new)})
    assert whole != other
    assert [name for name in parts if parts[name] != others[name]] == [part]


def test_a_blank_line_in_a_text_of_the_verifier_counts(tmp_path):
    one, two = (VERIFIER + f'\nTEXT = """a\n{gap}b"""\n' for gap in ("", "\n"))
    assert fingerprints(tmp_path / "a", verifier=one) != fingerprints(tmp_path / "b", verifier=two)


def test_a_setting_counts_as_what_the_config_says(tmp_path):
    said = fingerprints(tmp_path / "a", CONFIG.replace("slack: 1", "slack: 3"))
    assert fingerprints(tmp_path / "b", CONFIG, VERIFIER, ROWS, "mine.verifier.slack=3") == said
    assert fingerprints(tmp_path / "c", CONFIG, VERIFIER, ROWS, "client.timeout=9") == fingerprints(tmp_path / "d")


def test_the_libraries_of_a_verifier_count(tmp_path, monkeypatch):
    catalogue = Catalogue([REPOSITORY])
    assert list(libraries(catalogue.verifier("math").function)) == ["math_verify"]
    assert libraries(catalogue.verifier("math").function)["math_verify"][0].isdigit()
    lazy = VERIFIER.replace("    return", "    import no_such_package\n    return")
    absent = fingerprints(tmp_path / "a", verifier=lazy)
    monkeypatch.setattr(fingerprint, "_version", lambda module: {"no_such_package": "1.2"}[module])
    there = fingerprints(tmp_path / "b", verifier=lazy)
    assert [part for part in absent[1] if absent[1][part] != there[1][part]] == ["verifier"]


def test_variables_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("GYM_TEST_LEVEL", "3")
    monkeypatch.setenv("GYM_TEST_WORD", "3")
    monkeypatch.delenv("GYM_TEST_NONE", raising=False)
    path = write(tmp_path, {"a.yaml": 'a: ${env:GYM_TEST_LEVEL}\nb: "x${env:GYM_TEST_WORD}"\nc: ${env:GYM_TEST_NONE,two words}'}) / "a.yaml"
    assert plain(parse(path)) == {"a": 3, "b": "x3", "c": "two words"}
    for text, said in {
        "${env:GYM_TEST_NONE}": r"a.yaml:2: the environment has no variable 'GYM_TEST_NONE'",
        "${env:HF_TOKEN,x}": r"a.yaml:2: the variable 'HF_TOKEN' looks like a secret",
        "${env:OPENAI_APIKEY}": "looks like a secret",
        "${env:A B}": r"names no variable; write \$\{env:NAME\}",
    }.items():
        with pytest.raises(ConfigError, match=said):
            parse(write(tmp_path, {"a.yaml": f"ok: 1\nbad: {text}"}) / "a.yaml")


def test_variables_lead_to_included_files(tmp_path, monkeypatch):
    monkeypatch.setenv("GYM_TEST_BASE", "two")
    write(tmp_path, {"two.yaml": "base: {version: 2}", "a.yaml": 'config_paths: ["${env:GYM_TEST_BASE}.yaml"]\na: {_inherit_from: base}'})
    assert plain(ConfigFiles([tmp_path]).resolved(tmp_path / "a.yaml", "a")) == {"version": 2}


def test_the_shipped_schema_is_the_tables():
    assert completion.FILE.read_text() == completion.text(), "python -m pytest_gym.completion > pytest_gym/config.schema.json"


SHIPPED = [*REPOSITORY.glob("benchmarks/**/config.yaml"), *REPOSITORY.glob("verifiers/*.yaml")]


def test_every_shipped_config_fits_the_schema():
    validator = jsonschema.Draft7Validator(json.loads(completion.FILE.read_text()))
    validator.check_schema(validator.schema)
    wrong = [f"{path}: {error.message}" for path in SHIPPED for error in validator.iter_errors(plain(parse(path)))]
    assert len(SHIPPED) > 30 and wrong == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("description", "descriptoin"),
        ("system", "sistem"),
        ("num_repeats: 2", "num_repeats: 0"),
        ("temperature", "temprature"),
        ("path: rows.jsonl, ", ""),
        ("description: sums", "domain: maths"),
        ("description: sums", "metric: {direction: up}"),
        ("system: Add.", "messages: [{role: tool, content: x}]"),
    ],
)
def test_the_schema_finds_what_reading_finds(tmp_path, old, new):
    validator = jsonschema.Draft7Validator(json.loads(completion.FILE.read_text()))
    assert old in CONFIG and validator.is_valid(plain(parse(write(tmp_path, {"a.yaml": CONFIG}) / "a.yaml")))
    assert not validator.is_valid(plain(parse(write(tmp_path, {"a.yaml": CONFIG.replace(old, new)}) / "a.yaml")))
