"""Tags for the front-end: other kinds, and more downsampling at the start of a training."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.model.blstm_frontend import BlstmFrontendConfig
from aedo.recipes.notation import Range
from aedo.recipes.registry import UnfitError, tag
from aedo.schedule import Steps

UNITS = Range(1, 16_384)
FACTORS = Range(1, 1000)


@tag("blstmf2", "blstmf2d{units:count}", units=UNITS)
def recurrent_frontend(e: Experiment, units: int = 512) -> Experiment:
    """Two bidirectional LSTM layers with 512 units per direction, their outputs max-pooled over 3 and over 2 frames.

    With other sizes: blstmf2d128.

    Why: the front-end of the older Conformers; it sees the whole utterance.  Reported: 17.4 / 14.7 (Switchboard, the
    whole older recipe).  Source: Zeyer et al. 2018.
    """
    return e.with_("frontend", BlstmFrontendConfig(units=units))


@tag("cnnblstmf2", "cnnblstmf2d{units:count}", units=UNITS)
def convolutional_recurrent_frontend(e: Experiment, units: int = 512) -> Experiment:
    """Two 3 x 3 convolutions with 32 channels, each max-pooled over 2 bands, in front of the layers of blstmf2.

    Why: shifts in frequency matter less.  Reported: 18.0 / 14.5 vs 17.4 / 14.7 (Switchboard); on LibriSpeech later 4.43
    vs 4.26 of the convolutions alone.
    """
    return e.with_("frontend", BlstmFrontendConfig(units=units, channels=(32, 32)))


@tag(
    "downsched{first:count}_{final:count}",
    "downsched{first:count}_{final:count}_{steps:count}",
    first=FACTORS,
    final=FACTORS,
    steps=Range(1, 100_000_000),
    after=["down", "blstmf2", "cnnblstmf2"],
)
def falling_downsampling(e: Experiment, first: int, final: int, steps: int | None = None) -> Experiment:
    """Pool more frames in front of the encoder at the start, half as many from stage to stage (downsched24_6).

    There: 24 feature frames per encoder frame in the first tenth of the training, 12 in the second, then the 6 of the
    front-end; downsched24_6_20k gives each stage 20k micro-steps instead.  The pooling takes maxima.  Utterances whose
    labels have no room in so few frames yield no CTC loss in that stage.  Our reading: no code of an original is known.

    Why: short sequences are aligned sooner, and cost less.  Reported: nothing.  Source: Zeyer et al. 2018, for
    recurrent encoders.
    """
    own = e.frontend.downsampling
    if final != own:
        raise UnfitError(f"the front-end has {own} feature frames per encoder frame, not {final}; end with {own}")
    if first <= own or first % own:
        raise UnfitError(f"{first} is not 2, 3, 4, ... times {own}")
    factors = [first // own]
    while factors[-1] > 1:
        factors.append(factors[-1] // 2)
    stages = range(1, len(factors))
    nodes = tuple(stage / 10 if steps is None else steps * stage for stage in stages)
    if nodes[-1] >= 1 and steps is None:
        raise UnfitError(f"{first} needs {len(stages)} stages, more than a training has tenths; say their micro-steps")
    unit = "fraction" if steps is None else "micro_step"
    return e.with_("encoder.pooling", Steps(unit=unit, nodes=nodes, values=tuple(factors)))
