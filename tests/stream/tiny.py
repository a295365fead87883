"""A chunked model of a few thousand random parameters that says many different things."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import torch

from aedo.data.audio import AudioConfig
from aedo.data.text import CharTokenizer
from aedo.experiment import Experiment
from aedo.model.aed import AED
from aedo.search.recognize import Recognizer
from aedo.stream.engine import StreamEngine
from tests.stream.pieces import Samples, noise
from tests.train.micro import micro_experiment

TOKENIZER = CharTokenizer(list(" abcdef"))


def tiny_experiment(kept: int = 3, look_ahead: int = 2, beam: int = 4, search: str = "attention") -> Experiment:
    return (
        micro_experiment()
        .with_("audio.peak_normalize", False)
        .with_("encoder.streaming", {"kept": kept, "look_ahead": look_ahead, "history": 2})
        .with_("search.beam", beam)
        .with_("search.kind", search)
    )


def tiny_model(experiment: Experiment, seed: int) -> AED:
    model = experiment.build_model(TOKENIZER.size)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:  # from the name: the same whatever the order in which parts draw their parameters
                generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))
                scale = (1.0 if name.startswith("encoder") else 3.0) / parameter[0].numel() ** 0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
        model.decoder.output.bias[[0, 2]] += 2.0  # ends of chunks, and the blank between words
    return model


def tiny_recognizer(seed: int = 0, **settings: Any) -> Recognizer:
    experiment = tiny_experiment(**settings)
    return Recognizer(tiny_model(experiment, seed), TOKENIZER, experiment.search)


def tiny_engine(seed: int = 0, **settings: Any) -> StreamEngine:
    return StreamEngine(tiny_recognizer(seed, **settings), AudioConfig(peak_normalize=False))


def bursts(seconds: float, seed: int = 0) -> Samples:
    """Noise that comes and goes every tenth of a second."""
    samples = round(seconds * 16000)
    loud = np.random.default_rng(seed).uniform(0, 1, samples // 1600 + 1) > 0.5
    return noise(samples, seed) * np.repeat(loud, 1600)[:samples].astype(np.float32) * 2


def offline(recognizer: Recognizer, samples: Samples) -> str:
    """What the recogniser makes of the whole audio at once."""
    return recognizer.recognize([samples])[0].text
