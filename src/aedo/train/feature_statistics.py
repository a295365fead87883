"""Statistics of the features, where the model wants them before its first step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from torch import Tensor

from aedo.data.loader import Loader
from aedo.data.manifest import Manifest
from aedo.data.text import Tokenizer
from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.features.normalize import GlobalNorm
from aedo.model.aed import AED
from aedo.schedule import START
from aedo.train.evaluate import fixed_utterances


def fit_features(experiment: Experiment, model: AED, train: Manifest, tokenizer: Tokenizer) -> list[str]:
    """Give a global normalisation its statistics; what there is to say about it, one line each.

    A pure function of data and experiment: every process of a training, and one that begins it again, finds the same.
    UserError where none of the utterances can be read.
    """
    norm = model.features.normalize
    if not isinstance(norm, GlobalNorm):
        return []
    loader = Loader(
        train,
        tokenizer,
        experiment.with_("loader.workers", 0).reading(),
        seed=experiment.train.seed,
        frames=model.encoder_frames,
        training=False,
        indices=fixed_utterances(len(train), norm.utterances),
    )

    def features() -> Iterator[tuple[Tensor, Tensor]]:
        with closing(loader.batches(1, START)) as batches:  # type: ignore[type-var]  # generators have close()
            for loaded in batches:
                if loaded.batch is not None:
                    yield model.features.log_mel(loaded.batch.audio, loaded.batch.audio_lengths)

    frames = norm.fit(features())
    if not frames:
        raise UserError("features.normalize: no frame to compute mean and variance from; check the training data")
    return [f"mean and variance of the features from {frames} frames"]
