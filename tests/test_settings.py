"""Settings: what each line may say, precedence, and the errors of misspelt ones."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gym.errors import ConfigError
from pytest_gym.records import Task
from pytest_gym.settings import SAMPLING_KEYS, SETTINGS, Settings, check_sampling, markdown, parse_assignments

from .samples import make_benchmark


def parsed(*lines):
    return parse_assignments(lines, "--gym-set")


def test_defaults():
    settings = Settings()
    assert settings.get("client.timeout") == 600
    assert settings.get("client.timeout.connect") == 10
    assert settings.get("client.timeout.first_byte") is None
    assert settings.get("client.max_retries") == 5
    assert settings.get("client.stop_after_errors") == 20
    assert settings.get("sampling.temperature") is None
    assert settings.get("outcomes.context_length") == "missing"


def test_values_are_json_or_text_and_typed():
    settings = parsed(
        "sampling.temperature=1", "sampling.max_tokens = 64", "sampling.stop=[\"a\", \"b\"]", "data.cache=/tmp/x y=z", "client.timeout=2.5",
        "sampling.extra_body.top_k=20", "sampling.extra_body.chat_template_kwargs.enable_thinking=false", "wrong_answers=xfail",
    )  # fmt: skip
    assert settings.to_json() == {
        "sampling.temperature": 1.0,
        "sampling.max_tokens": 64,
        "sampling.stop": ["a", "b"],
        "data.cache": "/tmp/x y=z",
        "client.timeout": 2.5,
        "sampling.extra_body.top_k": 20,
        "sampling.extra_body.chat_template_kwargs.enable_thinking": False,
        "wrong_answers": "xfail",
    }
    assert isinstance(settings.get("sampling.temperature"), float)


def test_what_looks_like_a_number_is_text_where_text_is_wanted():
    assert parsed("data.cache=2024", "sampling.stop={}").to_json() == {"data.cache": "2024", "sampling.stop": "{}"}
    assert parsed("gsm8k.verifier.field=answer").to_json() == {"gsm8k.verifier.field": "answer"}


def test_a_later_assignment_wins():
    assert parsed("client.max_retries=1", "client.max_retries=2").get("client.max_retries") == 2


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("sampling.temprature=1", "there is no setting 'sampling.temprature'; did you mean 'sampling.temperature'"),
        ("temperature=1", "there is no setting 'temperature'"),
        ("sampling.temperature", "'sampling.temperature' is not NAME=VALUE"),
        ("=1", "is not NAME=VALUE"),
        ("sampling.temperature=warm", "sampling.temperature must be a number of at least 0, not 'warm'"),
        ("sampling.temperature=-1", "must be a number of at least 0, not -1"),
        ("sampling.temperature=true", "must be a number of at least 0, not True"),
        ("sampling.temperature=NaN", "must be a number of at least 0, not 'NaN'"),
        ("sampling.temperature=1e999", "must be a number of at least 0, not inf"),
        ("sampling.top_p=0", "must be a number above 0 and of at most 1"),
        ("sampling.top_p=1.5", "must be a number above 0 and of at most 1"),
        ("sampling.max_tokens=0", "must be a whole number of at least 1"),
        ("sampling.max_tokens=12.5", "must be a whole number of at least 1"),
        ("sampling.seed=null ", None),
        ("client.timeout=null", "client.timeout must be a number above 0"),
        ("sampling.stop=[1]", "must be a text or a list of texts"),
        ("wrong_answers=xfial", "must be 'fail' or 'xfail', not 'xfial'; did you mean 'xfail'"),
        ("outcomes.context_length=0", "must be 'missing' or 'wrong', not '0'"),
        ("gsm8k.num_repeats=0", "gsm8k.num_repeats must be a whole number of at least 1"),
        ("gsm8k.sampling.temperatur=0", "there is no setting 'sampling.temperatur'; did you mean 'sampling.temperature'"),
        ("gsm8k/cot.sampling.temperature=x", "gsm8k/cot.sampling.temperature must be a number"),
        ("gsm8k.prompt=x", "there is no setting 'gsm8k.prompt'"),
    ],
)
def test_wrong_lines(line, sentence):
    if sentence is None:
        assert parsed(line).to_json() == {"sampling.seed": None}
        return
    with pytest.raises(ConfigError) as caught:
        parsed(line)
    assert str(caught.value).startswith("--gym-set: ")
    assert sentence in str(caught.value)


def test_config_then_shared_then_own():
    benchmark = make_benchmark(
        sampling={"temperature": 0.0, "max_tokens": 10, "seed": 1, "extra_body": {"top_k": 1}}, verifier_options={"field": "answer"}
    )
    settings = parsed(
        "bench.sampling.temperature=0.9", "sampling.temperature=0.5", "sampling.seed=null", "sampling.extra_body.min_p=0.1",
        "bench.verifier.tolerance=1e-4", "bench.num_repeats=4", "other.num_repeats=9",
    )  # fmt: skip
    changed = settings.for_benchmark(benchmark)
    assert changed.sampling == {"temperature": 0.9, "max_tokens": 10, "extra_body": {"top_k": 1, "min_p": 0.1}}
    assert changed.verifier_options == {"field": "answer", "tolerance": 1e-4}
    assert changed.dataset().num_repeats == 4
    assert benchmark.sampling["extra_body"] == {"top_k": 1}, "the original stays as it was"
    assert Settings().for_benchmark(benchmark) is benchmark


def test_prompt_harness_and_metric():
    settings = parsed(
        "bench.prompt_config.system=Be brief.", "bench.prompt_config.user={question}!", "bench.harness=mine", "bench.metric.headline=wer",
        "bench.metric.direction=lower", "bench.metric.pass_threshold=5", "bench.metric.range=[0, 10]", "bench.subset=kind",
    )  # fmt: skip
    changed = settings.for_benchmark(make_benchmark())
    assert (changed.prompt.system, changed.prompt.user, changed.prompt.source) == ("Be brief.", "{question}!", "p.yaml")
    assert changed.prompt.fields == {"question"}
    assert (changed.harness, changed.metric.headline, changed.metric.direction, changed.metric.pass_threshold) == (
        "mine",
        "wer",
        "lower",
        5.0,
    )
    assert (changed.metric.low, changed.metric.high, changed.subset, changed.cluster) == (0.0, 10.0, "kind", None)
    assert changed.prompt.render(Task("a", 0, "bench", {"question": "why"}))[1].content == "why!"
    moved = parsed("bench.prompt_config.user=null", "bench.prompt_config.field=chat").for_benchmark(make_benchmark())
    assert (moved.prompt.user, moved.prompt.field) == (None, "chat")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("bench.prompt_config.user=null", "setting bench.prompt_config.user: leaves nothing to ask"),
        ("bench.prompt_config.user={a.b}", "setting bench.prompt_config.user: prompt 'user', line 1: '{a.b}' is not a field name"),
        ("bench.metric.pass_threshold=2", r"setting bench.metric.pass_threshold: 2 is outside the metric's range [0, 1]"),
        ("bench.metric.direction=up", "bench.metric.direction must be 'higher' or 'lower', not 'up'"),
        ("bench.metric.range=[1, 0]", "bench.metric.range must be two numbers, the lower first, as [0, 1], not [1, 0]"),
        ("bench.metric.range=null", "bench.metric.range must be two numbers"),
        ("bench.harness=null", "bench.harness must be a text, not None"),
    ],
)
def test_a_wrong_prompt_harness_or_metric(line, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        parsed(line).for_benchmark(make_benchmark())


def test_what_moves_scores_is_shown_in_short():
    settings = parsed("client.timeout=3", "a.verifier.tolerance=1e-4", "a.prompt_config.user=" + "x" * 90)
    assert settings.moving() == ["a.verifier.tolerance=0.0001", 'a.prompt_config.user="' + "x" * 55 + "..."]


def test_names_with_dots_and_slashes_keep_apart():
    settings = parsed("a.b.num_repeats=2", "a.num_repeats=3", "a/x.num_repeats=5")
    for name, repeats in (("a.b", 2), ("a", 3), ("a/x", 5), ("b", 1)):
        assert settings.for_benchmark(make_benchmark(name)).dataset().num_repeats == repeats


def test_settings_for_a_benchmark_that_is_not_in_the_run():
    settings = parsed("gsm8k.verifier.tolerance=1", "sampling.extra_body.verifier.x=1")
    settings.check_benchmarks(["gsm8k", "aime24"])
    with pytest.raises(
        ConfigError, match=r"setting gsm8k\.verifier\.tolerance: the run has no benchmark 'gsm8k'; did you mean 'gsm8k/cot'"
    ):
        settings.check_benchmarks(["gsm8k/cot"])


def test_an_error_about_options_can_name_the_settings_behind_it():
    benchmark = make_benchmark()
    assert Settings().place(benchmark) == f"{benchmark.path}:{benchmark.line}"
    assert parsed("bench.verifier.x=1").place(benchmark).endswith(f":{benchmark.line} with bench.verifier.x set")


def test_json_round_trip():
    settings = parsed("sampling.temperature=0.7", "gsm8k.verifier.tolerance=1e-4")
    assert Settings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_unknown_name_is_an_error_also_when_read():
    with pytest.raises(ConfigError, match=r"no setting 'client\.retries'; did you mean 'client\.max_retries'"):
        Settings().get("client.retries")


def test_sampling_of_a_config():
    where = "c.yaml:{}".format
    assert check_sampling({"temperature": 1, "seed": None, "extra_body": {"a": 1}}, where) == {"temperature": 1.0, "extra_body": {"a": 1}}
    with pytest.raises(ConfigError, match=r"^c\.yaml:temperatur: sampling has no key 'temperatur'; did you mean 'temperature'"):
        check_sampling({"temperatur": 1}, where)
    with pytest.raises(ConfigError, match=r"top_k.*other keys of the request go below extra_body"):
        check_sampling({"top_k": 1}, where)
    with pytest.raises(ConfigError, match=r"^c\.yaml:top_p: sampling\.top_p must be"):
        check_sampling({"top_p": 2}, where)
    with pytest.raises(ConfigError, match="extra_body must be a mapping"):
        check_sampling({"extra_body": [1]}, where)


def test_the_table_is_printed_whole():
    text = markdown()
    for setting in SETTINGS:
        assert f"| `{setting.name}` |" in text
    assert "`<benchmark>.verifier.*`" in text
    assert {len(line.split(" | ")) for line in text.splitlines()[2:]} == {5}
    own = ("response_format", "logprobs", "top_logprobs", "tool_choice", "parallel_tool_calls", "stream")
    assert SAMPLING_KEYS == ("temperature", "top_p", "max_tokens", "seed", "stop", *own, "extra_body")


@given(st.text(alphabet='abgsm8k.=sampling/ver{}[]1-"', max_size=40))
def test_any_line_is_a_setting_or_one_sentence(line):
    try:
        settings = parsed(line)
    except ConfigError as error:
        assert str(error).startswith("--gym-set: ")
    else:
        assert len(settings.to_json()) == 1
