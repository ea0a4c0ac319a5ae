"""`--gym-aggregate`: several runs of one protocol (shards, repeated or broken-off runs) become one new run folder with its numbers.

Here it is decided whether the runs belong together, which cases the whole has, and what is told of them. `merge` merges their results.
"""

from __future__ import annotations

import glob
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_gym import __version__
from pytest_gym.benchmark import Benchmark, DatasetSpec
from pytest_gym.dataset import Dataset
from pytest_gym.discovery import Output
from pytest_gym.errors import ConfigError, DataError, RunError
from pytest_gym.fingerprint import Difference, differences
from pytest_gym.journal import SELECTION
from pytest_gym.merge import Merge, Share
from pytest_gym.plan import Plan
from pytest_gym.records import CaseError, Landed, Rollout, Verdict
from pytest_gym.report.layout import plain
from pytest_gym.report.markdown import summary_markdown
from pytest_gym.report.terminal import scorecard
from pytest_gym.report.text import printable
from pytest_gym.run import MANIFEST, ROLLOUTS, SCHEMA, SUMMARY, SUMMARY_MD, RunFolder
from pytest_gym.stored import JOURNAL, StoredRun
from pytest_gym.verify import Corpora

if TYPE_CHECKING:
    from pytest_gym.gate_stored import StoredGates

Open = Callable[[Benchmark, DatasetSpec], Dataset]
_OPTION = "--gym-aggregate"
_MOST_SHOWN = 12
_NEEDED = {"dataset": ("name", "sha256", "num_rows"), "metric": ("headline", "pass_threshold")}


@dataclass(frozen=True)
class Aggregated:
    """The new run: its folder, the contents of `summary.json` and `run.json`, sentences about what was merged, the gates' exit code."""

    folder: Path
    summary: dict[str, Any]
    manifest: dict[str, Any]
    notes: list[str]
    code: int


def aggregate_command(
    words: str,
    output: str | None,
    base: Path,
    find: Callable[[str], Benchmark],
    open_dataset: Open,
    corpora: Corpora,
    gates: StoredGates,
    *,
    as_json: bool,
    width: int,
) -> Output:
    """`--gym-aggregate=RUN,RUN,…` with `--gym-output=DIR`; both are relative to `base`.

    `find` gives a benchmark by its name, `open_dataset` its dataset, prepared as for a run. Raises GymError for whatever forbids it.
    """
    if not output:
        raise ConfigError(f"{_OPTION}: name the folder for the merged run with --gym-output=DIR")
    runs = [StoredRun(base / word, word) for word in _expanded(words, base)]
    check(runs)
    plan = plan_of(runs, find, open_dataset)
    gates.check([planned.benchmark.name for planned in plan.benchmarks], [planned.repeats for planned in plan.benchmarks])
    done = aggregate(runs, plan, base / output, corpora, gates)
    if as_json:
        return Output(
            json.dumps(done.summary, indent=1, ensure_ascii=False) + "\n", "".join(f"gym: {note}\n" for note in done.notes), done.code
        )
    return Output(plain(scorecard(done.summary, width=width, run_folder=output, notes=done.notes)), code=done.code)


def _expanded(words: str, base: Path) -> list[str]:
    """The folders of a comma list, each once; a glob stands for the runs among what it matches, in the order of their names."""
    found: dict[Path, str] = {}
    for word in filter(None, (word.strip() for word in words.split(","))):
        matched = [word]
        if not (base / word).exists() and glob.has_magic(word):
            matched = sorted(other for other in glob.glob(word, root_dir=base) if (base / other / MANIFEST).is_file())
            if not matched:
                raise ConfigError(f"{_OPTION}: no run folder matches {word}")
        for name in matched:
            found.setdefault((base / name).resolve(), name)
    if not found:
        raise ConfigError(f"{_OPTION}: name the folders of the runs, separated by commas")
    return list(found.values())


def check(runs: Sequence[StoredRun]) -> None:
    """Raise ConfigError with every difference that forbids merging `runs`: they may differ in the cases that they have done alone."""
    for run in runs:
        _check_manifest(run)
    first = runs[0]
    for other in runs[1:]:
        found = [difference for difference in _differences(first, other) if difference.part != "benchmark"]
        if found:
            shown = [f"\n  {printable(str(difference))}" for difference in found[:_MOST_SHOWN]]
            more = f"\n  and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
            raise ConfigError(
                f"{_OPTION}: {first.word} and {other.word} are not parts of one run, they differ in{''.join(shown)}{more}"
                "\nmerge runs of one model and one protocol only"
            )


def _check_manifest(run: StoredRun) -> None:
    manifest = run.manifest
    try:
        for name in ("started", "finished", "demo", "shard"):
            manifest[name]
        for name in ("name", "base_url"):
            manifest["model"][name]
        manifest["planned"]["cases"]
        for entry in manifest["benchmarks"].values():
            for part, names in _NEEDED.items():
                for name in names:
                    entry[part][name]
            int(entry["num_repeats"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{run.word}: its {MANIFEST} is not whole ({error}); it was not written by this version, or changed since") from None


def _differences(a: StoredRun, b: StoredRun) -> list[Difference]:
    found = [difference for difference in differences(a.manifest, b.manifest) if difference.part != "overridden"]
    for name in a.manifest["benchmarks"]:
        ours, theirs = _overridden(a, name), _overridden(b, name)
        if ours is not None and theirs is not None and ours != theirs:
            found.append(Difference("overridden", name, ours, theirs))
    one, other = a.manifest.get("options") or {}, b.manifest.get("options") or {}
    for name in ("limit", "split"):
        if one.get(name) != other.get(name):
            found.append(Difference(name, None, one.get(name), other.get(name)))
    return found


def _overridden(run: StoredRun, benchmark: str) -> list[str] | None:
    """Which fixtures a conftest defined anew, or None where the run never came to know: that is when its cases have been collected."""
    entry = run.manifest["benchmarks"].get(benchmark)
    if entry is None:
        return None
    try:
        # A killed run's manifest was written before.
        return list(json.loads((run.path / JOURNAL / SELECTION).read_text(encoding="utf-8"))["overridden"])
    except (OSError, ValueError, KeyError, TypeError):
        results = run.path / ROLLOUTS
        return list(entry.get("overridden") or ()) if results.exists() and results.stat().st_size else None


def plan_of(runs: Sequence[StoredRun], find: Callable[[str], Benchmark], open_dataset: Open) -> Plan:
    """All cases of which the runs have planned a part: the same datasets and limits, without the shards.

    Raises GymError where a dataset cannot be had, or is not the one that the runs had.
    """
    plan = Plan()
    options = runs[0].manifest.get("options") or {}
    for name, entry in _protocols(runs).items():
        benchmark = find(name)
        # What the numbers depend on is as the runs had it, whatever today's config says.
        metric = replace(benchmark.metric, **{key: entry["metric"][key] for key in _NEEDED["metric"]})
        benchmark = replace(benchmark, metric=metric, sampling=entry.get("sampling") or {})
        wanted = entry["dataset"]
        dataset = open_dataset(benchmark, spec_of(benchmark, options.get("split"), wanted["name"]))
        if dataset.sha256 != wanted["sha256"]:
            raise DataError(
                f"{name}: the dataset {dataset.path} ({len(dataset):,} rows, sha256 {dataset.sha256[:12]}…) is not the one of the runs"
                f" ({wanted['num_rows']:,} rows, sha256 {wanted['sha256'][:12]}…); aggregate where the runs' benchmark and sources are"
            )
        plan.add(benchmark, dataset, repeats=entry["num_repeats"], limit=options.get("limit"), index=Path())
    return plan


def _protocols(runs: Iterable[StoredRun]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        for name, entry in run.manifest["benchmarks"].items():
            found.setdefault(name, entry)
    return found


def spec_of(benchmark: Benchmark, split: str | None, wanted: str) -> DatasetSpec:
    """The split that a run had; the demo takes the example rows by itself, so the name in the manifest decides."""
    for candidate in dict.fromkeys((split, "example", None) if split is None else (split,)):
        try:
            spec = benchmark.dataset(candidate)
        except ConfigError:
            continue
        if spec.name == wanted:
            return spec
    return benchmark.dataset(split)


def aggregate(runs: Sequence[StoredRun], plan: Plan, output: Path, corpora: Corpora, gates: StoredGates) -> Aggregated:
    """Merge `runs` into a new run folder `output`. Memory grows with the number of cases, numbers included, and not with their texts.

    Raises RunError where the folder holds a run already, or cannot be written.
    """
    # Not at the top: what only asks for help needs no numpy.
    from pytest_gym.gate_stored import exit_code
    from pytest_gym.scorefile import SCORES, write_scores
    from pytest_gym.tally import Tally

    folder = RunFolder(output)
    merge = Merge(plan, output)
    try:
        shares = [merge.read(run) for run in runs]
        tally = Tally(plan, corpora, {})

        def seen(case: int, rollout: Rollout, outcome: Verdict | CaseError) -> None:
            tally.landed(Landed.of(case, rollout))
            tally.judged(case, outcome)

        merge.write(output / ROLLOUTS, seen)
        notes = list(_notes(runs, shares, merge, plan))
        manifest = _manifest(runs, shares, merge, plan)
        scored = tally.scored()
        models = [name for name in (manifest["model"].get("name"), manifest["model"].get("reported")) if name]
        summary = tally.summary(scored, demo=bool(manifest["demo"]), wall_s=max(map(_wall_s, runs)), models=models)
        results = gates.judged(manifest, scored)
        summary["gates"] = [result.to_json() for result in results]
        folder.write_json(SUMMARY, summary)
        write_scores(output / SCORES, scored)
        folder.write_text(SUMMARY_MD, summary_markdown(summary, manifest))
        # Last: a folder without it is no run, should anything above fail.
        folder.write_json(MANIFEST, manifest)
    finally:
        merge.close()
        folder.unlock()
    return Aggregated(output, summary, manifest, notes, exit_code(results, scored))


def _notes(runs: Sequence[StoredRun], shares: Sequence[Share], merge: Merge, plan: Plan) -> Iterable[str]:
    missing = plan.cases - merge.cases
    yield f"{_many(len(runs), 'run')} merged: {merge.cases:,} of {_many(plan.cases, 'planned case')} have a result"
    if missing:
        for absent, count in _absent(runs):
            several = len(absent) > 1
            yield f"shard{'s' * several} {_and(absent)} of {count} {'are' if several else 'is'} missing"
    if merge.duplicates:
        told = f", {merge.disagreements:,} of them judged differently" if merge.disagreements else ""
        yield f"{_many(merge.duplicates, 'case')} in several runs{told}: a verdict counts before an error, else the run that is named first"
    for run, share in zip(runs, shares, strict=True):
        if run.unfinished:
            unjudged = f", {_many(share.unjudged, 'answer')} not judged" if share.unjudged else ""
            yield f"{run.word} is not finished: {_many(share.results, 'result')} in its journal{unjudged}; --gym-resume={run.word} goes on"
        if share.broken:
            yield f"{run.word}: {_many(share.broken, 'line')} cannot be read"
        if share.foreign:
            yield f"{run.word}: {_many(share.foreign, 'line')} of cases that are not planned"
    if len(served := {model["reported"] for model in _models(runs) if model.get("reported")}) > 1:
        yield f"the endpoints report different models: {_and(sorted(served))}"


def _absent(runs: Sequence[StoredRun]) -> Iterable[tuple[list[int], int]]:
    """For each number of shards that some run was split into: the shards of which there is no run."""
    shards = [run.manifest["shard"] for run in runs if run.manifest.get("shard")]
    for count in sorted({shard["count"] for shard in shards}):
        there = {shard["index"] for shard in shards if shard["count"] == count}
        if absent := [index for index in range(1, count + 1) if index not in there]:
            yield absent, count


def _manifest(runs: Sequence[StoredRun], shares: Sequence[Share], merge: Merge, plan: Plan) -> dict[str, Any]:
    first = runs[0].manifest
    # What can be done again from here, such as --gym-resume for what is missing, concerns the whole.
    every = {name: _same((run.manifest.get("options") or {}).get(name) for run in runs) for name in first.get("options") or {}}
    options = {name: value for name, value in every.items() if value is not None and name not in ("shard", "output", "cases")}
    return {
        "schema": SCHEMA,
        "pytest_gym": __version__,
        "started": min((run.manifest["started"] for run in runs), key=_seconds),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "exit_code": 0,
        "options": {**options, "benchmark": list(_protocols(runs))},
        "planned": {"cases": plan.cases, "benchmarks": plan.sizes(), "selection": {}},
        "seed": first.get("seed"),
        "model": {name: _same(model.get(name) for model in _models(runs)) for name in first["model"]},
        "demo": first["demo"],
        "shard": None,
        "benchmarks": _protocols(runs),
        "aggregated": {
            "runs": [
                {
                    "run": run.word,
                    "started": run.manifest["started"],
                    "finished": run.manifest["finished"],
                    "base_url": run.manifest["model"]["base_url"],
                    "shard": run.manifest["shard"],
                    "results": share.results,
                    "used": share.used,
                }
                for run, share in zip(runs, shares, strict=True)
            ],
            "cases": merge.cases,
            "duplicates": merge.duplicates,
            "disagreements": merge.disagreements,
        },
    }


def _models(runs: Iterable[StoredRun]) -> list[Mapping[str, Any]]:
    return [run.manifest["model"] for run in runs]


def _same(values: Iterable[Any]) -> Any:
    """The value that all have, or None."""
    first, *others = values
    return first if all(other == first for other in others) else None


def _wall_s(run: StoredRun) -> float:
    """How long a run took, as it says: runs are merged that went on side by side, so the longest stands for all."""
    try:
        return float(json.loads((run.path / SUMMARY).read_text(encoding="utf-8"))["wall_s"])
    except (OSError, ValueError, KeyError, TypeError):
        # A run that was killed has no summary.
        return 0.0


def _seconds(stamp: str) -> float:
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError as error:
        raise RunError(f"{stamp!r} in a {MANIFEST} is no time: {error}") from None


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def _and(words: Sequence[Any]) -> str:
    *most, last = map(str, words)
    return f"{', '.join(most)} and {last}" if most else last
