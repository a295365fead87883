"""Tags for log-mel features and the convolutional front-end."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.recipes.notation import Range
from aedo.recipes.registry import UnfitError, tag

CHANNELS = Range(1, 4096)
STRIDES = {2: (1, 2, 1), 3: (1, 3, 1), 4: (1, 2, 2), 6: (1, 3, 2), 8: (2, 2, 2), 12: (2, 3, 2)}


@tag("nopeaknorm")
def no_peak_normalization(e: Experiment) -> Experiment:
    """Leave the loudness of the audio as it is, instead of dividing each utterance by its largest magnitude."""
    return e.with_("audio.peak_normalize", False)


@tag("mel{bands:count}", bands=Range(8, 256))
def mel_bands(e: Experiment, bands: int) -> Experiment:
    """Number of mel filters (the reference: 80)."""
    return e.with_("features.dim", bands)


@tag("logbase10")
def log_base_10(e: Experiment) -> Experiment:
    """Logarithm to base 10 exactly; the reference inherited exp(2.3026), and its later CTC models have 10."""
    return e.with_("features.log_base", 10.0)


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
    """Channels of the front-end's three convolutions (the reference: convch32_64_64)."""
    return e.with_("frontend.channels", (first, second, third))


@tag("batchpad")
def padding_of_the_batch(e: Experiment) -> Experiment:
    """Padding as in the original: results depend on the longest utterance of the batch.

    Why: exact parity with checkpoints of the original; of no use otherwise.
    """
    return e.with_("frontend.padding", "batch").with_("encoder.convolution.padding", "batch")
