"""The documentation is true: its commands are run, its files are used, its shown output is compared, its tables are the code's own.

A document is a story: files that it shows (a fence below a line that ends in `` `path`: ``) are written, commands are run, in its order, in
one empty folder. A `text` fence behind commands is the output of the last of them; a line `…` in it stands for any lines. The model is
tests/endpoint.py's in place of `http://localhost:8000/v1`; it misses one question of GSM8K, and calls the names of cities out.
The README's first two shell blocks install, which is tried out elsewhere: here their shape is checked, and the demo's output.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from pytest_gym import options, schema, settings
from tests.endpoint import asked, speak
from tests.simulations.interval_coverage import regimes

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]}
URL = "http://localhost:8000/v1"

# What ends with an exit code other than 0, because an answer is wrong: everywhere else each command must end 0.
WRONG = {
    "README.md": {
        "pytest --gym-benchmark=gsm8k -n 16 --gym-model=my-model --gym-base-url=http://localhost:8000/v1",
        "pytest --gym-benchmark=gsm8k --gym-limit=100@7",
        "pytest --gym-benchmark=gsm8k --gym-repeats=4 --gym-set=sampling.temperature=0.7",
        "pytest --gym-benchmark=gsm8k --gym-limit=100 --gym-output=candidate",
        "pytest --gym-resume=candidate",
        "pytest --gym-reverify=candidate",
        'pytest --gym-benchmark=gsm8k -k "0003 or 0005"',
        "pytest --gym-benchmark=gsm8k --lf",
        "pytest gsm8k::0003-r0",
        "pytest --gym-benchmark='mmlu*,gsm8k' -m \"math and not judge\"",
        "pytest --gym-benchmark=gsm8k -x -n 2",
        "pytest --gym-benchmark=capitals",
        "pytest benchmarks/capitals --gym-set=capitals.num_repeats=4",
    },
    "docs/resume.md": {
        "pytest --gym-benchmark=gsm8k --gym-limit=20 --gym-output=monday",
        "pytest --gym-resume=monday",
        "pytest --gym-reverify=monday --gym-output=monday-again",
        "pytest --gym-benchmark=gsm8k --gym-split=example --gym-responses=answers.jsonl",
    },
    "docs/options.md": {
        "pytest --gym-benchmark=gsm8k",
    },
    "docs/pytest.md": {
        "pytest --gym-benchmark=gsm8k",
        "pytest gsm8k::0003-r0",
        "pytest --gym-benchmark=gsm8k --lf",
        "pytest --gym-benchmark='gsm8k,mmlu*' -m \"math and not competition\"",
        "pytest test_own.py --gym-benchmark=gsm8k",
        "pytest --gym-benchmark=gsm8k -x",
        "pytest --gym-benchmark=gsm8k --maxfail=2 -n 2",
        "pytest --gym-benchmark=gsm8k --junitxml=junit.xml --gym-show-failures=0",
        "pytest --gym-benchmark=gsm8k --reruns=1 -q",
        "pytest --gym-benchmark=gsm8k --durations=3 -p no:cacheprovider",
        "pytest --gym-benchmark=gsm8k --gym-output=monday",
    },
}
ANSWERS = {"Norway": "Oslo!", "Japan": "Tokyo", "Peru": "lima.", "Rhine": "1000 km", "Danube": "2,700 km", "Loire": "1006"}


class Step(NamedTuple):
    """A fence of a document: its language, its text, and the path that it is the file of."""

    language: str
    text: str
    path: str | None


def steps(document: str) -> list[Step]:
    found = []
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", DOCUMENTS[document], re.M | re.S):
        above = DOCUMENTS[document][: match.start()].rstrip("\n").rpartition("\n")[2]
        path = re.search(r"`([\w./-]+\.\w+)`:$", above)
        found.append(Step(match[1], match[2], path[1] if path else None))
    return found


def commands(document: str) -> list[str]:
    return [line for step in steps(document) if step.language == "sh" for line in step.text.splitlines()]


def normalised(text: str, folder: Path, url: str) -> str:
    """The text without what differs from run to run and from machine to machine."""
    for old, new in ((str(folder), "PATH"), (url, URL)):
        text = text.replace(old, new)
    for pattern, new in (
        (r"(?m)^platform .*$", "platform …"),
        (r"(?m)^plugins: .*$", "plugins: …"),
        (r"(?m)^rootdir: .*$", "rootdir: …"),
        (r"(?m)^(hypothesis profile|cachedir:) .*\n", ""),
        (r"gym-results/(\d{8}-\d{6}|STAMP)", "gym-results/STAMP"),
        (r"(?m)^wall time .*$", "wall time …"),
        (r" in \d+\.\d\ds( \(\d+:\d\d:\d\d\))?", " in …"),
        (r"={3,}", "==="),
        (r"(?m)[ \t]+$", ""),
    ):
        text = re.sub(pattern, new, text)
    return text.strip("\n")


def same_output(shown: str, real: str, what: str) -> None:
    pattern = "".join("(?:.*\n)*?" if line == "…" else re.escape(line) + "\n" for line in shown.split("\n"))
    if re.fullmatch(pattern, real + "\n") is None:
        difference = "\n".join(difflib.unified_diff(shown.split("\n"), real.split("\n"), "shown", "printed", lineterm="", n=1))
        pytest.fail(f"{what} prints something else:\n{difference}\n\nall of it:\n{real}", pytrace=False)


@pytest.fixture(scope="module")
def known() -> dict[str, str]:
    """Question → answer, of the example rows of the built-in benchmarks; one answer is wrong."""
    answers = {}
    for path in ROOT.glob("benchmarks/*/data/example.jsonl"):
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            right = row.get("expected_answer")
            if not isinstance(right, str) or not (row.get("problem") or row.get("question")):
                continue  # of a form that the documents do not ask about
            letter = f"The answer is ({right}). " if len(right) == 1 and right.isalpha() else ""
            wrong = path.parts[-3] == "gsm8k" and row["id"] == "0003"
            answers[row.get("problem") or row["question"]] = "I make it \\boxed{0}." if wrong else f"{letter}So \\boxed{{{right}}}."
    return answers


class Story:
    """Runs the steps of one document in pytester's folder."""

    def __init__(self, document: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        self.document, self.pytester, self.monkeypatch, self.url = document, pytester, monkeypatch, url
        self.folder = pytester.path
        self.output = ""

    def write(self, step: Step) -> None:
        assert step.path, f"{self.document}: no line above says which file this is:\n{step.text}"
        path = self.folder / step.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(step.text.replace(URL, self.url), encoding="utf-8")

    def run(self, line: str) -> None:
        words = shlex.split(line.replace(URL, self.url))
        given = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
        words = [word for word in words if not re.match(r"[A-Z_]+=", word)]
        if words[0] == "export":
            for name, value in given.items():
                self.monkeypatch.setenv(name, value)
            return
        with self.monkeypatch.context() as patch:
            # The built-in data would have to be fetched; its example rows are at hand.
            if re.search(r"gsm8k|mmlu", line):
                patch.setenv("GYM_SPLIT", "example")
            for name, value in given.items():
                patch.setenv(name, value)
            code = self.start(words)
        expected = int(line in WRONG.get(self.document, ()))
        # Where -x stops it, xdist ends with 2, unless the rest was handed out already.
        allowed = (1, 2) if expected and {"-n", "-x", "--maxfail=2"}.intersection(words) > {"-n"} else (expected,)
        assert code in allowed, f"{self.document}: `{line}` ended {code}, not {expected}:\n{self.output}"
        assert "Traceback" not in self.output and "INTERNALERROR" not in self.output

    def start(self, words: list[str]) -> int:
        program, *words = words
        if program == "cat":
            self.output = "".join((self.folder / word).read_text() for word in words)
            return 0
        if program == "python":
            done = subprocess.run([sys.executable, *words], cwd=self.folder, capture_output=True, text=True, check=False)
            self.output = done.stdout + done.stderr
            return done.returncode
        assert program == "pytest", f"{self.document}: {program} is not a command that documents may use"
        if "-n" in words:
            # Two workers show what sixteen would, sooner.
            words[words.index("-n") + 1] = "2"
        result = self.pytester.runpytest_inprocess(*words)
        self.output = result.stdout.str() + result.stderr.str()
        return int(result.ret)


@pytest.mark.parametrize("document", sorted(DOCUMENTS))
def test_story(document, pytester, endpoint, monkeypatch, tmp_path, known):
    def answer(body, number):
        prompt = asked(body)
        texts = [text for part, text in {**ANSWERS, **known}.items() if part in prompt]
        assert len(texts) == 1, prompt
        return speak(server.paths[number - 1], texts[0])

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("GYM_CACHE", str(tmp_path / "cache"))
    server = endpoint(answer)
    story = Story(document, pytester, monkeypatch, server.url)
    told = steps(document)
    if document == "README.md":
        installs = [index for index, step in enumerate(told) if step.language == "sh"][:2]
        told = told[installs[1] + 1 :]
    for number, step in enumerate(told):
        if step.language == "sh":
            for line in step.text.splitlines():
                story.run(line)
        elif step.language == "text":
            assert told[number - 1].language == "sh", f"{document}: output without a command:\n{step.text}"
            shown, real = (normalised(text, story.folder, story.url) for text in (step.text, story.output))
            same_output(shown, real, f"{document}: `{told[number - 1].text.splitlines()[-1]}`")
        else:
            story.write(step)
    if document == "docs/results.md":
        formats_are_documented(story.folder / "demo-run")


def formats_are_documented(run: Path) -> None:
    """Every key that a run writes stands in docs/results.md, in the section of its file."""
    sections = dict(re.findall(r"^## ([\w.]+)\n(.*?)(?=^## |\Z)", DOCUMENTS["docs/results.md"], re.M | re.S))
    manifest, summary = json.loads((run / "run.json").read_text()), json.loads((run / "summary.json").read_text())
    row = json.loads((run / "rollouts.jsonl").read_text().splitlines()[0])
    entry, benchmark = summary["benchmarks"]["gsm8k"], manifest["benchmarks"]["gsm8k"]
    wanted = {
        "run.json": [manifest, manifest["planned"], manifest["model"], benchmark, benchmark["dataset"], benchmark["verifier"]],
        "rollouts.jsonl": [row, row["usage"]],
        "summary.json": [
            summary,
            entry,
            *(entry[key] for key in ("rates", "variance", "tasks_passed", "detectable_difference", "tokens")),
            entry["metrics"]["pass@1"],
        ],
    }
    for name, parts in wanted.items():
        missing = [key for part in parts for key in part if f"`{key}`" not in sections[name]]
        assert not missing, f"docs/results.md, {name}: lacks {missing}"
    assert {path.name for path in run.iterdir()} == {"run.json", "rollouts.jsonl", "scores.csv.gz", "summary.json", "summary.md"}


def test_error_kinds_are_documented():
    source = "".join(path.read_text() for path in (ROOT / "pytest_gym").rglob("*.py"))
    kinds = set(re.findall(r"(?:\bFailure|CaseError|_failed)\(\s*\"(\w+)\"|\bkind=\"(\w+)\"", source))
    kinds = {one or other for one, other in kinds} - {"stopped", "stable"}
    listed = set(re.findall(r"^\| `(\w+)` \| .* \| (?:goes on|stops) \|$", DOCUMENTS["docs/results.md"], re.M))
    assert kinds <= listed and len(listed) >= 15


def test_demo_prints_what_the_readme_shows(pytester):
    told = steps("README.md")
    assert [step.language for step in told[:3]] == ["sh", "text", "sh"]
    # As in a clone: its settings are read, and the catalogue is the repository's own.
    shutil.copy(ROOT / "pyproject.toml", pytester.path)
    (pytester.path / "tests").mkdir()
    command = told[0].text.splitlines()[-1].removeprefix(".venv/bin/pytest ").split()
    environment = {**os.environ, "COLUMNS": "80", "PYTHONDONTWRITEBYTECODE": "1"}
    line = [sys.executable, "-m", "pytest", *command]
    done = subprocess.run(line, cwd=pytester.path, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    shown, real = (normalised(text, pytester.path, URL) for text in (told[1].text, done.stdout))
    same_output(shown, real, "README.md: the demo")


def test_the_first_two_blocks_install():
    install, tests = (step.text.splitlines() for step in steps("README.md") if step.language == "sh" and ".venv" in step.text)
    for block, what in ((install, "."), (tests, ".[test]")):
        assert block[0] == "python3 -m venv .venv"
        assert shlex.split(block[1]) == [".venv/bin/python", "-m", "pip", "install", "--quiet", "--editable", what]
        assert len(block) == 3 and block[2].startswith(".venv/bin/pytest")
    assert install[2].endswith(" --gym-benchmark=gsm8k --gym-demo")
    assert [step.language for step in steps("README.md")].index("sh") == 0


@pytest.mark.parametrize("document", sorted(DOCUMENTS))
def test_wrong_answers_are_of_commands_that_exist(document):
    assert WRONG.get(document, set()) <= set(commands(document))
    for line in commands(document):
        assert URL in line or "://" not in line


def options_table() -> str:
    rows = ["| option | ini | environment | what it does |", "|---|---|---|---|"]
    for option in options.DECLARED:
        value = f"={option.metavar}" if option.metavar else ""
        value = f"[{value}]" if option.optional is not None else value
        twins = option.name not in options.TYPED_ONLY
        name = options.ini_name(option)
        ini, environment = (f"`{name}`", f"`{name.upper()}`") if twins else ("", "")
        shown = f"{options.flag(option.name)}{value}".replace("|", "\\|")
        rows.append(f"| `{shown}` | {ini} | {environment} | {option.help} |")
    return "\n".join(rows) + "\n"


def test_tables_are_the_code_s_own(request):
    assert options_table() in DOCUMENTS["docs/options.md"], f"docs/options.md must hold:\n{options_table()}"
    assert settings.markdown() in DOCUMENTS["docs/settings.md"], f"docs/settings.md must hold:\n{settings.markdown()}"


def test_twins_are_declared_as_documented(pytester):
    listed = pytester.runpytest_inprocess("--help").stdout.str()
    for option in options.DECLARED:
        assert options.flag(option.name) in listed
        has_ini = f"`{options.ini_name(option)}`" in DOCUMENTS["docs/options.md"]
        assert bool(re.search(rf"^  {options.ini_name(option)} \(", listed, re.M)) == has_ini, option.name


@pytest.mark.parametrize(
    "heading, keys",
    [
        ("Keys of a block", schema.BLOCK_KEYS),
        ("Keys of a published score", schema.PUBLISHED_KEYS),
        ("Keys of a dataset", schema.DATASET_KEYS),
        ("Keys of a source", schema.SOURCE_KEYS),
        ("Keys of metric", schema.METRIC_KEYS),
        ("Keys of aggregate", schema.AGGREGATE_KEYS),
        ("Keys of a suite", schema.SUITE_KEYS),
    ],
)
def test_config_keys_are_documented(heading, keys):
    section = re.search(rf"^### {heading}\n(.*?)(?=^##|\Z)", DOCUMENTS["docs/benchmarks.md"], re.M | re.S)
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*) \|$", section[1], re.M)
    assert [name for name, *_ in rows] == list(keys)
    for name, value, default, _ in rows:
        assert (keys[name].default is ...) == (default == "needed"), name
        if isinstance(keys[name].default, str | int) and keys[name].default:
            assert default.strip("`") == str(keys[name].default), name
        assert all(f"`{word}`" in value for word in keys[name].words), name


def test_every_module_is_in_the_design():
    package = ROOT / "pytest_gym"
    modules = {path.relative_to(package).with_suffix("").as_posix() for path in package.rglob("*.py") if "builtin" not in path.parts}
    section = re.search(r"^## Modules\n(.*?)^## ", DOCUMENTS["docs/design.md"], re.M | re.S)
    listed = re.findall(r"^\| `([\w/]+)` \|", section[1], re.M)
    assert len(listed) == len(set(listed))
    assert set(listed) == modules, f"not listed: {modules - set(listed)}; gone: {set(listed) - modules}"


def test_the_guide_s_verifier_is_complete_and_short():
    step = next(step for step in steps("docs/write-a-verifier.md") if step.language == "python")
    assert "@verifier" in step.text and ".reference" in step.text and len(step.text.splitlines()) < 30


def test_hooks_are_documented():
    from pytest_gym import hookspecs

    named = {name for name in vars(hookspecs) if name.startswith("pytest_gym_")}
    assert set(re.findall(r"^\| `(pytest_gym_\w+)\(", DOCUMENTS["docs/pytest.md"], re.M)) == named


def test_coverage_table_has_the_regimes_that_are_simulated():
    listed = re.findall(r"^\| (.+?) \| ([\d.]+) \| [\d.]+ \| [\d.]+ \| .*? \| ?(few)? ?\|$", DOCUMENTS["docs/metrics.md"], re.M)
    assert [name for name, _, _ in listed] == [regime[0] for regime in regimes()]
    for name, held, few in listed:
        assert float(held) >= (91 if few else 93), name


@pytest.mark.parametrize("document", [*sorted(DOCUMENTS), "CHANGELOG.md"])
def test_links_lead_somewhere(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", text):
        assert target.startswith("https://") or ((ROOT / document).parent / target).exists(), f"{document}: {target}"
    for name in re.findall(r"--gym-[a-z-]+", text):
        assert name in {options.flag(option.name) for option in options.DECLARED}, f"{document}: there is no option {name}"
