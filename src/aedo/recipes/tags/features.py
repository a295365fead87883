"""Tags for log-mel features and the convolutional front-end."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.features.normalize import GlobalNormConfig, RunningNormConfig, UtteranceNormConfig
from aedo.recipes.notation import Range
from aedo.recipes.registry import UnfitError, tag

CHANNELS = Range(1, 4096)
STRIDES = {2: (1, 2, 1), 3: (1, 3, 1), 4: (1, 2, 2), 6: (1, 3, 2), 8: (2, 2, 2), 12: (2, 3, 2)}


@tag("nopeaknorm")
def no_peak_normalization(e: Experiment) -> Experiment:
    """Leave the loudness of the audio as it is, instead of dividing each utterance by its largest magnitude.

    Why: loudness may carry information, and recordings that are cut live have no peak to divide by.
    """
    return e.with_("audio.peak_normalize", False)


@tag("mel{bands:count}", bands=Range(8, 256))
def mel_bands(e: Experiment, bands: int) -> Experiment:
    """Number of mel filters (the reference: 80).

    Why: fewer bands blur the harmonics, more show them.
    """
    return e.with_("features.dim", bands)


@tag("logbase10")
def log_base_10(e: Experiment) -> Experiment:
    """Logarithm to base 10 exactly; the reference inherited exp(2.3026), and its later CTC models have 10.

    Why: the scale that checkpoints of later models expect.
    """
    return e.with_("features.log_base", 10.0)


@tag("featnorm_utt")
def utterance_normalization(e: Experiment) -> Experiment:
    """Bring every band of every utterance to mean 0 and variance 1 over the utterance's own frames.

    Why: microphone and level drop out.  The masks of SpecAugment, zeros, then are the mean.  Source: ESPnet's
    utterance_mvn (which leaves the variance alone unless told otherwise).
    """
    return e.with_("features.normalize", UtteranceNormConfig())


@tag("featnorm_global")
def global_normalization(e: Experiment) -> Experiment:
    """Bring every band to mean 0 and variance 1 over the training data: 1000 fixed utterances, once, before the start.

    Why: the first layer sees numbers near 1, and the masks of SpecAugment are the mean.  The statistics are saved with
    the weights; a training that starts from another's weights keeps theirs.  Source: ESPnet's global_mvn.
    """
    return e.with_("features.normalize", GlobalNormConfig())


@tag("featbn")
def feature_batch_normalization(e: Experiment) -> Experiment:
    """BatchNorm on the features, without scale and shift; running statistics in use, those of the batch in
    training.

    Why: inputs of mean 0 and deviation 1, without statistics of the data beforehand.  Source: the original's later
    recipes ("featBN").
    """
    return e.with_("features.normalize", RunningNormConfig())


@tag("down{factor:count}", factor=Range(2, 12))
def downsampling(e: Experiment, factor: int) -> Experiment:
    """Feature frames per encoder frame: 2, 3, 4, 6 (the reference), 8 or 12.

    Why: letters need more frames than word pieces, or CTC has no room for them.
    """
    if factor not in STRIDES:
        raise UnfitError(
            f"there is no front-end that shortens {factor} times; take one of {', '.join(map(str, STRIDES))}"
        )
    return e.with_("frontend.time_strides", STRIDES[factor])


@tag(
    "convch{first:count}_{second:count}_{third:count}",
    first=CHANNELS,
    second=CHANNELS,
    third=CHANNELS,
)
def convolution_channels(e: Experiment, first: int, second: int, third: int) -> Experiment:
    """Channels of the front-end's three convolutions (the reference: convch32_64_64).

    Why: most of the front-end's time goes into its channels.
    """
    return e.with_("frontend.channels", (first, second, third))


@tag("batchpad", after=["ebranchformer"])
def padding_of_the_batch(e: Experiment) -> Experiment:
    """Padding as in the original: results depend on the longest utterance of the batch.

    Why: exact parity with checkpoints of the original; of no use otherwise.
    """
    encoder = "encoder.convolution" if e.encoder.kind == "conformer" else "encoder"
    return e.with_("frontend.padding", "batch").with_(f"{encoder}.padding", "batch")
