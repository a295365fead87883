"""Tags for what is done to speech in training: speed, mixup, time, masks."""

from __future__ import annotations

import math

from aedo.augment.mixup import MixupConfig
from aedo.augment.resize import FrameDropConfig, ResizeConfig
from aedo.augment.speed import SpeedConfig
from aedo.augment.timewarp import CentreWarpConfig, FlowWarpConfig
from aedo.experiment import Experiment
from aedo.recipes.notation import Range
from aedo.recipes.registry import UnfitError, tag
from aedo.schedule import Steps

STEPS = Range(0, 100_000_000)


@tag("speedpertv2", "speedpertV2")
def wider_speed_perturbation(e: Experiment) -> Experiment:
    """Lengths of 0.7 to 1.1: more fast speech.

    Why: more voices from the same recordings, and fast speech is where errors are.  Reported: 5.11 vs 5.45
    (Transformer decoder).
    """
    return e.with_("augment.speed", SpeedConfig(factors=(0.7, 0.8, 0.9, 1.0, 1.1)))


@tag("speedpertv3", "speedpertV3")
def widest_speed_perturbation(e: Experiment) -> Experiment:
    """Lengths of 0.5 to 1.1.

    Why: to see where more kinds of speech stop helping.  Reported: worse, 5.44 vs 5.11 with speedpertv2 (test-other
    6.34).
    """
    return e.with_("augment.speed", SpeedConfig(factors=(0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)))


@tag("nospeedpert")
def no_speed_perturbation(e: Experiment) -> Experiment:
    """Every utterance at its own speed.

    Why: a corpus with a curriculum of its own, or a comparison without augmentation.
    """
    return e.with_("augment.speed", None)


@tag("mixup")
def mixup(e: Experiment) -> Experiment:
    """Add one to four slices of earlier speech, at a tenth to four tenths of its level, to every utterance.

    The buffer holds a million frames and is saved with every checkpoint (320 MB at 80 bands).  A lambda is drawn for
    every slice, not every utterance, as the original's code does.
    Why: speech of others in the background, at no cost in data.  Source: Zhang et al. 2018, labels unmixed.
    Reported: 6.36 vs 6.35 (24gb-v5, no effect), 5.90 vs 5.84.
    """
    return e.with_("augment.mixup", MixupConfig())


@tag("rndresize{low:number}_{high:number}", low=Range(0.1, 999), high=Range(0.1, 999))
def random_resize(e: Experiment, low: float, high: float) -> Experiment:
    """Interpolate a batch in time by one random factor: rndresize09_12 = 0.9 to 1.2 (the point is behind digit one).

    The original lengthened only batches of up to 250 frames, to save memory, which are hardly any; here all are, and
    `rndresizeguard250` takes that up.  Labels that do not fit a shortened utterance give no CTC loss.
    Why: another tempo each time, without resampling audio.  Reported: Switchboard, about 18.3/15.1/19.1, recommended.
    """
    return e.with_("augment.resize", ResizeConfig(low=_point_behind_first(low), high=_point_behind_first(high)))


def _point_behind_first(value: float) -> float:
    """12 -> 1.2, 105 -> 1.05; what is below ten stays."""
    return value / 10 ** math.floor(math.log10(value)) if value >= 10 else value


@tag("rndresizeguard{frames:count}", after=["rndresize"], frames=Range(1, 1_000_000))
def random_resize_guard(e: Experiment, frames: int) -> Experiment:
    """Make no batch longer whose longest utterance has more frames than this (the original: 250).

    Why: the memory that a batch takes stays bounded.
    """
    return e.with_("augment.resize.lengthen_up_to", frames)


@tag("rndframedrop{rate:fraction}", rate=Range(0, 0.9))
def random_frame_drop(e: Experiment, rate: float) -> Experiment:
    """Leave out each frame with this probability, but keep at least 10.

    Why: other rhythms, and no frame to rely on.  Reported: nothing for it alone.
    """
    return e.with_("augment.frame_drop", FrameDropConfig(rate=rate))


@tag("specaugorig")
def original_specaugment(e: Experiment) -> Experiment:
    """SpecAugment at full strength: a time mask per 100 frames, band masks up to 16 wide.

    Why: takes back what 24gb-v2 weakened.  Reported: 6.22 vs 7.01 (24gb-v3), the largest single gain.
    """
    return e.with_("augment.specaugment.frames_per_mask", 100).with_("augment.specaugment.max_band_width", 16)


@tag("specaugv2")
def weaker_specaugment(e: Experiment) -> Experiment:
    """SpecAugment of 24gb-v2: half as many time masks, band masks up to 10 wide.

    Why: a milder augmentation was hoped to converge sooner.  Reported: 7.01 vs 6.22.
    """
    return e.with_("augment.specaugment.frames_per_mask", 200).with_("augment.specaugment.max_band_width", 10)


@tag("specaugweia", "specaugwei")
def few_narrow_masks(e: Experiment) -> Experiment:
    """SpecAugment of a Switchboard recipe: up to one time mask of at most 15 per 21 frames, up to 5 narrow band
    masks.

    Band masks are at most 4 wide; half as many of both kinds before micro-step 2000.  Both spellings are the same
    numbers (the second was another implementation).

    Why: many narrow masks hide less of a word than few wide ones.  Reported: Switchboard 17.8 vs 19.0 (Hub5'00).
    """
    masks = {
        "steps": (0, 2000, 2000),
        "frames_per_mask": 21,
        "short_time_masks": 1,
        "time_factors": (0.5, 1.0, 1.0),
        "min_time_masks": (0, 0, 0),
        "max_time_width": 15,
        "max_band_masks": (2, 5, 5),
        "min_band_masks": (0, 0, 0),
        "max_band_width": 4,
    }
    for field, value in masks.items():
        e = e.with_(f"augment.specaugment.{field}", value)
    return e


@tag("specaugespnet")
def espnet_specaugment(e: Experiment) -> Experiment:
    """ESPnet's SpecAugment: a time warp of 5 frames, 2 band masks of 0 to 27, 10 time masks of up to 5 % each.

    The share is of the utterance's own length; in the original, of the padded batch.  From the first micro-step on.

    Why: comparisons with ESPnet's recipes.  Source: ESPnet's LibriSpeech recipes.
    """
    masks = {
        "steps": (0, 0, 0),
        "frames_per_mask": None,
        "short_time_masks": 10,
        "time_factors": (1.0, 1.0, 1.0),
        "min_time_masks": (10, 10, 10),
        "max_time_share": 0.05,
        "min_width": 0,
        "max_band_masks": (2, 2, 2),
        "min_band_masks": (2, 2, 2),
        "max_band_width": 27,
    }
    for field, value in masks.items():
        e = e.with_(f"augment.specaugment.{field}", value)
    return e.with_("augment.time_warp", CentreWarpConfig())


@tag("twarp", "twarp{width:count}", after=["specaugespnet"], width=Range(1, 1000))
def time_warp(e: Experiment, width: int = 5) -> Experiment:
    """Move a random frame of every utterance by up to 5 (twarp40: 40) frames and stretch what is on either side.

    Before the masks, as in ESPnet, so that they keep their widths; the original's `oldtwarp` came after them.
    Why: another rhythm at the same length.  Source: Park et al. 2019.
    """
    return e.with_("augment.time_warp", CentreWarpConfig(width=width))


@tag("oldtwarp")
def flowing_time_warp(e: Experiment) -> Experiment:
    """Shift frames by a smooth random flow, with a standard deviation of 10, later 40 and 90 frames.

    They begin at micro-steps 2k, 10k and 100k.  Independent every 10 frames, so time runs backwards here and there.
    "+30" and "+50" of the notes are read as sums; before the masks here, behind them in the original.
    Why: for comparison; `twarp` is the sane one.  Reported: Switchboard 19.0 vs 18.0, worse.
    """
    std = Steps(nodes=(2_000, 10_000, 100_000), values=(0.0, 10.0, 40.0, 90.0))
    return e.with_("augment.time_warp", FlowWarpConfig(std=std))


@tag(
    "specaugsteps{start:count}_{more:count}_{full:count}",
    after=["specaugespnet"],
    start=STEPS,
    more=STEPS,
    full=STEPS,
)
def specaugment_steps(e: Experiment, start: int, more: int, full: int) -> Experiment:
    """Micro-steps from which on SpecAugment masks at all, masks always, and masks twice as much.

    Why: too much of it early keeps a model from converging.  The bases have 5k, 15k, 25k; fine-tuning has 0, 0, 0.
    `specaugweia` and `specaugespnet` bring their own phases and cannot be combined with it.
    """
    masks = e.augment.specaugment
    if masks is not None and masks.constant:
        raise UnfitError("the number of masks does not change over the training here; leave it out")
    return e.with_("augment.specaugment.steps", (start, more, full))


@tag("specauglen")
def specaugment_by_own_length(e: Experiment) -> Experiment:
    """Let each utterance's own length set its number of time masks, not the longest of its batch.

    Why: in the original a short utterance beside a long one loses 61 % of its frames, alone 22 %.
    """
    return e.with_("augment.specaugment.count_from", "utterance")


@tag("nospecaug")
def no_specaugment(e: Experiment) -> Experiment:
    """Train on unmasked features.

    Why: to measure what masking gains, or to see whether a model can learn its corpus by heart.
    """
    return e.with_("augment.specaugment", None)
