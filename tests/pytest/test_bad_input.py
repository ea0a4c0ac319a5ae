"""Whatever a user, a file, a verifier or a server gets wrong ends in one sentence, the right exit code, and nothing lost."""

from __future__ import annotations

import json
import re
import socket

import pytest

from tests.conftest import Gym, adder
from tests.endpoint import chat


def refused(result: pytest.RunResult, code: int, *parts: str) -> str:
    """The one line that says what is wrong; all `parts` stand in it, and there is no traceback."""
    text = result.stdout.str() + result.stderr.str()
    assert result.ret == code, text
    assert "Traceback" not in text and "INTERNALERROR" not in text, text
    lines = [line for line in text.splitlines() if all(part in line for part in parts)]
    assert lines, f"no line with {parts} in:\n{text}"
    return lines[0]


@pytest.mark.parametrize(
    "words, parts",
    [
        (["--gym-benchmark=suns"], ["suns", "did you mean 'sums'?"]),
        (["--gym-benchmark=zzzzzz"], ["zzzzzz", "--gym-list"]),
        (["--gym-benchmark=x*y"], ["x*y"]),
        (["--gym-benchmark=sums,"], ["--gym-benchmark", "empty name"]),
        (["--gym-json"], ["--gym-json", "summary.json"]),
        (["--gym-repeats=0"], ["--gym-repeats", "'0'"]),
        (["--gym-repeats=two"], ["--gym-repeats", "'two'"]),
        (["--gym-concurrency=-1"], ["--gym-concurrency"]),
        (["--gym-limit=ten"], ["--gym-limit=ten", "N@SEED"]),
        (["--gym-limit=5@x"], ["--gym-limit=5@x"]),
        (["--gym-api=grpc"], ["--gym-api", "chat"]),
        (["--gym-base-url=localhost:8000"], ["--gym-base-url", "http://"]),
        (["--gym-base-url=http://user:pw@127.0.0.1/v1"], ["--gym-base-url", "GYM_API_KEY"]),
        (["--gym-split=tests"], ["config.yaml:2", "tests", "benchmark"]),
        (["--gym-set=sampling.temprature=1"], ["sampling.temprature", "sampling.temperature"]),
        (["--gym-set=sampling.temperature=hot"], ["sampling.temperature", "'hot'"]),
        (["--gym-set=sampling.temperature"], ["NAME=VALUE"]),
        (["--gym-set=suns.verifier.field=answer"], ["suns"]),
        (["--gym-set=sums.verifier.feld=answer"], ["ends_with", "feld", "'field'"]),
        (["--gym-set=sums.verifier.field=3"], ["ends_with", "field", "str", "3"]),
        (["--gym-path=nowhere"], ["--gym-path=nowhere"]),
        (["--gym-show-failures=some"], ["--gym-show-failures=some"]),
        (["--gym-demo"], ["--gym-demo", "--gym-model"]),
        (["sums::0009-r0"], ["sums", "0009-r0", "0000-r0"]),
        (["sums::0001-r7"], ["0001-r7", "0001-r0"]),
    ],
)
def test_options(gym: Gym, how, words, parts):
    gym.write(rows=3)
    given = ["--gym-model=m", "--gym-base-url=http://127.0.0.1:9/v1", *words, *how]
    if not any(word.startswith(("--gym-benchmark", "sums::")) for word in words):
        given.insert(0, "--gym-benchmark=sums")
    assert "_pytest" not in refused(gym.pytester.runpytest(*given), 4, *parts)
    assert not (gym.path / "gym-results").exists()


def test_nobody_to_ask(gym: Gym):
    gym.write()
    refused(gym.run(), 4, "--gym-model=NAME", "--gym-demo")
    refused(gym.run("--gym-model=m"), 4, "--gym-base-url=URL", "--gym-demo")


@pytest.mark.parametrize(
    "old, new, parts",
    [
        ("domain: math", "domian: math", [":4:", "domian", "domain"]),
        ("domain: math", "domain: maths", [":4:", "maths", "math"]),
        ("  verifier: ends_with", "  verifier: end_with", ["end_with", "ends_with"]),
        ("  verifier: ends_with", "  verifier: {name: ends_with, fild: a}", ["fild", "'field'"]),
        ("  subset: kind", "  harness: single_tern", ["single_tern", "'single_turn'"]),
        ("  subset: kind", "  subset: [kind", [":10:", "line 9"]),
        ("temperature: 0.5", "temprature: 0.5", [":8:", "temprature", "temperature"]),
        ("max_tokens: 100", "max_tokens: lots", [":8:", "max_tokens", "lots"]),
        ("      path: sums.jsonl\n", "", ["path"]),
        ("path: sums.jsonl", "path: nothing.jsonl", ["nothing.jsonl"]),
        ("What is {question}?", "What is {qestion}?", ["qestion"]),
        ("What is {question}?", "What is {question", [":6"]),
        ("num_repeats: 1", "num_repeats: 0", ["num_repeats", "0"]),
    ],
)
def test_configs(gym: Gym, old, new, parts):
    gym.write(rows=3)
    path = gym.path / "benchmarks" / "sums" / "config.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    refused(gym.run(url="http://127.0.0.1:9/v1"), 4, *parts)


@pytest.mark.parametrize(
    "line, parts",
    [
        ('{"answer": "1", "kind": "odd"}', ["sums", "2", "question"]),
        ('{"question": "1+1", "answer": 2', ["sums.jsonl:2"]),
        ("[1, 2]", ["sums.jsonl:2"]),
        ('{"id": "0000", "question": "1+1", "answer": "2", "kind": "odd"}', ["0000", "1", "2"]),
    ],
)
def test_rows(gym: Gym, how, line, parts):
    gym.write(rows=3)
    path = gym.path / "benchmarks" / "sums" / "sums.jsonl"
    lines = path.read_text().splitlines()
    lines[0] = json.dumps({"id": "0000", **json.loads(lines[0])})
    lines[1] = line
    path.write_text("\n".join(lines) + "\n")
    refused(gym.run(*how, url="http://127.0.0.1:9/v1"), 4, *parts)


def test_a_row_without_what_the_verifier_needs_is_the_error_of_its_case(gym: Gym, endpoint, how):
    gym.write(rows=3)
    path = gym.path / "benchmarks" / "sums" / "sums.jsonl"
    lines = path.read_text().splitlines()
    lines[1] = '{"question": "1+1", "kind": "odd"}'
    path.write_text("\n".join(lines) + "\n")
    result = gym.run(*how, url=endpoint(adder).url)
    result.assert_outcomes(passed=2, errors=1)
    refused(result, 1, "data:", "row 2", "'answer'")
    assert gym.summary()["benchmarks"]["sums"]["errors"] == {"data": 1}


def test_nothing_listens(gym: Gym, how):
    gym.write(rows=50)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    refused(gym.run(*how, url=f"http://127.0.0.1:{port}/v1"), 2, "nothing listens", str(port), "--gym-base-url")
    assert not (gym.path / "run").exists()


@pytest.mark.parametrize(
    ("status", "kind", "how"),
    [(401, "auth", ()), (401, "auth", ("-n2",)), (403, "auth", ()), (404, "not_found", ())],
    ids=["401", "401-n2", "403", "404"],
)
def test_what_would_repeat_for_every_case_stops_the_run(gym: Gym, endpoint, monkeypatch, status, kind, how):
    monkeypatch.setenv("GYM_API_KEY", "sk-very-secret-1234567890")
    gym.write(rows=200)
    body = {"error": {"message": f"no: sk-very-secret-1234567890 and model m ({status})"}}
    # A 403 after answers may be about one prompt alone.
    first = 0 if status == 403 else 3
    server = endpoint(lambda request, number: (status, body) if number > first else adder(request, number))
    result = gym.run(*how, "--gym-concurrency=2", url=server.url)
    line = refused(result, 2, f"answered {status}", server.url)
    assert "GYM_API_KEY" in line or "--gym-model" in line
    assert len(server.requests) <= 8
    everything = result.stdout.str() + result.stderr.str() + "".join(gym.texts().values())
    assert "very-secret" not in everything
    assert server.headers[0]["authorization"] == "Bearer sk-very-secret-1234567890"
    rows = gym.results()
    assert sum(row["passed"] is True for row in rows) <= 3 and any(row["error"] and row["error"]["kind"] == kind for row in rows)
    assert result.parseoutcomes().get("errors", 0) >= 1


@pytest.mark.parametrize(
    "reply, kind, words",
    [
        ((200, b"<html>hello</html>"), "bad_reply", "not JSON"),
        ((200, {"object": "list"}), "bad_reply", "choices"),
        ((200, {"choices": []}), "bad_reply", "choices"),
        ((200, {"choices": [{"text": "x"}]}), "bad_reply", "message"),
        ((200, b"[" * 100_000), "bad_reply", "nested"),
        ((500, {"error": "boom"}), "server", "boom"),
        ((503, {"error": {"message": "overloaded"}}), "server", "overloaded"),
        ((429, {"error": {"message": "slow down"}}), "rate_limit", "slow down"),
        ((400, {"error": {"message": "bad field"}}), "bad_request", "bad field"),
        ((400, {"error": {"message": "maximum context length is 10"}}), "context_length", "context length"),
        ((200, chat("x", finish="content_filter")[1]), "content_filter", "content_filter=wrong"),
    ],
)
def test_a_reply_that_cannot_be_judged_is_an_error_of_its_case(gym: Gym, endpoint, reply, kind, words):
    gym.write(rows=4)
    server = endpoint(lambda body, number: reply if "1+1" in body["messages"][0]["content"] else adder(body, number))
    result = gym.run("--gym-set=client.max_retries=0", "--gym-set=client.rate_limit_wait=0", url=server.url)
    result.assert_outcomes(passed=3, errors=1)
    line = refused(result, 1, f"{kind}:", words)
    assert len(line) < 500
    entry = gym.summary()["benchmarks"]["sums"]
    assert entry["errors"] == {kind: 1} and entry["missing"] == 1
    assert entry["metrics"]["pass@1"]["value"] == 1.0
    [row] = [row for row in gym.results() if row["error"]]
    assert row["error"]["kind"] == kind and row["passed"] is None and row["reward"] is None


def test_errors_that_pass_are_tried_again(gym: Gym, endpoint, how):
    gym.write(rows=6)
    seen: dict[str, int] = {}

    def flaky(body, number):
        question = body["messages"][0]["content"]
        seen[question] = seen.get(question, 0) + 1
        return adder(body, number) if seen[question] > 1 else (503, {"error": "busy"}, {"retry-after": "0"})

    gym.run(*how, url=endpoint(flaky).url).assert_outcomes(passed=6)
    assert {row["attempts"] for row in gym.results()} == {2}


def test_a_burst_of_errors_stops(gym: Gym, endpoint, how):
    gym.write(rows=200)
    server = endpoint(lambda body, number: (500, {"error": "boom"}))
    result = gym.run(*how, "--gym-set=client.max_retries=0", "--gym-concurrency=4", url=server.url)
    refused(result, 2, "20 cases in a row", "client.stop_after_errors", "boom")
    assert len(server.requests) < 40


def test_empty_and_cut_answers_are_judged(gym: Gym, endpoint, how):
    gym.write(rows=4)
    replies = {"0+1": chat(None), "1+1": chat(""), "2+1": chat("It is", finish="length")}
    server = endpoint(lambda body, number: replies.get(body["messages"][0]["content"][8:-1]) or adder(body, number))
    gym.run(*how, url=server.url).assert_outcomes(passed=1, failed=3)
    entry = gym.summary()["benchmarks"]["sums"]
    assert entry["missing"] == 0 and entry["errors"] == {}
    assert entry["rates"]["empty"] == 0.5 and entry["rates"]["truncated"] == 0.25


def test_a_verifier_that_raises_is_an_error_and_never_a_zero(gym: Gym, endpoint, how):
    gym.write(rows=3)
    path = gym.path / "verifiers" / "ends_with.py"
    raising = "    if task['question'] == '1+1': raise ValueError('odd \\x1b[31m text')\n"
    path.write_text(path.read_text().replace("    words =", raising + "    words ="))
    result = gym.run(*how, url=endpoint(adder).url)
    result.assert_outcomes(passed=2, errors=1)
    line = refused(result, 1, "verifier:", "ends_with", "ValueError: odd", "'0001'", "ends_with.py:")
    assert "\x1b[31m" not in line
    entry = gym.summary()["benchmarks"]["sums"]
    assert entry["errors"] == {"verifier": 1} and entry["metrics"]["pass@1"]["value"] == 1.0


@pytest.mark.parametrize(
    "returned, words",
    [
        ("Verdict(2.0)", "2.0"),
        ("Verdict(float('nan'))", "nan"),
        ("True", "bool"),
        ("Verdict('good')", "not a number"),
        ("Verdict(1.0, scores={'x': float('inf')})", "inf"),
    ],
)
def test_a_verdict_that_is_none(gym: Gym, endpoint, returned, words):
    gym.write(rows=2)
    path = gym.path / "verifiers" / "ends_with.py"
    path.write_text(re.sub(r"return Verdict\(float.*", f"return {returned}", path.read_text()))
    result = gym.run(url=endpoint(adder).url)
    result.assert_outcomes(errors=2)
    refused(result, 1, "verifier:", "ends_with", words)


@pytest.mark.parametrize(
    "source, words",
    [
        ("def oops(:\n", ["ends_with.py:1", "SyntaxError"]),
        ("import not_there_at_all\n", ["ends_with.py:1", "not_there_at_all"]),
        ("x = 1\n", ["ends_with.py", "@verifier"]),
    ],
)
def test_a_verifier_file_that_cannot_be_used(gym: Gym, source, words):
    gym.write(rows=2)
    (gym.path / "verifiers" / "ends_with.py").write_text(source)
    refused(gym.run(url="http://127.0.0.1:9/v1"), 4, *words)


def test_run_folder_is_not_overwritten(gym: Gym, endpoint):
    gym.write(rows=2)
    server = endpoint(adder)
    gym.run(url=server.url)
    refused(gym.run(url=server.url), 4, "--gym-output", "holds a run already")


def test_hostile_text_reaches_no_terminal(gym: Gym, endpoint, how):
    gym.write(rows=2)
    text = "\x1b[31mred\x00 \ud800 \u202e end"
    server = endpoint(lambda body, number: chat(text))
    result = gym.run(*how, url=server.url)
    result.assert_outcomes(failed=2)
    shown = result.stdout.str()
    assert "\x1b[31m" not in shown and "\x00" not in shown and "\u202e" not in shown
    assert gym.results()[0]["text"] == text


@pytest.mark.parametrize("words, part", [(["--dist=each", "-n2"], "--dist=each"), (["--tx=ssh=somewhere", "--dist=load"], "--tx=ssh")])
def test_distribution_that_cannot_work(gym: Gym, words, part):
    gym.write(rows=2)
    refused(gym.run(*words, url="http://127.0.0.1:9/v1"), 4, part)


def test_a_refused_key_with_many_workers(gym: Gym, endpoint):
    gym.write(rows=60)
    server = endpoint(lambda body, number: (401, {"error": "no"}))
    refused(gym.run("-n3", "--gym-concurrency=2", url=server.url), 2, "answered 401", "GYM_API_KEY")


def test_a_key_in_the_url_is_kept_nowhere(gym: Gym, endpoint):
    gym.write(rows=2)
    result = gym.run(url=endpoint(adder).url + "?api-key=QSECRET")
    result.assert_outcomes(passed=2)
    everything = result.stdout.str() + "".join(gym.texts().values())
    assert "QSECRET" not in everything


@pytest.mark.parametrize(
    "reply",
    [
        (200, b"not gzip", {"content-encoding": "gzip"}),
        (200, {"choices": [{"message": {"content": "x", "tool_calls": 5}}]}),
    ],
)
def test_replies_of_unknown_form_are_bad_replies_and_stop_in_a_burst(gym: Gym, endpoint, reply):
    gym.write(rows=60)
    result = gym.run("--gym-set=client.max_retries=0", "--gym-concurrency=2", url=endpoint(lambda body, number: reply).url)
    refused(result, 2, "20 cases in a row")
    assert set(gym.summary()["benchmarks"]["sums"]["errors"]) == {"bad_reply"}


@pytest.mark.parametrize(
    "words, parts", [(["--gym-output=" + "x" * 300], ["run folder"]), (["--gym-base-url=http://a..b/v1"], ["nothing listens"])]
)
def test_odd_places(gym: Gym, endpoint, words, parts):
    gym.write(rows=2)
    given = ["--gym-model=m", f"--gym-base-url={endpoint(adder).url}", *words]
    result = gym.run(*given)
    refused(result, result.ret, *parts)
    assert result.ret in (2, 4)


READY = """

@ends_with.ready
def ready(task, files, *, field="answer"):
    if not (files / "tables" / task[field]).is_file():
        raise DataError(f"row {task.index + 1}: there is no table {task[field]!r}")
"""


def test_what_a_verifier_misses_is_said_before_anything_is_asked(gym: Gym, endpoint):
    gym.write(rows=3)
    path = gym.path / "verifiers/ends_with.py"
    path.write_text(path.read_text().replace("import ", "import DataError, ", 1) + READY)
    server, tables = endpoint(adder), gym.path / "benchmarks/sums/tables"
    tables.mkdir()
    for name in ("1", "2"):
        (tables / name).touch()
    refused(gym.run(url=server.url), 4, "row 3: there is no table '3'")
    assert not server.requests and not (gym.path / "run").exists()
    assert gym.run("--gym-limit=2", url=server.url).ret == 0
    path.write_text(path.read_text().replace("    if not", "    1 / 0\n    if not"))
    refused(gym.run("--gym-output=two", url=server.url), 4, "the look beforehand of verifier 'ends_with' raised ZeroDivisionError")


def test_an_overridden_verdict_is_refused(gym: Gym, endpoint, how):
    gym.write(rows=4)
    gym.pytester.makeconftest("import pytest\n@pytest.fixture\ndef verdict(task, rollout): return None")
    server = endpoint(adder)
    refused(gym.run(*how, url=server.url), 2, "override 'verifier' instead")
    assert not server.requests


def test_ordinary_folders_named_benchmarks_are_left_alone(gym: Gym, monkeypatch):
    monkeypatch.setenv("GYM_LIMIT", "abc")
    folder = gym.path / "benchmarks" / "perf"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("jobs: 3\n")
    (folder / "test_perf.py").write_text("def test_perf(): pass\n")
    monkeypatch.delenv("GYM_LIMIT")
    gym.pytester.runpytest("benchmarks/perf").assert_outcomes(passed=1)
    monkeypatch.setenv("GYM_LIMIT", "abc")
    gym.pytester.runpytest("benchmarks/perf/test_perf.py::test_perf").assert_outcomes(passed=1)
