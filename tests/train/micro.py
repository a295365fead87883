"""A tiny experiment on noise: everything real, but small enough to be trained, killed and resumed many times."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile
from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource

from aedo.experiment import Experiment

WORDS = ("a", "bad", "cab", "dab", "face", "bead")
NAME = "micro"


def write_data(folder: Path, train: int = 9, dev: int = 4, seed: int = 0) -> Path:
    """Prepared data of noise: utterances of a quarter of a second to a second, from a seed."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for split, count in (("train", train), ("dev", dev)):
        lines = [json.dumps(_cut(folder, f"{split}-{i:03d}", random).to_dict()) + "\n" for i in range(count)]
        (folder / f"{split}.jsonl").write_text("".join(lines))
    return folder


def _cut(folder: Path, name: str, random: np.random.Generator) -> MonoCut:
    samples = int(random.integers(8000, 16000))
    path = folder / f"{name}.flac"
    soundfile.write(path, random.uniform(-0.5, 0.5, samples), 16000)
    duration = samples / 16000
    text = str(random.choice(WORDS))
    recording = Recording(name, [AudioSource("file", [0], str(path))], 16000, samples, duration)
    supervision = SupervisionSegment(name, name, 0.0, duration, text=text, speaker="someone")
    return MonoCut(name, 0.0, duration, 0, recording=recording, supervisions=[supervision])


def micro_experiment(**train: object) -> Experiment:
    """About 5,000 parameters, with dropout, zoneout, SpecAugment, speed perturbation and accumulation."""
    settings = {
        "epochs": 3,
        "accumulate": 2,
        "learning_rate": {"kind": "constant", "value": 1e-3},
        "gradients": {"clip_norm": 1.0},
        "eval_utterances": 4,
        "average_fraction": 0.5,
        "keep": {"last": 2, "best": 0},
        **train,
    }
    return Experiment.model_validate(
        {
            "tokenizer": {"kind": "char"},
            "order": {"bin_size": 5},
            "batch": {"max_samples": 48000},
            "loader": {"workers": 0},
            "augment": {"specaugment": {"steps": (0, 0, 0), "max_time_width": 5}},
            "frontend": {"channels": (2, 2, 2)},
            "encoder": {
                "layers": 2,
                "dim": 8,
                "feed_forward": {"dim": 8},
                "attention": {"heads": 2},
                "convolution": {"kernel": 4},
            },
            "ctc": {"layers": (1, 2)},
            "decoder": {"embedding_dim": 4, "attention_dim": 4, "lstm_dim": 8, "readout_dim": 4},
            "train": settings,
        }
    )
