"""Tags for speed perturbation and SpecAugment."""

from __future__ import annotations

from aedo.augment.speed import SpeedConfig
from aedo.experiment import Experiment
from aedo.recipes.notation import Range
from aedo.recipes.registry import tag

STEPS = Range(0, 100_000_000)


@tag("speedpertv2", "speedpertV2")
def wider_speed_perturbation(e: Experiment) -> Experiment:
    """Lengths of 0.7 to 1.1: more fast speech.  Reported: 5.11 vs 5.45 (Transformer decoder)."""
    return e.with_("augment.speed", SpeedConfig(factors=(0.7, 0.8, 0.9, 1.0, 1.1)))


@tag("speedpertv3", "speedpertV3")
def widest_speed_perturbation(e: Experiment) -> Experiment:
    """Lengths of 0.5 to 1.1.  Reported: worse, 5.44 vs 5.11 with speedpertv2 (test-other 6.34)."""
    return e.with_("augment.speed", SpeedConfig(factors=(0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)))


@tag("nospeedpert")
def no_speed_perturbation(e: Experiment) -> Experiment:
    """Every utterance at its own speed."""
    return e.with_("augment.speed", None)


@tag("specaugorig")
def original_specaugment(e: Experiment) -> Experiment:
    """SpecAugment at full strength: a time mask per 100 frames, band masks up to 16 wide.

    Why: takes back what 24gb-v2 weakened.  Reported: 6.22 vs 7.01 (24gb-v3), the largest single gain.
    """
    return e.with_("augment.specaugment.frames_per_mask", 100).with_("augment.specaugment.max_band_width", 16)


@tag("specaugv2")
def weaker_specaugment(e: Experiment) -> Experiment:
    """SpecAugment of 24gb-v2: half as many time masks, band masks up to 10 wide.  Reported: 7.01 vs 6.22."""
    return e.with_("augment.specaugment.frames_per_mask", 200).with_("augment.specaugment.max_band_width", 10)


@tag("specaugsteps{start:count}_{more:count}_{full:count}", start=STEPS, more=STEPS, full=STEPS)
def specaugment_steps(e: Experiment, start: int, more: int, full: int) -> Experiment:
    """Micro-steps from which on SpecAugment masks at all, masks always, and masks twice as much.

    Why: too much of it early keeps a model from converging.  The bases have 5k, 15k, 25k; fine-tuning has 0, 0, 0.
    """
    return e.with_("augment.specaugment.steps", (start, more, full))


@tag("specauglen")
def specaugment_by_own_length(e: Experiment) -> Experiment:
    """Let each utterance's own length set its number of time masks, not the longest of its batch.

    Why: in the original a short utterance beside a long one loses 61 % of its frames, alone 22 %.
    """
    return e.with_("augment.specaugment.count_from", "utterance")


@tag("nospecaug")
def no_specaugment(e: Experiment) -> Experiment:
    """Train on unmasked features."""
    return e.with_("augment.specaugment", None)
