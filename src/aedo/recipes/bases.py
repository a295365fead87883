"""The bases: whole experiments, each by its difference from the one before.

Contents: the configurations of the reference system under the same names.  Three things differ from it on purpose: CTC
targets carry no EOS (the original's mistake: tag `ctceos`), padding never changes a result (the original: tag
`batchpad`), and a training is counted in sub-epochs of one twentieth of the data wherever the data are large.
"""

from __future__ import annotations

from collections.abc import Callable

from aedo.augment.specaugment import SpecAugmentConfig
from aedo.augment.speed import SpeedConfig
from aedo.data.batch import BatchConfig
from aedo.data.order import OrderConfig
from aedo.data.text import TokenizerConfig
from aedo.experiment import AugmentConfig, Experiment
from aedo.losses.ctc import CtcConfig
from aedo.model.chunked import ChunkedConfig
from aedo.model.conformer import ConformerConfig
from aedo.nn.attention import SelfAttentionConfig
from aedo.nn.positions import TransformerXLPositionsConfig
from aedo.recipes.bases_later import base_espnet_conformer10, base_large
from aedo.schedule import ByEpoch, Leg, PiecewiseLinear, WarmupInverseSqrt
from aedo.search.config import SearchConfig
from aedo.train.config import TrainConfig
from aedo.train.gradients import GradientConfig
from aedo.train.optimizers import OptimizerConfig
from aedo.train.param_groups import WeightDecayConfig

FRAME = 160
"""Samples per feature frame: batch sizes are known by their number of frames."""

CLIMBS_AND_FALL = (
    *(Leg(epochs=epochs, start=1e-7, end=1e-3) for epochs in (10, 10, 10, 30)),
    Leg(epochs=90, end=2e-5, spacing="geometric"),
)
"""The learning rate of `conformer` by sub-epoch."""


def base_11gb() -> Experiment:
    """The first configuration of the reference, for a GPU of 11 GB: float32, batches of 150 s, four of them per update.

    109 M parameters (98 M without the CTC heads; 12 x 512), BPE of 10,025 labels, AdamW 2.5e-3 with 40k micro-steps of
    warm-up and inverse square root, SpecAugment growing in steps, CTC on layers 4 and 8, 2000 sub-epochs = 100 passes
    over the data.
    """
    return Experiment(
        tokenizer=TokenizerConfig(kind="bpe", size=10_025),
        order=OrderConfig(kind="laplace", bin_size=1000, partition=20, short_first_epochs=5, short_first_seconds=10.0),
        batch=BatchConfig(max_samples=15_000 * FRAME, max_utterances=200, max_labels=75),
        augment=AugmentConfig(
            speed=SpeedConfig(factors=(0.9, 1.0, 1.1)),
            specaugment=SpecAugmentConfig(
                steps=(10_000, 20_000, 40_000),
                max_time_width=20,
                max_band_width=16,
                frames_per_mask=100,
                count_from="batch",
            ),
        ),
        encoder=ConformerConfig(attention=SelfAttentionConfig(dropout_share="all_but_keys")),
        ctc=CtcConfig(layers=(4, 8)),
        train=TrainConfig(
            epochs=2000,
            accumulate=4,
            precision="float32",
            learning_rate=WarmupInverseSqrt(peak=2.5e-3, warmup=40_000, norm=40_000),
            optimizer=OptimizerConfig(eps=1e-8, weight_decay=WeightDecayConfig(value=1e-6)),
        ),
        search=SearchConfig(kind="attention"),  # what all numbers published for these bases were found with
    )


def base_24gb() -> Experiment:
    """For a GPU of 24 GB: bfloat16, batches of 400 s, two an update, peak 2e-3 at 20k micro-steps, earlier SpecAugment.

    It scales the loss as float16 would need it.  Reported: converges, then stagnates with hiccups.
    """
    return (
        base_11gb()
        .with_("train.precision", "bfloat16")
        .with_("train.grad_scaler", "on")
        .with_("batch.max_samples", 40_000 * FRAME)
        .with_("train.accumulate", 2)
        .with_("train.learning_rate", WarmupInverseSqrt(peak=2e-3, warmup=20_000, norm=20_000))
        .with_("augment.specaugment.steps", (5_000, 15_000, 25_000))
    )


def base_24gb_v2() -> Experiment:
    """A smaller epsilon for Adam, a milder SpecAugment: half as many masks over time, narrower ones over mel bands."""
    return (
        base_24gb()
        .with_("train.optimizer.eps", 1e-16)
        .with_("augment.specaugment.frames_per_mask", 200)
        .with_("augment.specaugment.max_band_width", 10)
    )


def base_24gb_v3() -> Experiment:
    """Gradients clipped at a global norm of 5, peak 2.5e-3, the loss no longer scaled.

    Reported: diverges at this peak; with `lr1e_3` 7.01 dev-other (test-other 7.23).
    """
    return (
        base_24gb_v2()
        .with_("train.grad_scaler", "auto")
        .with_("train.learning_rate.peak", 2.5e-3)
        .with_("train.gradients", GradientConfig(clip_norm=5.0))
    )


def base_24gb_v4() -> Experiment:
    """Peak 1e-3; norms, embeddings and position tables are spared from weight decay.  Reported: 7.07 dev-other."""
    return (
        base_24gb_v3()
        .with_("train.learning_rate.peak", 1e-3)
        .with_("train.optimizer.weight_decay.exclude", ("batch_norm", "layer_norm", "embedding", "relative_position"))
    )


def base_24gb_v5() -> Experiment:
    """Dropout on relative positions, attention dropout per weight, SpecAugment at full strength; norms decay again.

    The encoder grows from 2 layers to 12 in the first 8k micro-steps.  Reported: 6.35 dev-other.
    """
    return (
        base_24gb_v4()
        .with_("encoder.attention.position.dropout", 0.1)
        .with_("encoder.attention.dropout_share", "none")
        .with_("train.optimizer.weight_decay.exclude", ("embedding", "relative_position"))
        .with_("augment.specaugment.frames_per_mask", 100)
        .with_("augment.specaugment.max_band_width", 16)
        .with_("encoder.growth", ((4_000, 2), (2_000, 4), (2_000, 8)))
    )


def base_24gb_v6() -> Experiment:
    """The final recipe of the reference: all layers from the start.

    Reported: 6.30 dev-other; with `lrlin1e_5_450k` 5.44.
    """
    return base_24gb_v5().with_("encoder.growth", ())


def base_conformer() -> Experiment:
    """An older Conformer of the reference, before all its improvements: our model as its Switchboard transducer was.

    What the names of that time add to it, it lacks: BatchNorm in the convolution module, full width and depth from the
    start, a convolutional front-end, no dropout behind self-attention, on attention or on positions, no weight decay on
    the read-out, no CTC heads, no label smoothing.  Swish, Transformer-XL positions, Nadam as in TensorFlow with an L2
    of 1e-4 (a weight decay of 2e-4) in batches of 100 s, two an update, at random; 150 sub-epochs.

    The learning rate climbs to 1e-3 four times, as the stages of `pre10` ask for (see lrpre10).  Then the original let
    errors on dev decide (times 0.9 each time, at least 2e-5); here it falls to 2e-5 over the same sub-epochs.  Labels
    and data are LibriSpeech's.

    Reported for all its tags together on Switchboard: 17.4 / 14.7 / 18.0 (Hub5'00 / 01, RT03S).
    """
    return (
        base_11gb()
        .with_("order", OrderConfig(kind="random", partition=20))
        .with_("batch.max_samples", 10_000 * FRAME)
        .with_("augment.speed", None)
        .with_("encoder.feed_forward.activation", "swish")
        .with_("encoder.attention", SelfAttentionConfig(dropout=0.0, position=TransformerXLPositionsConfig()))
        .with_("encoder.dropout.share", "none")
        .with_("encoder.dropout_behind_attention", False)
        .with_("decoder.readout_dropout.share", "none")
        .with_("ctc.layers", ())
        .with_("loss.label_smoothing", 0.0)
        .with_("train.epochs", 150)
        .with_("train.accumulate", 2)
        .with_("train.learning_rate", ByEpoch(start=1e-7, legs=CLIMBS_AND_FALL))
        .with_("train.optimizer", OptimizerConfig(kind="nadam_tf", eps=1e-8))
        .with_("train.optimizer.weight_decay", WeightDecayConfig(value=2e-4, readout=False))
    )


def base_an4() -> Experiment:
    """AN4, 40 minutes of spelled words and numbers, from scratch on two CPU cores: 24gb-v6 made small.

    Every pass is a sub-epoch.  What such a small corpus needs to leave the plateau where only blanks come out: batches
    of 20 s, labels of whole words (letters stay on the plateau four times as long), no masks in the first ten passes,
    and masks counted by each utterance's own length.
    """
    return (
        _small(base_24gb_v6(), layers=6, dim=144, labels=160)
        .with_("ctc.layers", (3, 6))
        .with_("batch.max_samples", 2_000 * FRAME)
        .with_("augment.specaugment.steps", (1_500, 3_000, 6_000))
        .with_("train.learning_rate", _rise_and_fall(1e-3))
        .with_("train.epochs", 80)
    )


def base_an4_stream() -> Experiment:
    """The base `an4` as a model that recognises while someone speaks, in chunks of 1.2 s with 0.9 s to look ahead.

    Its recordings keep their loudness: a stream's largest magnitude is known at its end only.
    """
    return base_an4().with_("audio.peak_normalize", False).with_("encoder.streaming", ChunkedConfig())


def base_tiny() -> Experiment:
    """For the demonstration and tests, minutes on two CPU cores: 24gb-v6 with other numbers only.

    Many short batches and few labels: both shorten the plateau on which only blanks come out.
    """
    return (
        _small(base_24gb_v6(), layers=3, dim=128, labels=100)
        .with_("ctc.layers", (2, 3))
        .with_("batch.max_samples", 1_600 * FRAME)
        .with_("augment.speed", None)
        .with_("augment.specaugment.steps", (1_000, 2_000, 4_000))
        .with_("decoder.attention_dim", 192)
        .with_("decoder.lstm_dim", 192)
        .with_("decoder.readout_dim", 192)
        .with_("train.learning_rate", _rise_and_fall(2e-3))
        .with_("train.epochs", 10)
        .with_("train.average_fraction", 0.3)
    )


def _small(e: Experiment, layers: int, dim: int, labels: int) -> Experiment:
    """What the bases for small corpora on a CPU share."""
    return (
        e.with_("tokenizer.size", labels)
        .with_("order", OrderConfig(bin_size=60, partition=1, short_first_epochs=0))
        .with_("batch", BatchConfig(max_utterances=32, max_labels=None))
        .with_("augment.specaugment", SpecAugmentConfig(max_time_width=10, max_band_width=10, count_from="utterance"))
        .with_("frontend.channels", (8, 16, 16))
        .with_("ctc.layers", (layers,))
        .with_("encoder.layers", layers)
        .with_("encoder.dim", dim)
        .with_("encoder.attention.heads", 4)
        .with_("encoder.feed_forward.dim", 384)
        .with_("encoder.convolution.kernel", 15)
        .with_("encoder.dropout.share", "none")
        .with_("decoder.embedding_dim", 128)
        .with_("decoder.attention_dim", 256)
        .with_("decoder.lstm_dim", 256)
        .with_("decoder.readout_dim", 256)
        .with_("decoder.readout_dropout.share", "none")
        .with_("train.precision", "float32")
        .with_("train.accumulate", 1)
        .with_("train.optimizer.weight_decay.value", 1e-2)
        .with_("train.optimizer.eps", 1e-8)
        .with_("train.eval_utterances", 100)
        .with_("search.kind", None)
        .with_("search.ctc_scale", 0.7)  # decoders need more data than CTC
    )


def _rise_and_fall(peak: float) -> PiecewiseLinear:
    """Up for 15 % of the training, down to a hundredth of the peak at 95 %, almost nothing at the end."""
    return PiecewiseLinear(unit="fraction", nodes=(0.15, 0.95, 1.0), values=(peak / 100, peak, peak / 100, peak / 1000))


BASES: dict[str, Callable[[], Experiment]] = {
    "tiny": base_tiny,
    "an4": base_an4,
    "an4-stream": base_an4_stream,
    "11gb": base_11gb,
    "24gb": base_24gb,
    "24gb-v2": base_24gb_v2,
    "24gb-v3": base_24gb_v3,
    "24gb-v4": base_24gb_v4,
    "24gb-v5": base_24gb_v5,
    "24gb-v6": base_24gb_v6,
    "conformer": base_conformer,
    "large": base_large,
    "espnet-conformer10": base_espnet_conformer10,
}

PARENTS: dict[str, str] = {
    "tiny": "24gb-v6",
    "an4": "24gb-v6",
    "an4-stream": "an4",
    "24gb": "11gb",
    "24gb-v2": "24gb",
    "24gb-v3": "24gb-v2",
    "24gb-v4": "24gb-v3",
    "24gb-v5": "24gb-v4",
    "24gb-v6": "24gb-v5",
    "conformer": "11gb",
    "large": "24gb-v6",
    "espnet-conformer10": "11gb",
}
"""The base each one is a difference from."""

ALIASES: dict[str, str] = {"v6-11gb": "24gb-v6", "11gb-v6": "24gb-v6"}
"""Older spellings.  v6 on GPUs of 11 GB is the recipe of 24gb-v6; its names say `f32-bs15k-accgrad4` themselves."""
