"""Bases beside the line of the reference's first configurations: its best later recipe, and ESPnet's."""

from __future__ import annotations

import math

from aedo.augment.labels import LongestMatchSampling
from aedo.augment.specaugment import SpecAugmentConfig
from aedo.augment.speed import SpeedConfig
from aedo.augment.timewarp import CentreWarpConfig
from aedo.data.audio import AudioConfig
from aedo.data.batch import BatchConfig
from aedo.data.order import OrderConfig
from aedo.data.text import TokenizerConfig
from aedo.experiment import AugmentConfig, Experiment
from aedo.features.logmel import LogMelConfig
from aedo.features.normalize import GlobalNormConfig, RunningNormConfig
from aedo.losses.ctc import CtcConfig
from aedo.losses.objective import LossConfig
from aedo.model.conformer import ConformerConfig
from aedo.model.frontend import ConvFrontendConfig
from aedo.model.initialize import InitializationConfig
from aedo.model.transformer_decoder import TransformerDecoderConfig
from aedo.nn.attention import SelfAttentionConfig
from aedo.nn.convolution import ConvolutionConfig
from aedo.nn.dropout import DropoutConfig
from aedo.nn.feedforward import FeedForwardConfig
from aedo.nn.norms import BatchNormConfig
from aedo.nn.positions import TransformerXLPositionsConfig
from aedo.schedule import PiecewiseLinear, WarmupInverseSqrt
from aedo.train.config import KeepConfig, TrainConfig
from aedo.train.gradients import GradientConfig
from aedo.train.optimizers import OptimizerConfig
from aedo.train.param_groups import WeightDecayConfig

SECOND = 16_000
"""Samples."""


def base_large() -> Experiment:
    """The best later recipe of the reference without extra data: 16 x 1024 Conformer, 6 x 1024 Transformer decoder.

    561 M parameters, for a GPU of 96 GB: bfloat16, batches of 1000 s, one an update, 100 whole passes.  Normalised
    features; the Conformer has Transformer-XL positions without dropout, feed-forward networks without biases, and
    BatchNorm that counts padding.  CTC on layers 4, 10 and 16.  The decoder has RMSNorm, gated feed-forward networks,
    rotary positions beside the absolute ones, one matrix for embedding and output, and an output layer on layer 3 too.
    The learning rate climbs to 5e-4 for 45 % of the training and falls for as long.  10,240 labels, drawn anew for
    every utterance: each decision of the longest match passed over with probability 0.01.

    Reported: 2.87 / 4.71 / 2.79 / 5.03 (dev-clean, dev-other, test-clean, test-other), with joint CTC search 1.87 /
    4.06 / 2.06 / 4.38.
    """
    return Experiment(
        tokenizer=TokenizerConfig(kind="unigram", size=10_240),
        order=OrderConfig(kind="laplace", bin_size=1000, partition=1, short_first_epochs=0),
        batch=BatchConfig(max_samples=1000 * SECOND, max_utterances=200, max_labels=None, max_seconds=19.5),
        features=LogMelConfig(log_base=10.0, normalize=RunningNormConfig()),
        augment=AugmentConfig(
            labels=LongestMatchSampling(deviate=0.01),
            speed=SpeedConfig(factors=(0.7, 0.8, 0.9, 1.0, 1.1)),
            specaugment=SpecAugmentConfig(steps=(5_000, 15_000, 25_000)),
        ),
        encoder=ConformerConfig(
            layers=16,
            dim=1024,
            feed_forward=FeedForwardConfig(dim=4096, bias=False),
            attention=SelfAttentionConfig(position=TransformerXLPositionsConfig()),
            convolution=ConvolutionConfig(norm=BatchNormConfig(masked=False)),
        ),
        ctc=CtcConfig(layers=(4, 10, 16)),
        decoder=TransformerDecoderConfig(
            layers=6,
            dim=1024,
            feed_forward=FeedForwardConfig(dim=2816, activation="swiglu", bias=False),
            norm="rms",
            rotary=True,
            self_attention_bias=False,
            shared_embedding=True,
            embedding_scale=32.0,
            auxiliary=(3,),
            input_dropout=0.1,
        ),
        train=TrainConfig(
            epochs=100,
            precision="bfloat16",
            learning_rate=PiecewiseLinear(
                unit="fraction", nodes=(0.45, 0.9, 1.0), values=(0.5e-5, 0.5e-3, 0.5e-5, 0.5e-6)
            ),
            optimizer=OptimizerConfig(
                eps=1e-16, weight_decay=WeightDecayConfig(value=1e-2, exclude=("embedding", "relative_position"))
            ),
            gradients=GradientConfig(clip_norm=5.0),
        ),
    )


def base_espnet_conformer10() -> Experiment:
    """ESPnet's Conformer recipe for LibriSpeech (conformer10, hop 160) with our parts: 12 x 512, 6 x 512.

    Every utterance at three speeds in each of 50 passes, in fixed batches of like length by numbers of elements, mean
    loss of an utterance, 0.3 CTC on the top layer, Adam 2.5e-3 with 40k updates of warm-up, ESPnet's SpecAugment,
    features normalised over the training data, average of the 10 best.  16 batches of 8.75 M samples are an update: on
    one device, what there is 4 GPUs with 4 batches each.  They count micro-steps here: warm-up and decay are as many
    updates.

    What differs, since our parts are the reference's: three convolutions in the front-end (here by 4 too), our own mel
    filters, no biases in front of output layers, weight decay not on biases, and the 10 best by the decoder's loss, not
    by its accuracy.  In bfloat16, where ESPnet has float16.
    """
    accumulate, warmup = 16, 40_000
    return Experiment(
        audio=AudioConfig(peak_normalize=False),
        tokenizer=TokenizerConfig(kind="unigram", size=5_000),
        order=OrderConfig(kind="fixed", partition=1, short_first_epochs=0),
        batch=BatchConfig(max_samples=35_000_000 // 4, count_labels=True, max_utterances=1000, max_labels=None),
        features=LogMelConfig(window=512, log_base=math.e, normalize=GlobalNormConfig()),
        augment=AugmentConfig(
            speed=SpeedConfig(factors=(0.9, 1.0, 1.1), every=True),
            time_warp=CentreWarpConfig(),
            specaugment=SpecAugmentConfig(
                steps=(0, 0, 0),
                frames_per_mask=None,
                short_time_masks=10,
                time_factors=(1.0, 1.0, 1.0),
                min_time_masks=(10, 10, 10),
                max_time_share=0.05,
                min_width=0,
                max_band_masks=(2, 2, 2),
                min_band_masks=(2, 2, 2),
                max_band_width=27,
            ),
        ),
        frontend=ConvFrontendConfig(time_strides=(1, 2, 2)),
        encoder=ConformerConfig(
            feed_forward=FeedForwardConfig(activation="swish"),
            attention=SelfAttentionConfig(position=TransformerXLPositionsConfig(dropout=0.1)),
            convolution=ConvolutionConfig(kernel=31, norm=BatchNormConfig(masked=False, eps=1e-5)),
            dropout=DropoutConfig(share="none"),
        ),
        ctc=CtcConfig(layers=(12,), scales=0.3),
        decoder=TransformerDecoderConfig(
            layers=6,
            dim=512,
            embedding_scale=math.sqrt(512),
            dropout=DropoutConfig(share="none"),
            input_dropout=0.1,
        ),
        initialization=InitializationConfig(kind="torch"),
        loss=LossConfig(decoder_scale=0.7, normalization="sequences"),
        train=TrainConfig(
            epochs=50,
            accumulate=accumulate,
            precision="bfloat16",
            learning_rate=WarmupInverseSqrt(peak=2.5e-3, warmup=warmup * accumulate, norm=warmup * accumulate),
            optimizer=OptimizerConfig(kind="adam", weight_decay=WeightDecayConfig(value=1e-6)),
            gradients=GradientConfig(clip_norm=5.0, divide=True),
            keep=KeepConfig(best=10),
            average_fraction=0.0,
            average_best=10,
        ),
    )
