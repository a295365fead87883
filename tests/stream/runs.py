"""A run folder with a chunked model of random weights."""

from __future__ import annotations

from pathlib import Path

import soundfile

from aedo.data.text import train_tokenizer
from aedo.experiment import Experiment
from aedo.run import Checkpoint, RunFolder
from aedo.train.checkpoint import write_checkpoint
from tests.stream.pieces import Samples
from tests.stream.tiny import tiny_experiment, tiny_model


def write_run(folder: Path, experiment: Experiment | None = None, seed: int = 9) -> RunFolder:
    """One checkpoint; its model is that of `tiny_engine(seed)` where no other experiment is given."""
    experiment = experiment or tiny_experiment()
    folder.mkdir()
    run = RunFolder(folder)
    tokenizer = train_tokenizer(experiment.tokenizer, ["abc def"], run.tokenizer_folder)
    run.create("tiny", experiment, {"vocabulary": tokenizer.size, "data": "nowhere"})
    place = run.checkpoint_folder / "epoch-0001"
    write_checkpoint(Checkpoint(place, place.name, 1, 1, 1, {}), tiny_model(experiment, seed), None)
    return run


def write_pcm(path: Path, samples: Samples) -> Path:
    """16-bit PCM without a header, or in the file that the ending asks for."""
    ints = (samples.clip(-1, 1) * 32767).astype("<i2")
    if path.suffix == ".raw":
        path.write_bytes(ints.tobytes())
    else:
        soundfile.write(path, ints, 16000)
    return path
