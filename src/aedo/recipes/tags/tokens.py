"""Tags for the labels: what the text is cut into."""

from __future__ import annotations

from aedo.augment.labels import LongestMatchSampling, UnigramSampling
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


@tag("bpesample{deviate:fraction}", deviate=Range(1e-4, 1))
def sampled_pieces(e: Experiment, deviate: float) -> Experiment:
    """Draw the labels of a text anew at every reading: its longest pieces, each passed over with this probability.

    bpesample001: 0.01; the next shorter piece that leads to the end of the word is taken then.  The decoder sees that
    a word has several spellings.  Works with every vocabulary of pieces, not with characters.

    Why: regularises the decoder.  Source: SamplingBytePairEncoding of the reference.  Reported: 5.14 against 5.16
    without, dev-other, 10k labels.
    """
    return e.with_("augment.labels", LongestMatchSampling(deviate=deviate))


@tag("spmsample{alpha:fraction}", alpha=Range(0, 1))
def sampled_unigrams(e: Experiment, alpha: float) -> Experiment:
    """Draw the labels of a text anew at every reading, by the unigram model's probabilities to the power of alpha.

    spmsample07: 0.7; the smaller, the more varied.

    Why: regularises the decoder.  Source: Kudo 2018.  Reported: dev-other with alpha 1: 5.35, 0.8: 5.14, 0.7: 4.98,
    0.5: 5.13, 0.3: 5.26; without 5.16 to 5.24.
    """
    return e.with_("augment.labels", UnigramSampling(alpha=alpha))
