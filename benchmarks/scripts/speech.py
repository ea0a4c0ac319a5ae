"""Speech to text: rows of a list of clips (JSON lines), as NeMo Gym prepares it or written by hand. The sound itself stays where it is."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_gym.tables import read_rows

_KEPT = ("expected_answer", "text_tn", "text_itn", "reference_fields", "audio_duration", "category", "task_type", "original_label")


def prepare(files: Mapping[str, Path], *, audio_root: str) -> Iterable[dict[str, Any]]:
    """A line has `sample_id`, `expected_answer`, `subset_for_metrics`, perhaps the fields of _KEPT, and where its clip is: `audio`, a
    path below the folder `audio` beside the config, or NeMo Gym's `metadata.audio_path`, of which `audio_root` is taken away.

    The id is subset and sample. Raises ValueError for a line without one of these.
    """
    for name, path in files.items():
        for number, row in enumerate(read_rows(path, name), 1):
            try:
                subset = str(row["subset_for_metrics"])
                audio = row["audio"] if "audio" in row else _below(row["responses_create_params"]["metadata"]["audio_path"], audio_root)
                kept = {field: row[field] for field in _KEPT if field in row}
                yield {
                    "id": f"{subset}/{row['sample_id']}",
                    "audio": audio,
                    "subset": subset,
                    "expected_answer": row["expected_answer"],
                    **kept,
                }
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{name}, row {number}: cannot be read: {error!r}") from error


def _below(path: str, root: str) -> str:
    return str(PurePosixPath(path).relative_to(root))
