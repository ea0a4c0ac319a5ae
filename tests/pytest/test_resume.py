"""Going on with runs, judging stored answers again, judging answers made elsewhere, and the lock of a run folder."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pytest_gym.run import RunFolder
from tests.conftest import Gym, adder
from tests.endpoint import Endpoint


def questions(server: Endpoint) -> Counter[str]:
    """How often each question was answered."""
    return Counter(body["messages"][-1]["content"] for body in server.requests)


class Moody:
    """Answers rightly, except that the questions in `refused` get status 400."""

    def __init__(self, *refused: int) -> None:
        self.refused = {f"What is {n}+1?" for n in refused}

    def __call__(self, body: dict[str, Any], number: int) -> Any:
        if body["messages"][-1]["content"] in self.refused:
            return 400, {"error": {"message": "not today"}}
        return adder(body, number)


def test_errors_are_asked_again_and_nothing_else(gym: Gym, endpoint, how):
    gym.write(rows=12, wrong=(3,))
    moody = Moody(2, 5)
    server = endpoint(moody)
    first = gym.run(*how, url=server.url)
    first.assert_outcomes(passed=9, failed=1, errors=2)
    first.stdout.fnmatch_lines(["2 cases have no verdict; this goes on with them:", "  pytest --gym-resume=run*"])
    before = questions(server)
    moody.refused.clear()
    second = gym.run("--gym-resume=run", *how, benchmark=None)
    second.assert_outcomes(passed=11, failed=1)
    second.stdout.fnmatch_lines(["gym: resumed: 10 of 12 answers are there, 10 judged"])
    assert questions(server) - before == Counter({"What is 2+1?": 1, "What is 5+1?": 1})
    assert "goes on" not in second.stdout.str()
    assert [row["task_id"] for row in gym.results()] == [f"{n:04}" for n in range(12)]
    assert all(row["error"] is None for row in gym.results())
    assert gym.summary()["benchmarks"]["sums"]["missing"] == 0
    assert not (gym.path / "run" / "journal").exists()
    assert not list((gym.path / "run").glob(".*"))


def test_a_stopped_run_goes_on_where_it_stopped(gym: Gym, endpoint, how):
    gym.write(rows=30)
    down = True

    def script(body: dict[str, Any], number: int) -> Any:
        return (402, {"error": {"message": "pay"}}) if down and number > 8 else adder(body, number)

    server = endpoint(script)
    first = gym.run("--gym-concurrency=2", *how, url=server.url)
    assert first.ret == pytest.ExitCode.INTERRUPTED
    done = len([line for line in (gym.path / "run/journal/rollouts.jsonl").read_text().splitlines() if '"error": null' in line])
    assert done == 8
    down = False
    second = gym.run("--gym-resume=run", *how, benchmark=None)
    second.assert_outcomes(passed=30)
    second.stdout.fnmatch_lines([f"gym: resumed: {done} of 30 answers are there, *"])
    answered = questions(server)
    assert len(answered) == 30
    assert sum(answered.values()) <= 30 + 2
    assert gym.manifest()["exit_code"] == 0
    assert gym.manifest()["options"]["concurrency"] == 2


def test_the_selection_is_restored(gym: Gym, endpoint):
    gym.write(rows=20)
    moody = Moody(11)
    server = endpoint(moody)
    gym.run("-k", "0011 or 0012 or 0015", url=server.url).assert_outcomes(passed=2, errors=1, deselected=17)
    moody.refused.clear()
    gym.run("--gym-resume=run", benchmark=None).assert_outcomes(passed=3)
    assert sum(questions(server).values()) == 4


def test_pasted_cases_and_paths_are_restored(gym: Gym, endpoint):
    gym.write(rows=20)
    moody = Moody(11)
    server = endpoint(moody)
    words = (f"--gym-base-url={server.url}", "--gym-model=m", "--gym-output=run")
    first = gym.run("-q", "sums::0011-r0", "sums::0012-r0", *words, benchmark=None)
    first.assert_outcomes(passed=1, errors=1)
    # However few the words are: how to go on is among them.
    first.stdout.fnmatch_lines(["1 case has no verdict; this goes on with it:", "  pytest --gym-resume=run"])
    moody.refused.clear()
    gym.run("--gym-resume=run", benchmark=None).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("--gym-model=other", "*--gym-resume=run: --gym-model is other here and m in the run, and cannot be changed*"),
        ("--gym-set=sampling.temperature=1", "*setting sampling.temperature is 1.0 here and not set in the run, and cannot be changed*"),
        ("--gym-benchmark=sums", None),
        ("--gym-repeats=3", "*--gym-repeats is 3 here and not set in the run*"),
        ("-k0003", "*selects what the run selected, and keyword cannot be changed (0003 here, not set there)*"),
        ("sums::0003-r0", "*--gym-resume: the run knows its cases; leave out the others*"),
        ("--gym-reverify=run", "*--gym-resume and --gym-reverify exclude each other*"),
        ("--gym-output=other", "*--gym-output is other here*"),
        ("--gym-concurrency=7", None),
        ("--gym-set=client.max_retries=1", None),
    ],
)
def test_what_may_be_given_with_a_resumed_run(gym: Gym, endpoint, word, sentence):
    gym.write(rows=4)
    gym.run(url=endpoint(Moody(2)).url)
    result = gym.run("--gym-resume=run", word, benchmark=None)
    if sentence is None:
        result.assert_outcomes(passed=3, errors=1)
    else:
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: {sentence}"])


def test_changes_are_noted(gym: Gym, endpoint):
    gym.write(rows=4)
    gym.run(url=endpoint(Moody(2)).url)
    result = gym.run("--gym-resume=run", "--gym-concurrency=7", "--gym-set=client.max_retries=1", benchmark=None)
    result.stdout.fnmatch_lines(["gym: --gym-concurrency: 64 before, 7 now", "gym: client.max_retries: not set before, 1 now"])


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("What is {question}?", "What's {question}?", "*sums: prompt.user: What is {question}? → What's {question}?*"),
        ("temperature: 0.5", "temperature: 0.7", "*sums: sampling.temperature: 0.5 → 0.7*"),
        ("num_repeats: 1", "num_repeats: 2", "*sums: num_repeats: 1 → 2*"),
    ],
)
def test_another_protocol_is_refused(gym: Gym, endpoint, old, new, sentence):
    gym.write(rows=4)
    gym.run(url=endpoint(Moody(2)).url)
    config = gym.path / "benchmarks/sums/config.yaml"
    config.write_text(config.read_text().replace(old, new))
    kept = (gym.path / "run/run.json").read_text()
    result = gym.run("--gym-resume=run", benchmark=None)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([sentence])
    assert (gym.path / "run/run.json").read_text() == kept


def test_another_dataset_is_refused(gym: Gym, endpoint):
    gym.write(rows=4)
    gym.run(url=endpoint(Moody(2)).url)
    gym.write(rows=5)
    result = gym.run("--gym-resume=run", benchmark=None)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*sums: dataset.sha256: *; sums: dataset.num_rows: 4 → 5*"])


def test_a_changed_verifier_judges_everything_again(gym: Gym, endpoint):
    gym.write(rows=6, wrong=(0, 1))
    moody = Moody(5)
    server = endpoint(moody)
    gym.run(url=server.url).assert_outcomes(passed=3, failed=2, errors=1)
    verifier = gym.path / "verifiers/ends_with.py"
    verifier.write_text(verifier.read_text().replace("float(found == task[field])", "1.0"))
    moody.refused.clear()
    result = gym.run("--gym-resume=run", benchmark=None)
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["gym: the verifier has changed, all answers are judged again (sums: verifier.source: *"])
    assert sum(questions(server).values()) == 7


def test_a_torn_line_is_said_and_asked_again(gym: Gym, endpoint):
    gym.write(rows=6)
    moody = Moody(5)
    server = endpoint(moody)
    gym.run("-x", url=server.url)
    journal = gym.path / "run/journal/rollouts.jsonl"
    if not journal.exists():  # the case in error is the last one: everything else was judged, and the run complete
        moody.refused.clear()
        gym.run("--gym-resume=run", benchmark=None).assert_outcomes(passed=6)
        return
    journal.write_bytes(journal.read_bytes().rstrip(b"\n")[:-10])
    moody.refused.clear()
    result = gym.run("--gym-resume=run", benchmark=None)
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["gym: 1 line of the journal cannot be read*"])


def test_no_such_run(gym: Gym, endpoint):
    gym.write(rows=2)
    gym.run(url=endpoint(adder).url)
    result = gym.run("--gym-resume=rum", benchmark=None)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: rum: is no run folder (it has no run.json); did you mean 'run'?"])


def test_a_folder_in_use_is_refused(gym: Gym, endpoint):
    gym.write(rows=3)
    gym.run(url=endpoint(Moody(1)).url)
    folder = RunFolder(gym.path / "run", resume=True)
    try:
        result = gym.run("--gym-resume=run", benchmark=None, subprocess=True)
    finally:
        folder.unlock()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *run: is in use by process * on * since *; wait until it has ended, or choose another folder"])


def test_a_stale_lock_is_taken_over(gym: Gym, endpoint):
    gym.write(rows=3)
    gym.run(url=endpoint(Moody(1)).url)
    (gym.path / "run/.lock").write_text("")
    (gym.path / "run/.owner.json").write_text(json.dumps({"pid": 999_999, "host": "gone", "since": "yesterday"}))
    result = gym.run("--gym-resume=run", benchmark=None)
    result.stdout.fnmatch_lines(["gym: the lock of process 999999 on gone since yesterday was left behind, and is taken over"])


# -- judging again ------------------------------------------------------------------------------------------------------------------------


def test_reverify_asks_nobody_and_shows_what_changed(gym: Gym, endpoint):
    gym.write(rows=6, wrong=(0, 1))
    server = endpoint(Moody(5))
    gym.run(url=server.url)
    asked = len(server.requests)
    verifier = gym.path / "verifiers/ends_with.py"
    verifier.write_text(verifier.read_text().replace("float(found == task[field])", "float(found != task[field])"))
    result = gym.run("--gym-reverify=run", "--gym-output=again", benchmark=None)
    result.assert_outcomes(passed=2, failed=3, errors=1)
    result.stdout.fnmatch_lines(
        [
            "gym: judging 6 answers of run again; nobody is asked",
            "gym: differs from the run: sums: verifier.source: *",
            "*5 verdicts changed: 2 up, 3 down",
            "*sums 0000, repeat 0: 0 → 1",
        ]
    )
    assert len(server.requests) == asked
    data = json.loads((gym.path / "again/reverified.json").read_text())
    assert data["compared"] == 5
    assert data["changed"][0] == {"benchmark": "sums", "task_id": "0000", "repeat": 0, "old": 0.0, "new": 1.0}
    manifest = gym.manifest("again")
    assert manifest["model"]["name"] == "m"
    assert manifest["reverified"].endswith("run")
    assert gym.summary("again")["benchmarks"]["sums"]["errors"] == {"bad_request": 1}
    assert gym.manifest("run")["exit_code"] in (1, 2)


def test_reverify_of_a_part_leaves_the_rest_missing(gym: Gym, endpoint):
    gym.write(rows=6)
    gym.run("-k", "0001 or 0002", url=endpoint(adder).url)
    result = gym.run("--gym-reverify=run", "--gym-output=again", benchmark=None)
    result.assert_outcomes(passed=2, skipped=4)
    result.stdout.fnmatch_lines(["*all 2 verdicts are as before"])
    assert gym.summary("again")["benchmarks"]["sums"]["errors"] == {"no_response": 4}


def test_reverify_with_another_option_of_the_verifier(gym: Gym, endpoint):
    gym.write(rows=4)
    gym.run(url=endpoint(adder).url)
    result = gym.run("--gym-reverify=run", "--gym-output=again", "--gym-set=sums.verifier.field=question", benchmark=None)
    result.assert_outcomes(failed=4)
    result = gym.run("--gym-reverify=run", "--gym-output=more", "--gym-set=sampling.temperature=1", benchmark=None)
    result.stderr.fnmatch_lines(["*the setting sampling.temperature is 1.0 here and not set in the run*"])


ASYNC = """
from pathlib import Path
from pytest_gym import Rollout, Task, Verdict, verifier

@verifier
async def ends_with(task: Task, rollout: Rollout) -> Verdict:
    with Path(__file__).with_suffix(".log").open("a") as log:
        log.write(task.id + "\\n")
    return Verdict(float(rollout.text.split()[-1] == task["answer"]))
"""


def test_an_async_verdict_is_kept_and_not_asked_for_again(gym: Gym, endpoint, how):
    gym.write(rows=8)
    (gym.path / "verifiers/ends_with.py").write_text(ASYNC)
    moody = Moody(6)
    server = endpoint(moody)
    gym.run(*how, url=server.url).assert_outcomes(passed=7, errors=1)
    moody.refused.clear()
    gym.run("--gym-resume=run", *how, benchmark=None).assert_outcomes(passed=8)
    judged = (gym.path / "verifiers/ends_with.log").read_text().split()
    assert sorted(judged) == [f"{n:04}" for n in range(8)]


# -- answers made elsewhere ---------------------------------------------------------------------------------------------------------------


def write_answers(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"--gym-responses={path.name}"


def test_responses_are_judged(gym: Gym):
    gym.write(rows=4)
    word = write_answers(
        gym.path / "answers.jsonl",
        {"task_id": "0000", "response": "It is 1"},
        {"task_id": "0000", "response": "It is 9"},
        {"task_id": "0001", "repeat": 1, "response": [{"role": "user", "content": "1+1"}, {"role": "assistant", "content": "It is 2"}]},
        {"task_id": "0002", "response": {"content": "<think>2+1</think>It is 3"}},
        {"task_id": "0003", "response": None},
        {"task_id": "0003", "response": ""},
    )
    result = gym.run(word, "--gym-output=run")
    result.assert_outcomes(passed=3, failed=2, skipped=3)
    result.stdout.fnmatch_lines(["gym: answers.jsonl, nobody is asked", "gym: judging 5 answers from answers.jsonl; nobody is asked"])
    entry = gym.summary()["benchmarks"]["sums"]
    assert entry["repeats"] == 2
    assert entry["errors"] == {"no_response": 3}
    rows = {(row["task_id"], row["repeat"]): row for row in gym.results()}
    assert rows["0002", 0]["reasoning"] == "<think>2+1</think>"
    assert rows["0003", 0]["error"]["message"] == "answers.jsonl:5 has no response"
    assert rows["0003", 1]["reward"] == 0.0
    assert rows["0002", 1]["error"]["message"] == "answers.jsonl has no row for it"
    assert gym.manifest()["model"]["name"] == "answers.jsonl"


def test_rollouts_of_nemo_gym_are_read(gym: Gym):
    gym.write(rows=3)
    response = {
        "object": "response",
        "status": "completed",
        "model": "m",
        "output": [
            {"type": "message", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "It is 3"}]}
        ],
    }
    word = write_answers(gym.path / "rollouts.jsonl", {"_ng_task_index": 2, "_ng_rollout_index": 0, "response": response, "reward": 1.0})
    gym.run(word, "--gym-output=run").assert_outcomes(passed=1, skipped=2)


def test_rows_that_are_not_planned_are_counted(gym: Gym):
    gym.write(rows=4)
    rows = [{"task_id": f"{n:04}", "response": f"It is {n + 1}"} for n in range(4)]
    word = write_answers(gym.path / "a.jsonl", *rows, {"task_id": "x", "benchmark": "other", "response": "y"})
    result = gym.run(word, "--gym-limit=2", "--gym-output=run")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["gym: 3 of 5 rows are of cases that this run does not plan, and are ignored"])


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{"task_id": "77", "response": "x"}], "--gym-responses=a.jsonl: 1 of 1 rows name tasks that sums does not have: '77' (a.jsonl:1)"),
        (
            [{"task_id": "0000", "repeat": 0, "response": "x"}] * 2,
            "a.jsonl:2: answers task '0000', repeat 0 a second time; a.jsonl:1 did before",
        ),
        ([{"response": "x"}], 'a.jsonl:1: names no task: it needs "task_id", or NeMo Gym\'s "_ng_task_index"'),
        ([{"task_id": "0000"}], 'a.jsonl:1: has no "response"'),
        (
            [{"task_id": "0000", "response": 7}],
            "a.jsonl:1: response cannot be read: it is neither a text nor a message nor a list of messages",
        ),
        ([{"task_id": "0000", "repeat": -1, "response": "x"}], "a.jsonl:1: repeat must be a whole number from 0, not -1"),
        ([], "--gym-responses=a.jsonl: has no rows"),
    ],
)
def test_broken_responses_are_a_usage_error(gym: Gym, rows, sentence):
    gym.write(rows=2)
    result = gym.run(write_answers(gym.path / "a.jsonl", *rows), "--gym-output=run")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: {sentence}" in result.stderr.lines


@pytest.mark.parametrize(
    "row",
    [
        {"text": "It is 1", "messages": [{"content": "x"}]},
        {"text": "x", "messages": "abc"},
        {"text": 5, "messages": []},
        {"response": {"content": {"a": 1}}},
        {"repeat": 30_000_000, "response": "x"},
    ],
    ids="-".join,
)
def test_odd_answers_are_a_sentence_and_leave_nothing(gym: Gym, row):
    gym.write(rows=3)
    result = gym.run(write_answers(gym.path / "a.jsonl", {"task_id": "0000", **row}), "--gym-output=run")
    assert result.ret == pytest.ExitCode.USAGE_ERROR and "a.jsonl:1: " in result.stderr.str()
    assert not (gym.path / "run").exists()


def test_responses_need_a_benchmark_and_nobody_else(gym: Gym):
    gym.write(rows=2)
    word = write_answers(gym.path / "a.jsonl", {"task_id": "0000", "response": "x"})
    gym.run(word, benchmark=None).stderr.fnmatch_lines(["ERROR: --gym-responses=a.jsonl: answers to which benchmark?*"])
    gym.run(word, "--gym-demo").stderr.fnmatch_lines(["ERROR: --gym-responses=a.jsonl and --gym-demo exclude each other*"])


def test_what_cannot_begin_leaves_no_folder(gym: Gym):
    gym.write(rows=2)
    word = write_answers(gym.path / "a.jsonl", {"task_id": "0000", "response": "x"}, {"task_id": "no", "response": "x"})
    gym.run(word, "--gym-output=run")
    assert not (gym.path / "run").exists()


def test_an_overridden_rollout_is_not_resumed(gym: Gym, endpoint):
    """What a conftest made of the answers it would make of them again."""
    gym.write(rows=3)
    moody = Moody(1)
    conftest = gym.path / "conftest.py"
    override = "import pytest\n\n@pytest.fixture\ndef rollout(rollout):\n    return rollout\n"
    conftest.write_text(override)
    gym.run(url=endpoint(moody).url)
    before = gym.texts()
    moody.refused.clear()
    for text in (override, ""):
        conftest.write_text(text)
        result = gym.run("--gym-resume=run", benchmark=None)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert "--gym-resume=run: a conftest overrides the fixture 'rollout' in this run" in result.stderr.str()
    assert gym.texts() == before
    conftest.write_text("")
    gym.run("--gym-output=second", "--gym-model=m", f"--gym-base-url={endpoint(Moody(1)).url}")
    conftest.write_text(override)
    result = gym.run("--gym-resume=second", benchmark=None)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "the fixture 'rollout' is overridden by a conftest now, and was not then" in result.stdout.str()


def test_the_journal_of_a_run_that_was_killed_while_it_began_is_not_taken_over(gym: Gym, endpoint):
    gym.write(rows=3)
    (gym.path / "run/journal").mkdir(parents=True)
    (gym.path / "run/journal/rollouts.jsonl").write_text(
        '{"benchmark": "sums", "task_id": "0000", "repeat": 0, "rollout": {"text": "stale"}}\n'
    )
    server = endpoint(adder)
    result = gym.run(url=server.url)
    assert result.ret == pytest.ExitCode.USAGE_ERROR and not server.requests
    assert "holds the journal of a run that was killed while it began" in result.stderr.str()


def test_reverify_leaves_missing_what_was_never_answered(gym: Gym, endpoint):
    gym.write(rows=12)

    def script(body: dict[str, Any], number: int) -> Any:
        return (400, {"error": {"message": "no"}}) if any(f" {n}+1" in str(body) for n in (3, 4)) else adder(body, number)

    gym.run("--gym-set=client.stop_after_errors=2", "--gym-concurrency=1", url=endpoint(script).url)
    gym.run("--gym-reverify=run", "--gym-output=again", benchmark=None)
    rows = gym.results("again")
    assert all(row["passed"] is not False for row in rows) and sum(row["passed"] is True for row in rows) == 3
    assert gym.summary("again")["requests"] == 0
    resumed = gym.run("--gym-resume=run", benchmark=None)
    assert resumed.ret != 0 and gym.summary()["benchmarks"]["sums"]["errors"] == {"bad_request": 2}


def test_one_refusal_after_answers_is_the_case_s_own(gym: Gym, endpoint):
    gym.write(rows=8)

    def script(body: dict[str, Any], number: int) -> Any:
        return (403, {"error": {"message": "flagged by moderation"}}) if " 5+1" in str(body) else adder(body, number)

    gym.run("--gym-concurrency=1", url=endpoint(script).url).assert_outcomes(passed=7, errors=1)
    assert gym.summary()["benchmarks"]["sums"]["errors"] == {"auth": 1}


def test_nothing_selected_leaves_nothing(gym: Gym, endpoint):
    gym.write(rows=3)
    server = endpoint(adder)
    assert gym.run("-k", "nothing", url=server.url).ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert not (gym.path / "run").exists() and not server.requests


def test_an_empty_name_is_no_ordinary_run(gym: Gym):
    gym.write(rows=3)
    for option in ("resume", "reverify", "responses", "baseline"):
        result = gym.run(f"--gym-{option}=")
        assert result.ret == pytest.ExitCode.USAGE_ERROR and f"--gym-{option}: is empty" in result.stderr.str()


def test_answers_made_elsewhere_are_reverified(gym: Gym):
    gym.write(rows=3)
    answers = write_answers(gym.path / "a.jsonl", {"task_id": "0000", "response": "It is 1"}, {"task_id": "0000", "response": "It is 7"})
    gym.run(answers, "--gym-output=run")
    result = gym.run("--gym-reverify=run", "--gym-output=again", benchmark=None)
    result.assert_outcomes(passed=1, failed=1, skipped=4)
    assert "all 2 verdicts are as before" in result.stdout.str()
