"""LibriSpeech-PC: the utterances of one split, by the manifest that OpenSLR 145 has for it. The sound itself stays where it is."""

import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any


def prepare(files: Mapping[str, Path], *, split: str = "test-clean") -> Iterable[dict[str, Any]]:
    """`audio` is the clip's path as OpenSLR 12 unpacks it, `LibriSpeech/test-clean/…`; lines without text or clip are left out, as NeMo
    Gym does. Raises ValueError where the archive has no such manifest or a line of it cannot be read.
    """
    with tarfile.open(files["manifests.tar.gz"]) as archive:
        member = next((each for each in archive if each.isfile() and PurePosixPath(each.name).name == f"{split}.json"), None)
        content = archive.extractfile(member) if member else None
        if content is None:
            raise ValueError(f"manifests.tar.gz: has no {split}.json")
        for number, line in enumerate(content.read().decode("utf-8").splitlines(), 1):
            try:
                row = json.loads(line) if line.strip() else {}
                audio, text = str(row.get("audio_filepath") or "").lstrip("/"), str(row.get("text") or "")
            except (ValueError, AttributeError) as error:
                raise ValueError(f"{split}.json:{number}: cannot be read: {error}") from error
            if audio and text:
                path = PurePosixPath("LibriSpeech") / audio.removeprefix("LibriSpeech/")
                yield {"id": path.stem, "audio": str(path), "expected_answer": text, "split": split}
