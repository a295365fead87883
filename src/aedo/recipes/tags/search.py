"""Tags for recognition."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.recipes.notation import Range
from aedo.recipes.registry import tag


@tag("beam{size:count}", size=Range(1, 10_000))
def beam_size(e: Experiment, size: int) -> Experiment:
    """Hypotheses kept per utterance (the reference: 12).

    Why: a wider beam costs time and finds what a narrow one loses.  Reported: hardly matters for a good model, 5.14
    vs 5.18 at 60.
    """
    return e.with_("search.beam", size)


@tag("lennorm{exponent:number}", exponent=Range(0, 10))
def length_normalization(e: Experiment, exponent: float) -> Experiment:
    """Exponent of the length normalisation (the reference: 1; 0 = none).

    Why: without it longer hypotheses lose by the number of their factors.  Reported at beam 60: 5.18 with 1, 5.21
    with 0.
    """
    return e.with_("search.length_normalization", exponent)


@tag("aedonly")
def attention_only(e: Experiment) -> Experiment:
    """Recognise with the decoder's beam search alone, as all bases of the reference do.

    Why: to compare with what was published for them.  Reported for a large model: 2.81 / 4.72 (dev-clean, dev-other).
    """
    return e.with_("search.kind", "attention")


@tag("joint")
def joint(e: Experiment) -> Experiment:
    """Recognise with decoder and CTC together, label by label; the default outside the bases of the reference.

    Why: CTC keeps the decoder from looping, skipping and inventing words.  Source: Watanabe et al. 2017.  Reported for
    an E-Branchformer: 2.17 / 5.12, alone 2.74 / 5.35 (dev-clean, dev-other).
    """
    return e.with_("search.kind", "joint")


@tag("jointtime")
def joint_in_time(e: Experiment) -> Experiment:
    """Recognise with decoder and CTC together, frame by frame.

    Why: as `joint`; CTC leads and no hypothesis runs ahead of the audio.  Source: the reference's later search.
    Reported for a large model: 1.86 / 4.26, by attention alone 2.81 / 4.72 (dev-clean, dev-other).
    """
    return e.with_("search.kind", "joint_time")


@tag("ctcprefix")
def ctc_prefix(e: Experiment) -> Experiment:
    """Recognise with CTC prefix beam search, without the decoder.

    Why: sums over all paths of the same labels, of which the best path (greedy) is only one.  Source: Hannun et al.
    2014.  No WER was published.
    """
    return e.with_("search.kind", "ctc_prefix")


@tag("ctcscale{scale:number}", scale=Range(0, 1))
def ctc_scale(e: Experiment, scale: float) -> Experiment:
    """Weight of CTC in the joint searches; the decoder has the rest of 1.

    Why: the better of the two models should have the larger say; `aedo tune` finds the weight on dev.  Source:
    Watanabe et al. 2017.  Reported with 0.3 for an E-Branchformer: 2.17 / 5.12 (dev-clean, dev-other).
    """
    return e.with_("search.ctc_scale", scale)


@tag("lenreward{reward:number}", reward=Range(0, 10))
def length_reward(e: Experiment, reward: float) -> Experiment:
    """Added for every label of a hypothesis (in all searches but the best CTC path).

    Why: each factor of a probability makes a longer hypothesis less likely.  Reported in the search by attention with
    0.1, beside normalisation: 5.66 instead of 5.72 (test-other).
    """
    return e.with_("search.length_reward", reward)


@tag("ilmscale{scale:number}", scale=Range(0, 2))
def internal_lm(e: Experiment, scale: float) -> Experiment:
    """Take off what the decoder says without having heard anything, so many times (attention and joint searches).

    Why: the decoder has learned the language of its training texts, too; that counts twice beside a language model, and
    misleads on other texts.  It takes a second decoder.  Source: McDermott et al. 2019; with the encoder silenced:
    Meng et al. 2021.  No WER was published.
    """
    return e.with_("search.internal_lm_scale", scale)


@tag("priorscale{scale:number}", scale=Range(0, 2))
def label_prior(e: Experiment, scale: float) -> Experiment:
    """Take off the labels' log prior, CTC's mean posterior over training data, so many times (searches with CTC).

    Why: CTC favours frequent labels, which a language model does as well.  Source: the reference's CTC models with a
    language model.  Reported for the largest of those, with a language model: 1.87 / 3.88 (dev-clean, dev-other).
    """
    return e.with_("search.prior_scale", scale)
