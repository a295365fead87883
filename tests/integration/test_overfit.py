"""Every variant learns eight real utterances by heart, and then recognises them without an error."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soxr
import torch

from aedo.data.audio import peak_normalized, read_audio
from aedo.data.text import CharTokenizer
from aedo.experiment import Experiment
from aedo.model.aed import AED
from aedo.model.labels import Labels
from aedo.schedule import START
from aedo.search.recognize import Recognizer, Samples
from tests.model.variants import VARIANTS, tiny

LONGEST = 2.2
"""Seconds."""
LEARNING_RATE, WARMUP = 3e-3, 20
ENOUGH, AT_MOST = 0.03, 600
"""Loss per label at which to stop, and updates."""
SETTLING = 20
"""Updates at a tenth of the rate behind it, in which the running statistics come to rest."""
QUICK = ("trafodec", "ctconly")
"""Variants that every run of the tests tries."""


class Utterances(NamedTuple):
    audio: list[Samples]
    texts: list[str]


@pytest.fixture(scope="module")
def utterances() -> Utterances:
    """The first eight of AN4 that are short, each with other words and mostly of another speaker."""
    folder = Path(os.environ.get("AEDO_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "an4"
    if not folder.is_dir():
        pytest.skip("no real corpora: set AEDO_TEST_DATA to a folder with an4 and librispeech-mini")
    chosen: dict[str, Path] = {}
    for number, line in enumerate((folder / "manifest.jsonl").open()):
        utterance = json.loads(line)
        if number % 7 == 0 and 1.0 < utterance["duration"] < LONGEST and len(chosen) < 8:
            chosen.setdefault(utterance["text"], folder / utterance["path"])
    return Utterances([peak_normalized(read_audio(path, 16_000)) for path in chosen.values()], list(chosen))


@pytest.mark.parametrize("variant", [v if v in QUICK else pytest.param(v, marks=pytest.mark.slow) for v in VARIANTS])
def test_eight_utterances_are_learned_by_heart_and_recognised(utterances: Utterances, variant: str) -> None:
    if variant == "down8":  # at 80 ms a frame there is no room for letters said this fast
        utterances = utterances._replace(audio=[slowed(samples) for samples in utterances.audio])
    experiment, tokenizer = tiny(variant), CharTokenizer(sorted(set("".join(utterances.texts))))
    torch.manual_seed(1)
    model = experiment.build_model(tokenizer.size)
    updates = learn(experiment, model, tokenizer, utterances)
    recognizer = Recognizer(model, tokenizer, experiment.search)
    assert [found.text for found in recognizer.recognize(utterances.audio)] == utterances.texts, f"{updates} updates"


def slowed(samples: Samples) -> Samples:
    """The same at half the speed."""
    return soxr.resample(samples, 16_000, 32_000).astype(np.float32)


def learn(experiment: Experiment, model: AED, tokenizer: CharTokenizer, utterances: Utterances) -> int:
    """Train until the losses are small; gives the number of updates."""
    lengths = torch.tensor([len(samples) for samples in utterances.audio])
    audio = torch.zeros(len(lengths), int(lengths.max()))
    for row, samples in zip(audio, utterances.audio):
        row[: len(samples)] = torch.from_numpy(samples)
    ids = [torch.tensor(tokenizer.encode(text)) for text in utterances.texts]
    labels = Labels(
        torch.nn.utils.rnn.pad_sequence(ids, batch_first=True), torch.tensor([len(sequence) for sequence in ids])
    )
    objective = experiment.loss.build(experiment.ctc)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.0)
    features, enough = model.train().features(audio, lengths), AT_MOST
    for update in range(1, AT_MOST + SETTLING):
        rate = LEARNING_RATE * min(1.0, update / WARMUP) * (1.0 if update < enough else 0.1)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = objective(model(features, labels), labels, START).total
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if enough == AT_MOST and loss.item() < ENOUGH * (1 + len(model.ctc_layers)):
            enough = update
        if update == enough + SETTLING:
            return update
    pytest.fail(f"the loss is {loss.item():.3f} after {AT_MOST} updates")
