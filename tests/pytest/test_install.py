"""What a user gets from a wheel and from an sdist: everything, inside the package, and the main job works in an empty folder.

The environments are made without a network: they see the installed dependencies of the one that runs the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.conftest import VERIFIER, adder

ROOT = Path(__file__).parents[2]


def _build(source: Path, target: Path, kind: str) -> Path:
    # The PEP 517 hooks themselves: a front end would want a network for the build environment.
    code = f"import os, hatchling.build as b; os.chdir({str(source)!r}); print(b.build_{kind}({str(target)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target / done.stdout.split()[-1]


@pytest.fixture(scope="module", params=["wheel", "sdist"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment in which the wheel, or the wheel built from the sdist, is unpacked as an installer does."""
    pytest.importorskip("hatchling")
    room = tmp_path_factory.mktemp(request.param)
    source = ROOT
    if request.param == "sdist":
        with tarfile.open(_build(ROOT, room, "sdist")) as archive:
            archive.extractall(room, filter="data")
        source = next(path for path in room.iterdir() if path.is_dir())
    wheel = _build(source, room, "wheel")
    venv.create(room / "venv", with_pip=False, symlinks=True)
    python = room / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    where = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True, check=True
    )
    packages = Path(where.stdout.strip())
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(packages)
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"pytest_gym"}
    assert {"pytest_gym/py.typed", "pytest_gym/builtin/benchmarks/gsm8k/config.yaml", "pytest_gym/builtin/verifiers/math.py"} <= set(names)
    assert not [name for name in names if name.endswith((".pyc", ".jsonl")) and "/data/" not in name]
    # The dependencies only: a path in a .pth file is not searched for further .pth files, so no editable install shines through.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def _pytest(python: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GYM_", "PYTEST_", "PYTHON"))}
    environment |= {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / ".cache")}
    quiet = ["-p", "no:hypothesispytest", "-p", "no:anyio"]
    return subprocess.run(
        [python, "-m", "pytest", *quiet, *words], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )


def test_main_job_in_an_empty_folder(installed: Path, tmp_path: Path):
    code = "import pytest_gym; print(pytest_gym.__file__)"
    where = subprocess.run([installed, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert str(ROOT) not in where.stdout
    done = _pytest(installed, tmp_path, "--gym-benchmark=gsm8k", "--gym-demo", "-n", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pass@1" in done.stdout and "DEMO" in done.stdout
    shown = _pytest(installed, tmp_path, "--gym-list", "--gym-json")
    assert {"gsm8k", "mmlu_pro"} <= {entry["name"] for entry in json.loads(shown.stdout)}


def test_a_repository_of_ones_own(installed: Path, tmp_path: Path, endpoint):
    """A user's repository: a benchmark, a verifier and a conftest that overrides `verifier`, scored with the installed package."""
    (tmp_path / "benchmarks" / "mine").mkdir(parents=True)
    (tmp_path / "verifiers").mkdir()
    (tmp_path / "verifiers" / "ends_with.py").write_text(VERIFIER)
    (tmp_path / "benchmarks" / "mine" / "config.yaml").write_text(
        "config_paths: [verifiers/math.yaml]\n"
        "mine:\n  description: Sums of our own\n  domain: math\n  prompt_config: {user: 'What is {question}?'}\n"
        "  verifier: ends_with\n  datasets:\n    - {name: mine, path: mine.jsonl, num_repeats: 2}\n"
        "mine/boxed:\n  _inherit_from: math\n  prompt_config: {user: 'What is {question}?'}\n"
        "  datasets:\n    - {name: mine, path: boxed.jsonl}\n"
    )
    rows = [{"id": f"q/{n}", "question": f"{n}+{n}", "answer": str(2 * n), "expected_answer": str(2 * n)} for n in range(4)]
    for name in ("mine", "boxed"):
        (tmp_path / "benchmarks" / "mine" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "conftest.py").write_text(
        "import pytest\nfrom pytest_gym import Verdict\n\n@pytest.fixture\ndef verifier(verifier):\n"
        "    def strict(task, rollout):\n        verdict = verifier(task, rollout)\n"
        "        return Verdict(0.0, extracted=verdict.extracted, explanation='ours') if task['answer'] == '4' else verdict\n"
        "    return strict\n"
    )
    server = endpoint(adder)
    words = ["--gym-benchmark=mine,mine/boxed", "--gym-model=m", f"--gym-base-url={server.url}", "--gym-output=run"]
    done = _pytest(installed, tmp_path, *words, "-n", "2")
    assert done.returncode == 1, done.stdout + done.stderr
    entries = json.loads((tmp_path / "run" / "summary.json").read_text())["benchmarks"]
    assert entries["mine"]["metrics"]["pass@1"]["value"] == 0.75 and entries["mine"]["repeats"] == 2
    assert entries["mine/boxed"]["metrics"]["pass@1"]["value"] == 0.75
    assert "mine::q_2-" in done.stdout and len(server.requests) == 12
    assert {json.loads(line)["task_id"] for line in (tmp_path / "run" / "rollouts.jsonl").read_text().splitlines()} == {
        "q/0",
        "q/1",
        "q/2",
        "q/3",
    }
