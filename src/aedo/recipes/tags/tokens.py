"""Tags for the labels: what the text is cut into."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.recipes.notation import Range
from aedo.recipes.registry import tag

SIZES = Range(16, 200_000)


@tag("spm{size:labels}", size=SIZES)
def unigram(e: Experiment, size: int) -> Experiment:
    """SentencePiece unigram labels (spm10k = 10240, spm512 = 512).

    Why: the later recipes of the reference use them instead of byte-pair encoding.  Source: Kudo 2018.
    """
    return e.with_("tokenizer.kind", "unigram").with_("tokenizer.size", size)


@tag("bpe{size:labels}", size=SIZES)
def byte_pairs(e: Experiment, size: int) -> Experiment:
    """SentencePiece byte-pair labels (bpe1k = 1024; the big bases have 10025).

    Why: frequent words stay whole, rare ones are spelled.  Source: Sennrich et al. 2016.
    """
    return e.with_("tokenizer.kind", "bpe").with_("tokenizer.size", size)


@tag("char")
def characters(e: Experiment) -> Experiment:
    """Characters as labels.

    Why: a corpus of an hour has too few examples of each word piece.
    """
    return e.with_("tokenizer.kind", "char")
