"""Tags for the order of the utterances, their batches and the length of the training."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.recipes.notation import Range
from aedo.recipes.registry import tag
from aedo.schedule import PiecewiseLinear

FRAMES = Range(100, 10_000_000)


@tag("bs{frames:count}", frames=FRAMES)
def batch_size(e: Experiment, frames: int) -> Experiment:
    """Padded size of a batch in feature frames of 10 ms (bs40k = 400 s).

    Why: larger batches use a device better and smooth the gradient, smaller ones make more updates of the same
    data.  Reported: bs30k-accgrad3 7.19, bs40k 7.07.
    """
    return e.with_("batch.max_samples", float(frames * e.features.hop))


@tag("bsramp{start:count}_{end:count}_{steps:count}", start=FRAMES, end=FRAMES, steps=Range(1, 1_000_000_000))
def batch_size_ramp(e: Experiment, start: int, end: int, steps: int) -> Experiment:
    """Batches that grow or shrink: padded size in feature frames, from one to another in so many micro-steps.

    bsramp10k_40k_100k: from 10k to 40k along a straight line over the first 100k micro-steps, taken at the start of
    each sub-epoch.  Why: small batches give more updates early, large ones less noise later.  Source: Smith et al.
    2018.
    """
    hop = e.features.hop
    ramp = PiecewiseLinear(unit="micro_step", nodes=(steps,), values=(start * hop, end * hop))
    return e.with_("batch.max_samples", ramp)


@tag("maxseqs{count:count}", count=Range(1, 100_000))
def max_utterances(e: Experiment, count: int) -> Experiment:
    """Largest number of utterances in a batch.

    Why: many short utterances would make a batch of far more labels than usual.
    """
    return e.with_("batch.max_utterances", count)


@tag("maxlabels{count:count}", count=Range(2, 100_000))
def max_labels(e: Experiment, count: int) -> Experiment:
    """Leave out utterances with more labels, EOS counted (75 leaves out 0.03 % of LibriSpeech).

    Why: long transcripts cost memory in the decoder, and some are errors of the corpus.
    """
    return e.with_("batch.max_labels", count)


@tag("nomaxlabels")
def no_max_labels(e: Experiment) -> Experiment:
    """Keep utterances however many labels they have.

    Why: letters need more labels than word pieces, and the limit was chosen for those.
    """
    return e.with_("batch.max_labels", None)


@tag("maxsecs{seconds:number}", seconds=Range(0.1, 36_000))
def max_seconds(e: Experiment, seconds: float) -> Experiment:
    """Leave out longer utterances (maxsecs30; maxsecs195e_1 = 19.5), by their length before speed perturbation.

    Why: memory grows with the square of the longest one.  The reference's later recipes have 19.5 instead of a limit
    of labels.
    """
    return e.with_("batch.max_seconds", seconds)


@tag("laplace{utterances:count}", utterances=Range(1, 10_000_000))
def laplace_order(e: Experiment, utterances: int) -> Experiment:
    """Shuffle, cut into bins of so many utterances, sort the bins by length alternately up and down.

    Why: little padding, and neighbouring batches are of similar length.  The reference's order, with 1000.
    """
    return e.with_("order.kind", "laplace").with_("order.bin_size", utterances)


@tag("sortbatch")
def sorted_order(e: Experiment) -> Experiment:
    """Utterances sorted by length: the least padding, always the same batches.

    Why: to measure what shuffling is worth.
    """
    return e.with_("order.kind", "sorted")


@tag("randbatch")
def random_order(e: Experiment) -> Experiment:
    """Utterances shuffled without regard to length: the most padding, the most varied batches.

    Why: to measure what batches of similar length cost in variety.
    """
    return e.with_("order.kind", "random")


@tag("bucket{count:count}", count=Range(1, 100_000))
def buckets(e: Experiment, count: int) -> Experiment:
    """Batches of utterances from one of so many groups of like length (quantiles), in random order.

    Anew in each sub-epoch: shuffled within a group, then the batches of all groups are shuffled.  Why: nearly as little
    padding as sorted, yet neither the company of an utterance nor the lengths from batch to batch are fixed.  Source:
    the samplers of lhotse and NeMo; 30 groups are usual.
    """
    return e.with_("order.kind", "bucket").with_("order.buckets", count)


@tag("batchnumel")
def fixed_batches(e: Experiment) -> Experiment:
    """Batches filled once in order of length, by audio samples and labels, then shuffled in each sub-epoch.

    As ESPnet's "numel": the limit holds for the sum of padded samples and padded labels.  Where speeds are drawn,
    batches have room for the slowest; with `speedall` lengths are known.  With sub-epochs, each has every so many-th
    utterance of that order.  Why: the least padding in random order; but always the same utterances together.
    """
    return e.with_("order.kind", "fixed").with_("batch.count_labels", True)


@tag("speedall", after=["speedpertv2", "speedpertv3", "nospeedpert"])
def every_speed(e: Experiment) -> Experiment:
    """Every utterance at every speed in each pass, instead of one drawn: the data become three times as much.

    As in ESPnet and Kaldi, which perturb before the training.  A sub-epoch is as many times larger: with 20 parts of
    three times 960 h (part60 for the size it was).  Why: lengths are known before the training, no chance.
    """
    return e.with_("augment.speed.every", True)


@tag("part{count:count}", count=Range(1, 100_000))
def partition(e: Experiment, count: int) -> Experiment:
    """Sub-epochs per pass over the data (part20 on LibriSpeech's 960 h: 48 h each).

    Why: a large corpus is evaluated, saved and scheduled more often than once a pass.
    """
    return e.with_("order.partition", count)


@tag("crl{epochs:count}", epochs=Range(1, 100_000))
def short_first(e: Experiment, epochs: int) -> Experiment:
    """Curriculum: only the shortest utterances in the first sub-epochs (crl5: in five of them).

    Why: short utterances are easier to align.
    """
    return e.with_("order.short_first_epochs", epochs)


@tag("nocrl", "noCrl")
def no_curriculum(e: Experiment) -> Experiment:
    """All utterances from the first sub-epoch on.

    Why: needed where a sub-epoch is a whole pass.  Reported: 5.22 vs 5.35 with part1.
    """
    return e.with_("order.short_first_epochs", 0)


@tag("ep{count:count}", "nep{count:count}", count=Range(1, 1_000_000))
def epochs(e: Experiment, count: int) -> Experiment:
    """Length of the training in sub-epochs (2000 with 20 per pass = 100 passes).

    Why: more passes help until the model learns its corpus by heart.
    """
    return e.with_("train.epochs", count)


@tag("eval{utterances:count}", utterances=Range(1, 1_000_000))
def evaluated_utterances(e: Experiment, utterances: int) -> Experiment:
    """Utterances of dev and of train measured after each sub-epoch (the reference: 3000).

    Why: a small sample is quick, a large one steady.
    """
    return e.with_("train.eval_utterances", utterances)


@tag("seed{number:count}", number=Range(0, 2**31 - 1))
def seed(e: Experiment, number: int) -> Experiment:
    """Another random seed.

    Why: to see what is noise.  Reported: identical runs differ by up to 0.15 in dev-other.
    """
    return e.with_("train.seed", number)
