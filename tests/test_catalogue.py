"""The catalogue: gym roots, shadowing, names and globs, and that one broken config hides nothing else."""

import pytest

from pytest_gym import catalogue as module
from pytest_gym.catalogue import Catalogue, builtin_root
from pytest_gym.errors import ConfigError, VerifierError

from .samples import write

BLOCK = """
{name}:
  description: {says}
  prompt_config: {{user: "{{question}}"}}
  verifier: exact_match
  datasets: [{{path: rows.jsonl}}]
"""
VERIFIER = """
from pytest_gym import Rollout, Task, Verdict, verifier

@verifier
def {name}(task: Task, rollout: Rollout) -> Verdict:
    return Verdict(1.0)
"""


def block(*names, says="text"):
    return "".join(BLOCK.format(name=name, says=says) for name in names)


@pytest.fixture
def root(tmp_path):
    return write(
        tmp_path / "root",
        {
            "benchmarks/aime24/config.yaml": block("aime24"),
            "benchmarks/aime25/config.yaml": block("aime25"),
            "benchmarks/gsm8k/config.yaml": "shared: {domain: math}\n" + block("gsm8k", "gsm8k/cot"),
            "benchmarks/odd/folder/config.yaml": block("strange"),
            "benchmarks/gsm8k/data/config.yaml": block("data-is-not-walked"),
            "benchmarks/.hidden/config.yaml": block("hidden"),
            "benchmarks/prompts/math.yaml": "user: x",
            "verifiers/exact_match.py": VERIFIER.format(name="exact_match"),
        },
    )


def test_names_are_sorted_and_complete(root):
    catalogue = Catalogue([root])
    assert catalogue.names() == ["aime24", "aime25", "gsm8k", "gsm8k/cot", "strange"]
    assert [benchmark.name for benchmark in catalogue.all()] == catalogue.names()
    assert catalogue.broken() == []


@pytest.mark.parametrize(("name", "files"), [("gsm8k", 1), ("gsm8k/cot", 1), ("strange", 1)])
def test_a_name_reads_as_few_files_as_possible(root, monkeypatch, name, files):
    read = []
    original = module.ConfigFiles.parse
    monkeypatch.setattr(module.ConfigFiles, "parse", lambda self, path: read.append(path) or original(self, path))
    assert Catalogue([root]).benchmark(name).name == name
    assert len(set(read)) == files


def test_an_unknown_name_gives_the_nearest(root):
    catalogue = Catalogue([root])
    with pytest.raises(ConfigError, match=r"there is no benchmark 'gsm8'; did you mean 'gsm8k'.* pytest --gym-list shows all 5"):
        catalogue.benchmark("gsm8")
    for name in ("zzzz", "../gsm8k", "a//b", ""):
        with pytest.raises(ConfigError, match=r"there is no benchmark .*[;?] pytest --gym-list shows all 5"):
            catalogue.benchmark(name)


def test_patterns(root):
    catalogue = Catalogue([root])
    assert catalogue.match("gsm8k") == ["gsm8k"]
    assert catalogue.match(" strange ,aime*, gsm8k,aime24") == ["strange", "aime24", "aime25", "gsm8k"]
    assert catalogue.match("gsm8k/*") == ["gsm8k/cot"]
    assert catalogue.match("aime2[45]") == ["aime24", "aime25"]
    for patterns, said in (
        ("aime26", "did you mean 'aime25' or 'aime24'"),
        ("x*", r"no benchmark matches 'x\*'; pytest --gym-list"),
        (" , ", "no benchmark is named"),
    ):
        with pytest.raises(ConfigError, match=said):
            catalogue.match(patterns)


def test_an_earlier_root_shadows_a_later_one(root, tmp_path):
    mine = write(tmp_path / "mine", {"benchmarks/own/config.yaml": block("gsm8k", "other", says="mine")})
    catalogue = Catalogue([mine, root])
    assert catalogue.benchmark("gsm8k").root == mine
    note = f"benchmark 'gsm8k': {mine}/benchmarks/own/config.yaml shadows {root}/benchmarks/gsm8k/config.yaml"
    assert catalogue.shadowed == [note]
    assert catalogue.benchmark("aime24").root == root
    assert [b.description for b in catalogue.all() if b.name == "gsm8k"] == ["mine"]
    assert catalogue.names() == ["aime24", "aime25", "gsm8k", "gsm8k/cot", "other", "strange"]
    assert catalogue.shadowed == [note], "one note, however often it is met"
    assert Catalogue([root, mine]).benchmark("gsm8k").root == root


def test_the_same_root_twice_counts_once(root):
    catalogue = Catalogue([root, root / "benchmarks" / "..", root])
    assert catalogue.roots == (root,)
    catalogue.all()
    assert catalogue.shadowed == []


def test_a_root_that_is_not_there_is_empty(tmp_path):
    assert Catalogue([tmp_path / "nowhere"]).names() == []


def test_one_broken_config_hides_nothing_else(root):
    write(
        root,
        {
            "benchmarks/bad_yaml/config.yaml": "a: [",
            "benchmarks/bad_block/config.yaml": block("fine") + block("bad").replace("verifier:", "verifer:"),
            "benchmarks/aime24/config.yaml": block("aime24").replace("datasets", "dataset"),
        },
    )
    catalogue = Catalogue([root])
    assert catalogue.names() == ["aime25", "fine", "gsm8k", "gsm8k/cot", "strange"]
    assert sorted(str(error).removeprefix(f"{root}/benchmarks/").split(": ")[0] for error in catalogue.broken()) == [
        "aime24/config.yaml:5", "bad_block/config.yaml:10", "bad_yaml/config.yaml:1",
    ]  # fmt: skip
    assert catalogue.match("gsm8k,fine") == ["gsm8k", "fine"]
    with pytest.raises(ConfigError, match="has no key 'verifer'"):
        catalogue.benchmark("bad")
    with pytest.raises(ConfigError, match="is not valid YAML"):
        catalogue.benchmark("bad_yaml")
    with pytest.raises(ConfigError, match="is not valid YAML"):
        catalogue.match("*_yaml")
    with pytest.raises(ConfigError, match=r"shows all 5 \(3 more cannot be read\)"):
        catalogue.benchmark("nothing")


def test_one_mistake_that_two_benchmarks_inherit_is_told_once(root):
    inheriting = block("a", "b").replace("  verifier: exact_match", "  _inherit_from: base")
    write(root, {"benchmarks/a/config.yaml": "base: {verifier: {name: x}, version: 0}" + inheriting})
    assert [str(error).split(": ")[1] for error in Catalogue([root]).broken()] == ["version must be a whole number of at least 1, not 0"]


def test_a_block_that_lost_its_datasets_is_told_by_name(root):
    write(root, {"benchmarks/aime24/config.yaml": block("aime24").replace("datasets", "dataset")})
    with pytest.raises(ConfigError, match=r"config.yaml:5: block 'aime24' has no key 'dataset'; did you mean 'datasets'"):
        Catalogue([root]).benchmark("aime24")


def test_the_same_name_twice_in_one_root(root):
    write(root, {"benchmarks/a_copy/config.yaml": block("gsm8k", says="copy")})
    catalogue = Catalogue([root])
    assert [b.description for b in catalogue.all() if b.name == "gsm8k"] == ["text"], "the folder of its name keeps it"
    assert catalogue.benchmark("gsm8k").description == "text"
    (error,) = catalogue.broken()
    assert "a_copy/config.yaml:1: benchmark 'gsm8k' is also declared in" in str(error)


def test_paths(root):
    catalogue = Catalogue([root])
    assert [b.name for b in catalogue.at(root / "benchmarks/gsm8k")] == ["gsm8k", "gsm8k/cot"]
    assert [b.name for b in catalogue.at(root / "benchmarks/aime24/config.yaml")] == ["aime24"]
    with pytest.raises(ConfigError, match="cannot be read"):
        catalogue.at(root / "benchmarks/nowhere")
    with pytest.raises(ConfigError, match="declares no benchmark"):
        catalogue.at(write(root, {"x.yaml": "a: {domain: math}"}) / "x.yaml")


def test_verifiers(root, tmp_path):
    mine = write(
        tmp_path / "mine",
        {"verifiers/exact_match.py": VERIFIER.format(name="exact_match"), "verifiers/wrong.py": VERIFIER.format(name="x")},
    )
    catalogue = Catalogue([mine, root])
    assert catalogue.verifier("exact_match").name == "exact_match"
    assert catalogue.shadowed == [f"verifier 'exact_match': {mine}/verifiers/exact_match.py shadows {root}/verifiers/exact_match.py"]
    with pytest.raises(VerifierError, match=r"there is no verifier 'exactmatch'; did you mean 'exact_match'"):
        catalogue.verifier("exactmatch")
    with pytest.raises(VerifierError, match=r"there is no verifier '\.\./secret'"):
        catalogue.verifier("../secret")
    with pytest.raises(VerifierError, match="has no '@verifier def wrong"):
        catalogue.verifier("wrong")


def test_the_built_in_root_is_this_repository_or_the_package(monkeypatch, tmp_path):
    assert (builtin_root() / "benchmarks").is_dir()
    package = tmp_path / "pytest_gym"
    (package / "builtin").mkdir(parents=True)
    monkeypatch.setattr(module, "__file__", str(package / "catalogue.py"))
    assert builtin_root() == package / "builtin"


def test_everything_built_in_can_be_read():
    catalogue = Catalogue([builtin_root()])
    assert catalogue.broken() == []
    for benchmark in catalogue.all():
        assert catalogue.benchmark(benchmark.name) == benchmark
        assert (benchmark.folder / benchmark.dataset("example").path).is_file(), benchmark.name
