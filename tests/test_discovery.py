"""Discovery: the list, the search and the page of one benchmark, as data and as text."""

import json
import subprocess
import sys
import time

import pytest

from pytest_gym.catalogue import Catalogue, builtin_root
from pytest_gym.discovery import list_command, listing, search, search_command, show_command
from pytest_gym.errors import ConfigError
from pytest_gym.outlook import KINDS

from .samples import write

CONFIG = """
gsm8k:
  description: {description}
  domain: math
  tags: [arithmetic]
  prompt_config: {{system: Be terse., user: "{{question}}\\n\\nAnswer:"}}
  verifier: {{name: exact_match, field: answer}}
  sampling: {{temperature: 0.0}}
  subset: level
  datasets:
    - path: gsm8k.jsonl
      sources: {{test.jsonl: {{url: "https://example.org/test.jsonl"}}}}
      num_rows: 1319
      num_repeats: 4
      sha256: "{sha}"
"""
TOOLS = """
tool_calls:
  description: Calling functions with the right arguments
  domain: agent
  requires: [tools, sandbox]
  prompt_config: {user: "{question}"}
  verifier: missing_one
  datasets: [{path: rows.jsonl}]
tool_calls/hard:
  domain: agent
  description: The same, with distractors
  prompt_config: {user: "{question}"}
  verifier: {name: exact_match, feild: x}
  datasets: [{path: rows.jsonl}]
"""
VERIFIER = '''
from pytest_gym import Rollout, Task, Verdict, verifier

@verifier
def exact_match(task: Task, rollout: Rollout, *, field: str = "expected_answer", ignore_case: bool = True) -> Verdict:
    """Right if the whole answer
    is the expected one.

    More about it.
    """
    return Verdict(1.0)
'''
README = "# GSM8K\n\n## What\n\nWord problems\nfor schools.\n\nMore.\n"


@pytest.fixture
def root(tmp_path):
    return write(
        tmp_path,
        {
            "benchmarks/gsm8k/config.yaml": CONFIG.format(description="Grade-school maths word problems", sha="ab" * 32),
            "benchmarks/gsm8k/README.md": README,
            "benchmarks/gsm8k/data/example.jsonl": "{}\n",
            "benchmarks/tools/config.yaml": TOOLS,
            "verifiers/exact_match.py": VERIFIER,
        },
    )


def ready(benchmark):
    return benchmark.name == "gsm8k"


def test_the_list_as_data(root):
    entries = listing(Catalogue([root]), ready)
    assert [entry["name"] for entry in entries] == ["gsm8k", "tool_calls", "tool_calls/hard"]
    assert entries[0] == {
        "name": "gsm8k",
        "description": "Grade-school maths word problems",
        "domain": "math",
        "tags": ["arithmetic"],
        "rows": 1319,
        "num_repeats": 4,
        "verifier": "exact_match",
        "kind": "rule",
        "needs": [],
        "prepared": True,
        "source": str(root / "benchmarks/gsm8k/config.yaml"),
    }
    assert (entries[1]["rows"], entries[1]["needs"], entries[1]["prepared"]) == (None, ["tools", "sandbox"], False)


def test_the_list_as_text(root):
    assert list_command(Catalogue([root]), "", ready, width=90) == (
        "                    rows  repeats  judged by  data\n"
        "math\n"
        "  gsm8k            1,319       x4  rule       ready  Grade-school maths word problems\n"
        "\n"
        "agent\n"
        "  tool_calls           ?           execution  -      Calling fun... [needs tools, sandbox]\n"
        "  tool_calls/hard      ?           rule       -      The same, with distractors\n"
        "\n"
        "3 benchmarks; 'pytest --gym-show=NAME' tells all about one\n",
        "",
        0,
    )


def test_broken_configs_come_last_and_in_json_on_stderr(root):
    write(root, {"benchmarks/bad/config.yaml": "a: [", "benchmarks/worse/config.yaml": "worse: {datasets: 1}"})
    catalogue = Catalogue([root])
    out, err, _ = list_command(catalogue, "", ready)
    assert "\n2 cannot be read:\n" in out and err == ""
    assert f"  {root}/benchmarks/bad/config.yaml:1: is not valid YAML" in out.splitlines()[-2]
    out, err, _ = list_command(catalogue, "", ready, as_json=True)
    assert [entry["name"] for entry in json.loads(out)] == ["gsm8k", "tool_calls", "tool_calls/hard"]
    assert len(err.splitlines()) == 2


def test_an_empty_catalogue(tmp_path):
    assert list_command(Catalogue([tmp_path]), "", ready).out == "there are no benchmarks\n"
    assert list_command(Catalogue([tmp_path]), "", ready, as_json=True).out == "[]\n"


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("math", ["gsm8k"]),
        ("arithmetic", ["gsm8k"]),
        ("not math", ["tool_calls", "tool_calls/hard"]),
        ("agent and not sandbox", ["tool_calls/hard"]),
        ("math or (agent and tools)", ["gsm8k", "tool_calls"]),
        ("not (math or tools)", ["tool_calls/hard"]),
        ("tool_calls*", ["tool_calls", "tool_calls/hard"]),
        ("gsm8k", ["gsm8k"]),
        ("chess", []),
        ("execution", ["tool_calls"]),
        ("rule and not agent", ["gsm8k"]),
    ],
)
def test_filters(root, expression, names):
    out = list_command(Catalogue([root]), expression, ready, as_json=True).out
    assert [entry["name"] for entry in json.loads(out)] == names


def test_wrong_filters(root):
    for expression, said in (
        ("math and", "a name is missing at its end"),
        ("(math", r"a '\)' is missing"),
        ("math agent", "'agent' stands where 'and' or 'or' should"),
        ("or math", "a name is missing before 'or'"),
        ("math)", r"'\)' stands where"),
        ("(" * 50_000, "is no filter"),
    ):
        with pytest.raises(ConfigError, match=said):
            list_command(Catalogue([root]), expression, ready)
    assert list_command(Catalogue([root]), "chess", ready).out == "no benchmark matches 'chess'; pytest --gym-list shows all\n"


def test_search(root):
    catalogue = Catalogue([root])
    assert search(catalogue, "tool calling")[0] == {
        "name": "tool_calls",
        "description": "Calling functions with the right arguments",
        "tags": [],
        "needs": ["tools", "sandbox"],
        "domain": "agent",
    }
    names = {query: [entry["name"] for entry in search(catalogue, query)] for query in ("GSM8K", "maths problem", "sandbox", "chess", "")}
    assert names == {"GSM8K": ["gsm8k"], "maths problem": ["gsm8k"], "sandbox": ["tool_calls"], "chess": [], "": []}
    assert [entry["name"] for entry in search(catalogue, "hard tools")] == ["tool_calls/hard", "tool_calls"]


def test_search_as_text(root):
    catalogue = Catalogue([root])
    assert search_command(catalogue, "sandbox").out == (
        "tool_calls  (agent, needs tools, needs sandbox)\n    Calling functions with the right arguments\n"
    )
    assert search_command(catalogue, "chess").out == "nothing matches 'chess'; pytest --gym-list shows all\n"
    assert json.loads(search_command(catalogue, "chess", as_json=True).out) == []


def test_show_as_data(root):
    shown = json.loads(show_command(Catalogue([root]), "gsm8k", ready, as_json=True).out)
    assert shown["dataset"] == {
        "name": "gsm8k",
        "sources": [{"name": "test.jsonl", "url": "https://example.org/test.jsonl"}],
        "path": "gsm8k.jsonl",
        "rows": 1319,
        "sha256": "ab" * 32,
        "frozen": True,
        "prepared": True,
        "splits": ["benchmark", "example"],
    }
    assert shown["prompt"]["user"] == "{question}\n\nAnswer:" and shown["prompt"]["fields"] == ["question"]
    assert shown["verifier"] == {
        "name": "exact_match",
        "description": "Right if the whole answer is the expected one.",
        "options": {
            "field": {"type": "str", "value": "answer", "default": "expected_answer", "required": False},
            "ignore_case": {"type": "bool", "value": True, "default": True, "required": False},
        },
    }
    assert (shown["readme"], shown["sampling"], shown["num_repeats"]) == ("Word problems for schools.", {"temperature": 0.0}, 4)
    assert (shown["config"], shown["line"]) == (str(root / "benchmarks/gsm8k/config.yaml"), 1)


def test_show_as_text(root):
    out = show_command(Catalogue([root]), "gsm8k", ready, width=90).out
    for line in (
        "rows        1,319, 4 attempts each",
        "data        gsm8k.jsonl (ready)",
        "source      test.jsonl: https://example.org/test.jsonl",
        'sampling    {"temperature": 0.0}',
        "headline    pass@1 (reward 0 to 1, higher is better, passed from 1)",
        '            field = "answer"  (set here)  str',
        "            ignore_case = true  bool",
        "subset      the row's field 'level'",
        "    Be terse.",
        "    {question}",
    ):
        assert line in out.splitlines()
    assert all(line == line.rstrip() for line in out.splitlines())


def test_the_outlook_of_a_run(root):
    config = CONFIG.format(description="x", sha="ab" * 32) + (
        "      type: benchmark\n  aliases: [grade_school]\n"
        "  published:\n    - {model: M-8B, score: 0.9, protocol: greedy, source: its card}\n"
    )
    write(root, {"benchmarks/gsm8k/config.yaml": config.replace("{temperature: 0.0}", "{max_tokens: 100}")})
    write(root, {"benchmarks/gsm8k/data/example.jsonl": '{"question": "one two three"}\n{"question": "four"}\n'})
    catalogue = Catalogue([root])
    shown = json.loads(show_command(catalogue, "grade_school", ready, cache=root / "cache", as_json=True).out)
    assert (shown["name"], shown["aliases"], shown["kind"]) == ("gsm8k", ["grade_school"], "rule")
    known = {"model": "M-8B", "metric": "pass@1", "score": 0.9, "protocol": "greedy", "source": "its card"}
    assert shown["published"] == [{**known, "n": None, "sampling": {}, "examples": None}]
    se = shown["expected_se"]
    assert (
        se["score"] == 0.9 and se["at_most"] == pytest.approx((0.09 / 1319) ** 0.5) and se["at_least"] == pytest.approx(se["at_most"] / 2)
    )
    requests = 1319 * 4
    assert shown["tokens"] == {"requests": requests, "input": 8 * requests, "output_at_most": 100 * requests, "rows": "example"}
    out = show_command(catalogue, "grade_school", ready, cache=root / "cache", width=100).out.splitlines()
    assert "published   M-8B: pass@1 0.9, greedy (its card)" in out
    assert any(line.startswith("error       SE of about 0.8 points at a score of 0.9 with 4 attempts each, down to 0.4") for line in out)
    assert any(line.startswith("a run       5,276 requests, about 42,208 tokens in (by the example rows), at most") for line in out)
    assert search(catalogue, "grade_school")[0]["name"] == "gsm8k"


def test_show_has_the_whole_prompt(root):
    prompt = (
        "prompt_config: {system: S, field: chat, tools: functions, user: 'U {question}', "
        "messages: [{role: user, content: one}, {role: assistant, content: [{type: text, text: two}]}]}"
    )
    config = f"talk:\n  {prompt}\n  verifier: exact_match\n  datasets: [{{path: x.jsonl}}]\n"
    write(root, {"benchmarks/talk/config.yaml": config})
    out = show_command(Catalogue([root]), "talk", ready).out
    assert out.endswith(
        '  system:\n    S\n  user:\n    one\n  assistant:\n    {"type": "text", "text": "two"}\n'
        "  the messages in the row's field 'chat'\n  user:\n    U {question}\n  the tools in the row's field 'functions'\n"
    )


def test_show_tells_what_is_wrong_with_the_verifier(root):
    catalogue = Catalogue([root])
    out = show_command(catalogue, "tool_calls", ready, width=300).out
    assert "there is no verifier 'missing_one'" in out
    assert "a number not declared, 1 attempt each" in out
    assert "has no option 'feild'; did you mean 'field'?" in show_command(catalogue, "tool_calls/hard", ready, width=300).out
    with pytest.raises(ConfigError, match="there is no benchmark 'gsm9k'; did you mean 'gsm8k'"):
        show_command(catalogue, "gsm9k", ready)


def test_a_config_does_not_command_the_terminal(root):
    write(root, {"benchmarks/gsm8k/config.yaml": CONFIG.format(description='"red \\e[31m \\u202e"', sha="ab" * 32)})
    catalogue = Catalogue([root])
    for out in (
        list_command(catalogue, "", ready).out,
        show_command(catalogue, "gsm8k", ready).out,
        search_command(catalogue, "gsm8k").out,
    ):
        assert r"red \x1b[31m \u202e" in out and "\x1b" not in out


def test_lines_fit_the_width(root):
    write(root, {"benchmarks/gsm8k/config.yaml": CONFIG.format(description="word " * 60, sha="ab" * 32)})
    catalogue = Catalogue([root])
    for width in (80, 100):
        assert max(map(len, list_command(catalogue, "", ready, width=width).out.splitlines())) <= width
        assert max(map(len, search_command(catalogue, "word", width=width).out.splitlines())) <= width
        page = show_command(catalogue, "gsm8k", ready, width=width).out.splitlines()
        # Paths and addresses stay whole, to be copied.
        assert max(len(line) for line in page if str(root) not in line) <= width


def test_everything_built_in_can_be_shown():
    catalogue = Catalogue([builtin_root()])
    for name in catalogue.names():
        shown = json.loads(show_command(catalogue, name, ready, as_json=True).out)
        assert "error" not in shown["verifier"], name
        assert shown["description"] and shown["kind"] in KINDS


def test_a_hundred_benchmarks_are_listed_quickly(tmp_path):
    shared = {
        "verifiers/shared.yaml": "shared: {verifier: {name: exact_match}, tags: [a, b]}\n",
        "benchmarks/prompts/p.yaml": "user: '{question}'\n",
    }
    config = CONFIG.format(description="Some description of it", sha="cd" * 32).replace("gsm8k:", "NAME:", 1)
    config = config.replace('{system: Be terse., user: "{question}\\n\\nAnswer:"}', "prompts/p.yaml").replace(
        "  subset: level", "  _inherit_from: shared\n  subset: level"
    )
    files = {f"benchmarks/b{n}/config.yaml": "config_paths: [verifiers/shared.yaml]" + config.replace("NAME", f"b{n}") for n in range(100)}
    write(tmp_path, shared | files)
    started = time.process_time()
    out = list_command(Catalogue([tmp_path]), "", ready).out
    assert "100 benchmarks" in out and "prompts/p.yaml" in config
    assert time.process_time() - started < 0.25


def test_discovery_needs_neither_pytest_nor_heavy_modules():
    program = (
        "import sys\n"
        "for name in ('pytest', 'httpx', 'scipy', 'numpy', 'asyncio'): sys.modules[name] = None\n"
        "import pytest_gym.discovery, pytest_gym.dataset, pytest_gym.prepare, pytest_gym.settings\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=builtin_root())
    program = "import sys, pytest_gym.dataset, pytest_gym.settings\nassert 'yaml' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=builtin_root())
