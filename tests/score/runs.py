"""A small run folder with untrained checkpoints, and prepared data to decode with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from lhotse import MonoCut, Recording, SupervisionSegment

from aedo.data.text import train_tokenizer
from aedo.experiment import Experiment
from aedo.run import Checkpoint, RunFolder
from aedo.train.checkpoint import write_checkpoint

RATE = 16000
TEXTS = ("one two", "two three one", "three", "one one two")


def small_experiment(*, decoder: bool = True) -> Experiment:
    tree: dict[str, Any] = {
        "tokenizer": {"kind": "char"},
        "frontend": {"channels": [4, 4, 4]},
        "encoder": {"layers": 1, "dim": 16, "feed_forward": {"dim": 16}, "attention": {"heads": 2}},
        "ctc": {"layers": [1]},
        "decoder": {"embedding_dim": 8, "attention_dim": 8, "lstm_dim": 16, "readout_dim": 16} if decoder else None,
        "train": {"epochs": 8},
        "search": {"beam": 3},
    }
    return Experiment.model_validate(tree)


def write_audio(path: Path, seconds: float, seed: int, *, rate: int = RATE, channels: int = 1) -> Path:
    noise = np.random.default_rng(seed).normal(size=(int(seconds * rate), channels)) * 0.1
    soundfile.write(path, noise, rate, subtype="PCM_16")
    return path


def write_data(folder: Path) -> Path:
    """Splits dev and test of four utterances by two speakers each, and train, which is never read here."""
    folder.mkdir()
    for split in ("dev", "test", "train"):
        lines = []
        for i, text in enumerate(TEXTS):
            name = f"{split}-{i}"
            path = write_audio(folder / f"{name}.wav", 0.6 + 0.2 * i, seed=i)
            recording = Recording.from_file(path, recording_id=name)
            supervision = SupervisionSegment(name, name, 0.0, recording.duration, text=text, speaker=f"s{i % 2}")
            cut = MonoCut(name, 0.0, recording.duration, 0, recording=recording, supervisions=[supervision])
            lines.append(json.dumps(cut.to_dict()))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def write_run(folder: Path, data: Path, *, epochs: int = 8, decoder: bool = True) -> RunFolder:
    """Checkpoints of all epochs (dev scores are best at epoch 3) and an average."""
    experiment = small_experiment(decoder=decoder)
    folder.mkdir()
    run = RunFolder(folder)
    tokenizer = train_tokenizer(experiment.tokenizer, TEXTS, run.tokenizer_folder)
    run.create("small", experiment, {"vocabulary": tokenizer.size, "data": str(data)})
    for epoch in range(1, epochs + 1):
        torch.manual_seed(epoch)
        scores = {"dev_ce": 1.0 + abs(epoch - 3), "dev_ctc_1": 1.0 + abs(epoch - 3)}
        place = run.checkpoint_folder / f"epoch-{epoch:04d}"
        checkpoint = Checkpoint(place, place.name, epoch, epoch * 10, epoch * 10, scores)
        write_checkpoint(checkpoint, experiment.build_model(tokenizer.size), None)
    place = run.checkpoint_folder / "average-last10pct"
    average = replace(checkpoint, folder=place, label=place.name, scores={}, averaged=[checkpoint.label])
    write_checkpoint(average, experiment.build_model(tokenizer.size), None)
    return run
