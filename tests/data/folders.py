"""Small folders of prepared data for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.data.sounds import RATE, noise, write


def cut_line(
    id: str, audio: Path, samples: int, text: str | None, speaker: str = "s", rate: int = RATE
) -> dict[str, Any]:
    """One line of a manifest, as lhotse writes it."""
    duration = samples / rate
    supervision = {"id": id, "recording_id": id, "start": 0, "duration": duration, "channel": 0, "speaker": speaker}
    return {
        "id": id,
        "start": 0,
        "duration": duration,
        "channel": 0,
        "supervisions": [supervision if text is None else {**supervision, "text": text}],
        "recording": {
            "id": id,
            "sources": [{"type": "file", "channels": [0], "source": str(audio)}],
            "sampling_rate": rate,
            "num_samples": samples,
            "duration": duration,
            "channel_ids": [0],
        },
        "type": "MonoCut",
    }


def write_manifest(folder: Path, split: str, lines: Sequence[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{split}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def write_corpus(folder: Path, texts: Sequence[str], split: str = "train", shortest: int = 8000) -> Path:
    """One utterance of noise a text, each 501 samples longer than the one before."""
    lines = []
    for number, text in enumerate(texts):
        samples = shortest + 501 * number
        audio = write(folder / "audio" / f"{split}-{number}.flac", noise(samples, seed=number))
        lines.append(cut_line(f"{split}-{number:03}", audio, samples, text))
    return write_manifest(folder, split, lines)
