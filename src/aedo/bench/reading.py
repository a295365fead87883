"""What `aedo bench --data` finds out: how fast prepared data become batches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from aedo.data.audio import AudioConfig
from aedo.data.batch import BatchConfig
from aedo.data.loader import Loader, LoaderConfig, Reading
from aedo.data.manifest import Manifest, split_files
from aedo.data.order import OrderConfig
from aedo.schedule import START
from aedo.score.tables import table

WORKERS = (0, 1, 2)
BATCH_SECONDS = 200.0
SAMPLE_RATE = 16_000


class NoLabels:
    """A tokenizer for measuring alone: one label whatever the text."""

    def __init__(self) -> None:
        self.size, self.digest = 2, "none"
        self.labels: list[str] = ["</s>", "x"]
        self.unknown: int | None = None

    def encode(self, text: str) -> list[int]:
        return [1]

    def decode(self, ids: Sequence[int]) -> str:
        return ""

    def lexicon(self) -> None:
        return None


@dataclass(frozen=True)
class Speed:
    """Of one folder with one number of workers."""

    data: str
    audio: str
    """What kind of files it has."""
    workers: int
    rates: list[float]
    """Seconds of audio read per second, round by round."""
    processor: list[float]
    """Without workers: processor seconds for an hour of audio; other work on the machine disturbs these little."""

    @property
    def rate(self) -> float:
        return median(self.rates)


@dataclass(frozen=True)
class Speeds:
    all: list[Speed]

    def as_json(self) -> list[dict[str, Any]]:
        return [
            {
                "data": each.data,
                "audio": each.audio,
                "workers": each.workers,
                "audio_seconds_per_second": each.rates,
                "processor_seconds_per_hour": each.processor,
            }
            for each in self.all
        ]

    def as_text(self) -> str:
        rows = [
            (
                each.data,
                each.audio,
                str(each.workers),
                f"{each.rate:.0f}",
                f"{each.rate / 3600:.3f}",
                f"{median(each.processor):.1f}" if each.processor else "",
            )
            for each in self.all
        ]
        head = ("data", "audio", "workers", "s of audio per s", "hours per s", "processor s an hour")
        end = "medians; a training that takes more than that per second waits for its data (its log says so)"
        return table(head, rows, left=2) + "\n" + end


def reading(
    folders: Sequence[Path],
    *,
    split: str = "train",
    batches: int = 5,
    rounds: int = 3,
    batch_seconds: float = BATCH_SECONDS,
) -> Speeds:
    """Read utterances of a split that fill about `batches` batches, `rounds` times a folder and number of workers.

    In random order and in turns; nothing is done with them.  A first round, which starts the workers and leaves the
    files in memory, is not counted.  The utterances are the same ones, by number, in all folders.
    """
    loaders = {
        (folder, count): _loader(Manifest.open(folder, split), count, batches, batch_seconds)
        for folder in folders
        for count in WORKERS
    }
    found = {key: Speed(str(key[0]), _kind(key[0], split), key[1], [], []) for key in loaders}
    for epoch in range(rounds + 1):
        for key, loader in loaders.items():
            seconds, wall, processor = _round(loader, epoch + 1)
            if epoch:
                found[key].rates.append(seconds / wall)
                if not key[1]:
                    found[key].processor.append(processor / seconds * 3600)
    for loader in loaders.values():
        loader.close()
    return Speeds(list(found.values()))


def _loader(manifest: Manifest, workers: int, batches: int, batch_seconds: float) -> Loader:
    order = np.random.default_rng(1).permutation(len(manifest))
    so_far = np.cumsum(manifest.num_samples[order]) / SAMPLE_RATE
    settings = Reading(
        AudioConfig(sample_rate=SAMPLE_RATE),
        OrderConfig(kind="random"),
        BatchConfig(max_samples=round(batch_seconds * SAMPLE_RATE), max_labels=None),
        LoaderConfig(workers=workers),
        None,
        ctc=False,
        ctc_eos=False,
    )
    return Loader(
        manifest,
        NoLabels(),
        settings,
        seed=1,
        frames=lambda samples: samples,
        training=True,
        indices=order[: 1 + int(np.searchsorted(so_far, batches * batch_seconds))],
    )


def _round(loader: Loader, epoch: int) -> tuple[float, float, float]:
    """Seconds of audio, on the clock and of this process's processor time, of a whole round."""
    total, begin, used = 0, time.perf_counter(), time.process_time()
    for loaded in loader.batches(epoch, START):
        total += 0 if loaded.batch is None else int(loaded.batch.audio_lengths.sum())
    return total / SAMPLE_RATE, time.perf_counter() - begin, time.process_time() - used


def _kind(folder: Path, split: str) -> str:
    """flac, opus ...; packed: shar."""
    from aedo.data.manifest import ManifestFile

    source = ManifestFile.open(split_files(folder, split)[0]).line(0)["recording"]["sources"][0]
    return "shar" if source["type"] == "shar" else Path(source["source"]).suffix.lstrip(".").lower()
