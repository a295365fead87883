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
