"""Sound that comes and goes as speech does, and untrained models whose CTC head has something to say about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch

from aedo.data.audio import AudioConfig
from aedo.data.text import CharTokenizer
from aedo.model.aed import AED
from aedo.run import RunFolder
from aedo.search.config import SearchConfig
from aedo.search.recognize import Recognizer
from aedo.search.segments import Cutting
from aedo.search.transcribe import Transcriber
from tests.score.runs import small_experiment, write_run

RATE = 16000
TOKENIZER = CharTokenizer("abc ")


def speech(seconds: float, seed: int, level: float = 0.2, rate: int = RATE) -> np.ndarray:
    """Noise that swells four times a second."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    swell = 10 ** (-1.5 * np.abs(np.cos(np.pi * 4 * time)))
    return (random.standard_normal(len(time)) * swell * level).clip(-1, 1).astype(np.float32)


def noise(seconds: float, seed: int, level: float = 0.0005, rate: int = RATE) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(int(seconds * rate)) * level).astype(np.float32)


def talk(rate: int = RATE) -> np.ndarray:
    """Three utterances, of 2, 1 and 3 seconds, with pauses of a second and more."""
    parts = [noise(1, 1, rate=rate), speech(2, 2, rate=rate), noise(1.2, 3, rate=rate), speech(1, 4, rate=rate)]
    return np.concatenate([*parts, noise(3, 5, rate=rate), speech(3, 6, rate=rate), noise(1, 7, rate=rate)])


def write_talk(path: Path, rate: int = RATE) -> Path:
    soundfile.write(path, talk(rate), rate, subtype="PCM_16")
    return path


def outspoken(model: AED) -> AED:
    """The same model with CTC heads that are sure of a label here and there."""
    with torch.no_grad():
        for head in model.ctc_heads.values():
            head.weight.mul_(200.0)
            head.bias.zero_()
    return model


def transcriber(
    *, decoder: bool = True, ctc: bool = True, max_samples: int = 3_200_000, longest: float = 30.0, **search: object
) -> Transcriber:
    experiment = small_experiment(decoder=decoder)
    if not ctc:
        experiment = experiment.with_("ctc.layers", ())
    torch.manual_seed(3)
    model = outspoken(experiment.build_model(TOKENIZER.size))
    config = SearchConfig.model_validate({"beam": 3, "max_samples": max_samples, **search})
    return Transcriber(Recognizer(model, TOKENIZER, config), AudioConfig(), cutting=Cutting(longest=longest))


def write_outspoken_run(folder: Path, data: Path, *, decoder: bool = True) -> RunFolder:
    """A run of one epoch and an average."""
    from safetensors.torch import load_file, save_file

    run = write_run(folder, data, epochs=1, decoder=decoder)
    for checkpoint in run.checkpoints():
        weights = load_file(checkpoint.weights)
        for name in weights:
            if name.startswith("ctc_heads."):
                weights[name] = weights[name] * (200.0 if name.endswith("weight") else 0.0)
        save_file(weights, checkpoint.weights)
    return run
