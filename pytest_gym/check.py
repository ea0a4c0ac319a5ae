"""`--gym-check`: a benchmark held against what makes it trustworthy, before anybody is asked.

Each check gives one finding: `ok`, `warn` (look at it), `fail`, `excused` (the config's `check:` says why it may), or `skipped` with the
reason. Data in, findings out: which files are at hand is the caller's business, the probes of the verifier are made in `probe`.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pytest_gym.benchmark import Benchmark
from pytest_gym.dataset import Dataset, node_names
from pytest_gym.duplicates import duplicates
from pytest_gym.errors import GymError
from pytest_gym.probe import EMPTY, Answer, Probe, corrupted, foreign, judge_all
from pytest_gym.records import Task
from pytest_gym.resolve import Selected
from pytest_gym.schema import CHECKS as CHECKS
from pytest_gym.tokens import approximate_tokens

PROBED = 200
"""Rows whose empty, corrupted and foreign answers are judged, drawn by a seed; references are judged on all rows that are checked."""
PROGRAMS = 20
"""The same for verifiers that run programs, which take a tenth of a second each and more; of their references PROBED rows are judged."""
SECONDS = 10.0
"""After so long no further wrong answer is judged in a check: some are slow on purpose."""
FEW_ROWS = 30
"""Below so many questions the positions of the right answers show nothing."""
MOST_ROWS = 20_000
"""Rows among which duplicates are looked for."""

Row = TypeVar("Row")
_PINNED = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])")


@dataclass(frozen=True)
class Finding:
    """What one check found. `split` is the split whose rows it looked at, None for the checks of config and folder."""

    check: str
    result: str
    message: str
    split: str | None = None


def check_declared(benchmark: Benchmark, pins: Mapping[str, Any]) -> list[Finding]:
    """The checks of what the config and its folder say: config, sources, readme. `pins` is the benchmark's entry in gym.lock, or empty."""
    return _excused(benchmark, [_config(benchmark), _sources(benchmark, pins), _readme(benchmark)])


def check_rows(selected: Selected, dataset: Dataset, split: str, limit: str | None = None) -> list[Finding]:
    """The checks of an opened dataset and of the verifier on its rows; `limit` as in `Dataset.select`. Never raises GymError."""
    tasks: list[Task] = []
    try:
        tasks += (dataset.task(index) for index in dataset.select(limit))
        texts = [selected.benchmark.prompt.render(task) for task in tasks]
        prompts = ["\n".join(str(message.content) for message in messages) for messages in texts]
    except GymError as error:
        return _excused(selected.benchmark, [Finding("prompt", "fail", str(error), split)])
    found = [
        _ids(dataset),
        _prompt(tasks, prompts, selected.benchmark),
        _length(tasks, prompts, selected.benchmark),
        _duplicates(tasks, selected.benchmark),
        _positions(tasks, selected),
        *_answers(selected, tasks, everything=limit is not None),
    ]
    return _excused(selected.benchmark, [replace(finding, split=split) for finding in found])


def _excused(benchmark: Benchmark, findings: Iterable[Finding]) -> list[Finding]:
    reasons = benchmark.check
    return [
        replace(finding, result="excused", message=f"{finding.message}; the config says: {reasons[finding.check]}")
        if finding.check in reasons and finding.result in ("warn", "fail")
        else finding
        for finding in findings
    ]


# ------------------------------------------------------------------------------------------------------------------- config and folder


def _config(benchmark: Benchmark) -> Finding:
    spec = benchmark.dataset()
    if not benchmark.description:
        return Finding("config", "fail", "has no description, which is what lists and searches show")
    if benchmark.sampling.get("temperature") == 0 and spec.num_repeats > 1:
        return Finding("config", "fail", f"asks {spec.num_repeats} times at temperature 0, where answers cannot vary")
    return Finding("config", "ok", f"version {benchmark.version}")


def _sources(benchmark: Benchmark, pins: Mapping[str, Any]) -> Finding:
    spec = benchmark.dataset()
    loose = [source.name for source in spec.sources if not source.sha256 and not _PINNED.search(source.url or source.hf or "")]
    frozen = "the config" if spec.sha256 else "gym.lock" if pins.get("sha256") and spec.sources else None
    if loose and not frozen:
        how = "give a commit or revision of 40 digits in its address, or its sha256"
        return Finding("sources", "warn", f"{_some(loose)} not pinned: {how}; until then gym.lock freezes what the first preparation got")
    if not frozen and not all(source.sha256 for source in spec.sources):
        return Finding("sources", "warn", "pinned to a commit, but no sha256 is known: gym.lock freezes what the first preparation got")
    if not frozen and not spec.sources:
        return Finding("sources", "warn", f"{spec.path} is not frozen: write its sha256 into the config")
    return Finding("sources", "ok", f"frozen by {frozen}" if frozen else "the raw files are pinned by their sha256")


def _readme(benchmark: Benchmark) -> Finding:
    path = benchmark.folder / "README.md"
    if not path.is_file():
        return Finding("readme", "fail", f"there is no {path}: write source, licence and what the reward means")
    text = path.read_text(encoding="utf-8", errors="replace")
    lacks = [word for word, pattern in (("source", "source"), ("licence", "licen[cs]e"), ("reward", "reward"))
             if not re.search(rf"^(?:\W*|#.*){pattern}", text, re.IGNORECASE | re.MULTILINE)]  # fmt: skip
    if lacks:
        return Finding("readme", "fail", f"README.md has no heading or line for: {', '.join(lacks)}")
    return Finding("readme", "ok", "says source, licence and reward")


# ------------------------------------------------------------------------------------------------------------------------------- rows


def _ids(dataset: Dataset) -> Finding:
    try:
        node_names(dataset.ids)
    except GymError as error:
        return Finding("ids", "fail", str(error))
    if all("id" not in dataset.task(index).fields for index in (0, len(dataset) - 1)):
        return Finding("ids", "warn", "rows have no 'id', so their numbers stand for them: a row put in between renames all after it")
    return Finding("ids", "ok", f"{len(dataset):,} different ones")


def _prompt(tasks: Sequence[Task], prompts: Sequence[str], benchmark: Benchmark) -> Finding:
    for field in sorted(benchmark.prompt.fields):
        blank = [task.id for task in tasks if not str(task[field]).strip()]
        if blank:
            return Finding("prompt", "fail", f"the field {field!r} is blank in {_rows(blank)}")
    if not any(prompts):
        return Finding("prompt", "skipped", f"the harness {benchmark.harness!r} makes the prompt")
    return Finding("prompt", "ok", f"rendered for {len(tasks):,} rows")


def _length(tasks: Sequence[Task], prompts: Sequence[str], benchmark: Benchmark) -> Finding:
    tokens = [approximate_tokens(prompt) for prompt in prompts]
    longest = max(range(len(tokens)), key=tokens.__getitem__)
    answer = benchmark.sampling.get("max_tokens") or 0
    if benchmark.context_length is not None:
        over = [task.id for task, count in zip(tasks, tokens, strict=True) if count + answer > benchmark.context_length]
        if over:
            what = f"{benchmark.context_length:,} tokens of context_length, prompt and an answer of {answer:,} together"
            return Finding("length", "fail", f"{_rows(over)} are over the {what} (longest prompt: about {tokens[longest]:,})")
    return Finding("length", "ok", f"longest prompt: about {tokens[longest]:,} tokens, in row {tasks[longest].id}")


def _duplicates(tasks: Sequence[Task], benchmark: Benchmark) -> Finding:
    fields = sorted(benchmark.prompt.fields) or sorted({name for name in tasks[0].fields if name != "id"})
    looked = tasks[:MOST_ROWS]
    same, near = duplicates(["\n".join(str(task.get(field, "")) for field in fields) for task in looked])
    of = f"of {len(looked):,} rows" + (f" (the first of {len(tasks):,})" if len(looked) < len(tasks) else "")
    said = [
        f"{len(pairs):,} {what} ({', '.join(f'{looked[i].id} and {looked[j].id}' for i, j in pairs[:2])}{', …' if len(pairs) > 2 else ''})"
        for what, pairs in (("ask the same as another", same), ("nearly so", near))
        if pairs
    ]
    return Finding("duplicates", "warn", f"{of}: {'; '.join(said)}") if said else Finding("duplicates", "ok", f"none {of}")


def _positions(tasks: Sequence[Task], selected: Selected) -> Finding:
    """Chi-square of the right answers' positions against chance, each row weighing its positions alike."""
    placed = [place for task in tasks if (place := _position(task, selected.options)) is not None]
    if len(placed) < len(tasks):
        return Finding("positions", "skipped", "not multiple choice")
    if len(placed) < FEW_ROWS:
        return Finding("positions", "skipped", f"{len(placed)} questions are too few to tell")
    from scipy.special import chdtrc

    most = max(count for _, count in placed)
    seen = Counter(position for position, _ in placed)
    chance = [sum(1 / count for _, count in placed if count > position) for position in range(most)]
    p_value = float(chdtrc(most - 1, sum((seen[i] - chance[i]) ** 2 / chance[i] for i in range(most))))
    best = max(range(most), key=lambda position: seen[position])
    share, usual = seen[best] / len(placed), chance[best] / len(placed)
    said = f"always answering {chr(65 + best)} scores {100 * share:.1f} % where chance gives {100 * usual:.1f} % (p = {p_value:.2g})"
    result = "ok" if p_value >= 0.001 else "fail" if share - usual > 0.1 else "warn"
    return Finding("positions", result, said)


def _position(task: Task, options: Mapping[str, Any]) -> tuple[int, int] | None:
    """The place of the right option and the number of options, where the row is multiple choice."""
    choices = task.get(str(options.get("options_field", "options")))
    letter = task.get(str(options.get("field", "expected_answer")))
    if not isinstance(choices, list | dict) or len(choices) < 2 or not isinstance(letter, str) or len(letter.strip()) != 1:
        return None
    place = ord(letter.strip().upper()) - 65
    return (place, len(choices)) if 0 <= place < len(choices) else None


# ---------------------------------------------------------------------------------------------------------------------------- verifier


def _answers(selected: Selected, tasks: Sequence[Task], *, everything: bool) -> list[Finding]:
    answers: list[tuple[Task, Answer]] = []
    try:
        for task in tasks:
            answer = selected.reference(task)
            if answer is not None:
                answers.append((task, answer))
    except GymError as error:
        return [Finding("reference", "fail", str(error))]
    some = _drawn(tasks, PROGRAMS if selected.runs_programs else PROBED)
    found = [
        _references(selected, tasks, answers, PROBED if selected.runs_programs and not everything else len(answers)),
        _must_fail(selected, "empty", "an empty answer", [(task, text) for task in some for text in EMPTY]),
    ]
    if not answers:
        return [*found, *(Finding(name, "skipped", "there are no references") for name in ("corrupted", "foreign"))]
    few = set(map(id, some))
    given = [pair for pair in answers if id(pair[0]) in few]
    return [
        *found,
        _must_fail(selected, "corrupted", "a corrupted reference", list(corrupted(given)), tolerated=0.1),
        _must_fail(selected, "foreign", "another row's reference", list(foreign(given)), tolerated=0.05),
    ]


def _drawn(some: Sequence[Row], number: int) -> list[Row]:
    """So many of them, always the same ones, in their order."""
    chosen = sorted(random.Random(0).sample(range(len(some)), number)) if len(some) > number else range(len(some))
    return [some[index] for index in chosen]


def _references(selected: Selected, tasks: Sequence[Task], answers: Sequence[tuple[Task, Answer]], number: int) -> Finding:
    if len(answers) < len(tasks):
        has = {task.id for task, _ in answers}
        lacks = [task.id for task in tasks if task.id not in has]
        how = "write @verifier.reference, or a row's reference_response"
        if not answers:
            return Finding("reference", "fail", f"no row has a reference: {how}")
        return Finding("reference", "fail", f"no reference for {_rows(lacks)}: {how}")
    metric = selected.benchmark.metric
    full = max(metric.pass_threshold, min(metric.high, 1.0) if metric.direction == "higher" else metric.low)
    wrong, judged = [], _drawn(answers, number)
    for (task, _), verdict in zip(judged, judge_all(selected, judged), strict=True):
        if isinstance(verdict, GymError):
            return Finding("reference", "fail", str(verdict))
        if not verdict.passed or verdict.reward < full:
            wrong.append(f"{task.id} (reward {verdict.reward:g}: {verdict.explanation})")
    if wrong:
        return Finding("reference", "fail", f"{len(wrong):,} of {len(judged):,} references do not get full reward: {_some(wrong)}")
    cut = "" if len(judged) == len(answers) else f" (of {len(answers):,} rows: programs take long; --gym-limit names more)"
    return Finding("reference", "ok", f"{len(judged):,} of {len(judged):,} get full reward{cut}")


def _must_fail(selected: Selected, name: str, what: str, probes: Sequence[Probe], *, tolerated: float = 0.0) -> Finding:
    """What must not pass; up to `tolerated` of it is a warning only, since an altered answer may happen to be right."""
    if not probes:
        return Finding(name, "skipped", f"no two rows differ enough to make {what}")
    verdicts, passed = judge_all(selected, probes, SECONDS), []
    for (task, _), verdict in zip(probes, verdicts, strict=False):
        if isinstance(verdict, GymError):
            return Finding(name, "fail", str(verdict))
        if verdict.passed:
            passed.append(task.id)
    cut = "" if len(verdicts) == len(probes) else f" (of {len(probes):,}, as {SECONDS:g} s were over)"
    if not passed:
        return Finding(name, "ok", f"none of {len(verdicts):,} passes{cut}")
    result = "warn" if len(passed) <= tolerated * len(verdicts) else "fail"
    tries = f"{len(passed):,} of {len(verdicts):,} tries{cut}"
    return Finding(name, result, f"{what} passes in {tries}: {_rows(list(dict.fromkeys(passed)))}")


def _rows(ids: Sequence[str]) -> str:
    return f"row {ids[0]}" if len(ids) == 1 else f"{len(ids):,} rows ({_some(ids)})"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
