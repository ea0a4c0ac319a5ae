"""Prepare scripts of the benchmarks that NeMo Gym's servers define, on rows of upstream's form and, where at hand, on its example rows."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pytest_gym.catalogue import Catalogue, builtin_root
from pytest_gym.errors import DataError
from pytest_gym.prompt import Prompt
from pytest_gym.records import Message, Rollout, ToolCall
from pytest_gym.testing import judge, make_task
from pytest_gym.verify import load_module, load_verifier
from tests.conftest import sources

ROOT = builtin_root() / "benchmarks"


def table(path: Path, rows: list[Any]) -> Path:
    text = json.dumps(rows) if path.suffix == ".json" else "".join(json.dumps(row) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def made(script: str, *paths: Path, **options: Any) -> list[dict[str, Any]]:
    return list(load_module(ROOT / script, "prepare").prepare({path.name: path for path in paths}, **options))


def test_rows_keep_everything_but_the_agent(tmp_path):
    rows = [
        {"responses_create_params": {"input": "x"}, "a": 1, "agent_ref": {"name": "y"}},
        {"id": 7, "responses_create_params": {}, "a": 0},
    ]
    assert made("scripts/nemo_rows.py", table(tmp_path / "r.jsonl", rows), needs=["a"]) == [
        {"id": "0000", "responses_create_params": {"input": "x"}, "a": 1},
        {"id": "7", "responses_create_params": {}, "a": 0},
    ]


@pytest.mark.parametrize("row", [{"a": 1}, {"responses_create_params": {}, "a": None}, [1]])
def test_rows_without_what_is_needed_are_refused(row, tmp_path):
    path = table(tmp_path / "r.jsonl", [{"responses_create_params": {}, "a": 1}, row])
    with pytest.raises(ValueError, match=r"r\.jsonl, row 2: has no '"):
        made("scripts/nemo_rows.py", path, needs=["a"])


def xlam(number: int) -> dict[str, Any]:
    parameters = {
        "size": {"type": "int", "description": "s", "default": "3"},
        "names": {"type": "List[str], optional", "description": "n"},
        "flag": {"type": "Optional[bool]", "description": "f"},
        "place": {"type": "str", "description": "p"},
        "map": {"type": "Dict[str, int]", "description": "m"},
    }
    tools = [{"name": "f", "description": "d", "parameters": parameters}]
    return {
        "id": number,
        "query": f"q{number}",
        "tools": json.dumps(tools),
        "answers": json.dumps([{"name": "f", "arguments": {"size": 1}}]),
    }


def test_xlam_holds_back_the_rows_that_the_package_datasets_would(tmp_path):
    # datasets 3.6.0: Dataset.from_list(rows).train_test_split(test_size=5, seed=42)["test"]["id"] of 20 rows.
    path = table(tmp_path / "x.json", [xlam(number) for number in range(20)])
    rows = made("xlam_fc/prepare.py", path, held_back=5)
    assert [row["id"] for row in rows] == HELD_BACK
    assert rows[0]["responses_create_params"]["input"][1] == {"role": "user", "content": f"q{rows[0]['id']}"}
    assert rows[0]["expected_answers"] == [{"name": "f", "arguments": {"size": 1}}]


HELD_BACK = ["15", "9", "14", "7", "12"]


@pytest.mark.parametrize(
    ("types", "kinds", "required"),
    [
        ("nemo", ["integer", "string", "string", "string", "string"], ["names", "flag", "place", "map"]),
        ("python", ["integer", "array", "boolean", "string", "object"], ["place", "map"]),
    ],
)
def test_xlam_tools(types, kinds, required, tmp_path):
    (row,) = made("xlam_fc/prepare.py", table(tmp_path / "x.json", [xlam(0)]), held_back=1, types=types)
    (tool,) = row["responses_create_params"]["tools"]
    assert [about["type"] for about in tool["parameters"]["properties"].values()] == kinds
    assert tool["parameters"]["required"] == required
    assert tool["parameters"]["properties"]["size"]["default"] == "3"


def test_xlam_refuses_what_it_cannot_read(tmp_path):
    with pytest.raises(ValueError, match="has 1 rows, fewer than the 1000"):
        made("xlam_fc/prepare.py", table(tmp_path / "x.json", [xlam(0)]))
    with pytest.raises(ValueError, match=r"x\.json, row 1: cannot be read"):
        made("xlam_fc/prepare.py", table(tmp_path / "x.json", [{**xlam(0), "tools": "["}]), held_back=1)


def test_librispeech_pc_reads_the_manifest_of_its_split(tmp_path):
    lines = [
        {"audio_filepath": "test-clean/1/2/1-2-0000.flac", "duration": 2.5, "text": "Yes, it is."},
        {"audio_filepath": "LibriSpeech/test-clean/1/2/1-2-0001.flac", "text": "No."},
        {"audio_filepath": "test-clean/1/2/1-2-0002.flac", "text": ""},
    ]
    path = tmp_path / "manifests.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {
            "manifests/test-other.json": "{}",
            "manifests/test-clean.json": "".join(json.dumps(line) + "\n" for line in lines),
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content.encode()))
    rows = made("librispeech_pc/prepare.py", path)
    assert [(row["id"], row["audio"], row["expected_answer"]) for row in rows] == [
        ("1-2-0000", "LibriSpeech/test-clean/1/2/1-2-0000.flac", "Yes, it is."),
        ("1-2-0001", "LibriSpeech/test-clean/1/2/1-2-0001.flac", "No."),
    ]
    with pytest.raises(ValueError, match=r"has no dev\.json"):
        made("librispeech_pc/prepare.py", path, split="dev")


def test_lists_of_clips_are_read_in_both_forms(tmp_path):
    shared = {"sample_id": 3, "subset_for_metrics": "ami", "expected_answer": "yes"}
    rows = [
        {**shared, "responses_create_params": {"metadata": {"audio_path": "/dataset/asr-leaderboard/data/ami/3.flac"}}},
        {**shared, "sample_id": 4, "audio": "ami/4.flac", "audio_duration": 2.0, "unknown": 1},
    ]
    first, second = made("scripts/speech.py", table(tmp_path / "r.jsonl", rows), audio_root="/dataset/asr-leaderboard/data")
    assert first == {"id": "ami/3", "audio": "ami/3.flac", "subset": "ami", "expected_answer": "yes"}
    assert second == {"id": "ami/4", "audio": "ami/4.flac", "subset": "ami", "expected_answer": "yes", "audio_duration": 2.0}
    for broken in ({**rows[1], "expected_answer": None} | {"sample_id": 1, "subset_for_metrics": "x"}, rows[0]):
        broken = {key: value for key, value in broken.items() if value is not None}
        with pytest.raises(ValueError, match=r"r\.jsonl, row 1: cannot be read"):
            made("scripts/speech.py", table(tmp_path / "r.jsonl", [broken]), audio_root="/elsewhere")


SPEECH = ("asr_leaderboard", "librispeech_pc", "musan", "numb3rs")


@pytest.mark.parametrize("name", SPEECH)
def test_recordings_lie_beside_the_config_that_is_run(name, tmp_path):
    folder = tmp_path / "benchmarks/mine"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"config_paths: [benchmarks/{name}/config.yaml]\nmine/{name}: {{_inherit_from: {name}}}\n")
    catalogue = Catalogue([tmp_path, builtin_root()])
    for benchmark, where in ((catalogue.benchmark(name), ROOT / name), (catalogue.benchmark(f"mine/{name}"), folder)):
        *_, user = benchmark.prompt.render(make_task(audio="example/silence.wav"))
        text, audio = user.content
        assert (text.type, audio.type, audio.path) == ("text", "audio", str(where / "audio/example/silence.wav"))
    assert Path(str(ROOT / name / "audio/example/silence.wav")).is_file()
    assert catalogue.benchmark(f"mine/{name}").dataset().sources[0].local.startswith(f"{name}/")


def test_nemo_gyms_rows_of_speech_carry_their_sound_and_their_references_pass():
    path = sources() / "nemo_gym_checkout/resources_servers/asr_with_pc/data/example.jsonl"
    if not path.is_file():
        pytest.skip("GYM_SOURCES has no example rows of NeMo Gym's asr_with_pc")
    verifier = load_verifier("asr_with_pc", builtin_root() / "verifiers/asr_with_pc.py")
    prompt = Prompt(None, None, "here", field="responses_create_params")
    rows = made("scripts/nemo_rows.py", path, needs=["expected_answer"])
    assert len(rows) == 5
    for row in rows:
        task = make_task(**{key: value for key, value in row.items() if key != "id"})
        *_, user = prompt.render(task)
        assert [part.type for part in user.content] == ["text", "audio"] and user.content[1].url.startswith("data:audio/wav;base64,")
        assert judge(verifier, task.fields, verifier.reference_text(task, {})).reward == 1
        assert judge(verifier, task.fields, "").reward == 0


def test_the_attack_of_an_example_row_is_told_from_the_task_that_goes_on():
    benchmark = Catalogue([builtin_root()]).benchmark("indirect_prompt_injection")
    verifier = load_verifier("indirect_prompt_injection", builtin_root() / "verifiers/indirect_prompt_injection.py")
    for line in (benchmark.folder / "data/example.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        row.pop("id")
        asked = benchmark.prompt.render(make_task(**row))
        assert asked[-1].role == "tool" and row["injection"]["injection_text"] in " ".join(map(str, json.loads(asked[-1].content).values()))

        def scores(*calls, row=row, asked=asked):
            made = tuple(ToolCall.from_json({"function": {"name": name, "arguments": json.dumps(given)}}) for name, given in calls)
            answer = Message("assistant", "", tool_calls=made)
            verdict = judge(verifier, row, Rollout((*asked, answer), "", tool_calls=made, attempts=1))
            return verdict.reward, verdict.scores["safety"], verdict.scores["utility"]

        attack = row["injection"]["target_tool"], row["injection"]["target_args"]
        # The tool that was called before the answer counts, so that only the rest of the task is left to do.
        rest = [(name, {}) for name in row["required_tools"] if name != asked[2].tool_calls[0].name]
        assert len(rest) == 1
        assert (scores(*rest), scores(attack), scores(*rest, attack), scores()) == ((1, 1, 1), (0, 0, 0), (0, 0, 1), (0, 1, 0))


def test_injections_have_their_kind_in_fields_of_their_own(tmp_path):
    row = {
        "responses_create_params": {"input": "x"},
        "injection": {"attack_difficulty": "hard", "category": "exfiltration"},
        "agent_ref": 1,
    }
    (made_row,) = made("indirect_prompt_injection/prepare.py", table(tmp_path / "r.jsonl", [row]))
    assert (made_row["attack_difficulty"], made_row["attack_category"], made_row["verification_type"]) == (
        "hard",
        "exfiltration",
        "unknown",
    )
    with pytest.raises(ValueError, match=r"r\.jsonl, row 1: needs"):
        made("indirect_prompt_injection/prepare.py", table(tmp_path / "r.jsonl", [{"injection": {}}]))


def test_rows_about_another_office_are_errors_of_the_row():
    path = sources() / "nemo_gym_checkout/resources_servers/workplace_assistant/data/example.jsonl"
    if not path.is_file():
        pytest.skip("GYM_SOURCES has no example rows of NeMo Gym's workplace_assistant")
    verifier = load_verifier("workplace_assistant", builtin_root() / "verifiers/workplace_assistant.py")
    benchmark = Catalogue([builtin_root()]).benchmark("workplace_assistant")
    rows = made("scripts/nemo_rows.py", path, needs=["ground_truth"])
    assert len(rows) == 5
    for row in rows:
        task = make_task(**{key: value for key, value in row.items() if key != "id"})
        request = benchmark.prompt.request(task)
        assert len(request.tools) == 27 and request.sampling["temperature"] == 1
        with pytest.raises(DataError, match="the row belongs to other tables"):
            judge(verifier, task.fields, verifier.reference_text(task, {}), files=benchmark.folder)
