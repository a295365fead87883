"""Tags for the learning rate.  Steps are micro-steps: batches, whether or not they end in an update."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.recipes.notation import Range
from aedo.recipes.registry import UnfitError, tag
from aedo.schedule import (
    ByEpoch,
    Constant,
    Leg,
    PiecewiseLinear,
    PowerDecay,
    Steps,
    WarmupCosine,
    WavingInverseSqrt,
    peak_of,
)

RATES = Range(1e-12, 10)
STEPS = Range(1, 100_000_000)

NODES: dict[tuple[int, int], tuple[int, int, int]] = {
    (8, 125): (139_000, 279_000, 310_000),
    (8, 250): (279_000, 558_000, 621_000),
    (8, 500): (558_000, 1_117_000, 1_242_000),
    (10, 500): (443_000, 887_000, 986_000),
    (15, 400): (234_000, 469_000, 521_000),
    (15, 500): (295_000, 590_000, 652_000),
    (15, 600): (352_000, 704_000, 782_000),
    (20, 1000): (438_000, 877_000, 974_000),
    (20, 2000): (878_000, 1_757_000, 1_952_000),
    (30, 2000): (587_000, 1_174_000, 1_305_000),
    (40, 2000): (450_000, 900_000, 982_000),
}
"""Micro-steps of peak, end of descent and end of training on LibriSpeech (960 h, 20 sub-epochs a pass), by thousands of
frames in a batch and number of sub-epochs; measured by the reference."""


PRE10 = ByEpoch(
    start=1e-7,
    legs=tuple(Leg(epochs=epochs, start=1e-7, end=1e-3) for epochs in (10, 10, 10, 30)),
)
"""From almost nothing to 1e-3 again in every stage of a growing encoder, the last of which takes 30 sub-epochs."""

PRE9 = ByEpoch(
    start=1e-4,
    legs=(
        *(Leg(epochs=10, start=1e-4, end=1e-3) for _ in range(3)),
        Leg(epochs=10, start=1e-4, end=5e-4),
        Leg(epochs=20, end=1e-3),
    ),
)
"""The same with a shorter way up: from 1e-4, and in the last stage with a bend at 5e-4."""


@tag("lr{peak:number}", peak=RATES)
def learning_rate(e: Experiment, peak: float) -> Experiment:
    """Peak learning rate (lr1e_3 = 0.001, lr09e_3 = 0.0009); a schedule given by its values is scaled as a whole.

    Why: the value that decides most about convergence.  Reported: 2.5e-3 diverges with 24gb-v3; 1e-3 7.01, 0.9e-3
    6.99.
    """
    schedule = e.train.learning_rate
    if isinstance(schedule, Constant):
        return e.with_("train.learning_rate.value", peak)
    if isinstance(schedule, (PiecewiseLinear, Steps)):
        factor = peak / peak_of(schedule)
        return e.with_("train.learning_rate.values", tuple(float(f"{v * factor:.12g}") for v in schedule.values))
    if isinstance(schedule, (ByEpoch, PowerDecay)):
        raise UnfitError(f"the learning rate is of kind {schedule.kind}; it has no peak to set")
    return e.with_("train.learning_rate.peak", peak)


@tag("warmup{steps:count}", steps=STEPS)
def warmup(e: Experiment, steps: int) -> Experiment:
    """Micro-steps of linear warm-up (warmup100k).

    Why: a long warm-up helps much.  Reported on 24gb-v6: 20k 6.30, 100k 5.84, 450k 5.67.
    """
    return e.with_("train.learning_rate.warmup", steps)


@tag("lrdecnorm{steps:count}", steps=STEPS)
def inverse_sqrt_norm(e: Experiment, steps: int) -> Experiment:
    """Micro-steps behind the warm-up after which the learning rate has fallen by the square root of 2.

    Why: a slower decay keeps the rate high for longer.  Reported: lrdecnorm40k 6.89 (test-other 7.39), unclear.
    """
    return e.with_("train.learning_rate.norm", steps)


@tag("noam", after=["warmup"])
def noam(e: Experiment) -> Experiment:
    """Inverse square root with the length of the warm-up as its norm, whatever the warm-up is.

    Why: one number less to choose.  Source: Vaswani et al. 2017; the form of ESPnet.
    """
    schedule = e.train.learning_rate
    if not hasattr(schedule, "warmup") or not hasattr(schedule, "norm"):
        raise UnfitError(
            f"it sets the norm of an inverse square root, but the learning rate is of kind {schedule.kind}"
        )
    return e.with_("train.learning_rate.norm", schedule.warmup)


@tag("lrcos", after=["lr", "warmup", "lrdecnorm", "noam"])
def waving(e: Experiment) -> Experiment:
    """Inverse square root times a cosine of period 10k micro-steps.

    Why: restarts may lead out of poor minima.  Reported: 7.46 vs 7.07 (24gb-v4), worse.
    """
    schedule = e.train.learning_rate
    if schedule.kind != "warmup_inverse_sqrt":
        raise UnfitError(f"it bends an inverse square root, but the learning rate is of kind {schedule.kind}")
    wave = WavingInverseSqrt(peak=schedule.peak, warmup=schedule.warmup, norm=schedule.norm)
    return e.with_("train.learning_rate", wave)


@tag("lrcosann{warmup:number}", after=["lr", "ep"], warmup=Range(0, 1_000_000))
def cosine_annealing(e: Experiment, warmup: float) -> Experiment:
    """Linear warm-up over so many sub-epochs, then half a cosine down to 1e-6 at the end of the training.

    Why: ends smoothly without a choice of nodes.  Source: Loshchilov & Hutter 2017.
    """
    if warmup >= e.train.epochs:
        raise UnfitError(f"a warm-up of {warmup:g} sub-epochs leaves nothing of a training of {e.train.epochs}")
    peak = peak_of(e.train.learning_rate)
    cosine = WarmupCosine(peak=peak, final=1e-6, warmup=warmup, decay=e.train.epochs - warmup)
    return e.with_("train.learning_rate", cosine)


@tag(
    "lrlin{start:number}",
    "lrlin{start:number}_{peak:count}",
    "lrlin{start:number}_{peak:count}_{descent:count}_{end:count}",
    "lrlin",
    after=["lr", "bs", "ep", "part", "mgpu", "warmup", "lrdecnorm"],
    start=RATES,
    peak=STEPS,
    descent=STEPS,
    end=STEPS,
)
def linear(
    e: Experiment,
    start: float | None = None,
    peak: int | None = None,
    descent: int | None = None,
    end: int | None = None,
) -> Experiment:
    """Straight up, straight down, a flat tail: lrlin1e_5_450k rises from 1e-5 to 1e-3 at micro-step 450k and falls.

    The peak is 100 times the start, the values at the end of the descent and of the training are the start and a
    tenth of it.  The steps that the name does not give come from the reference's table by batch size and number of
    sub-epochs (45 %, 90 % and 100 % of the training); lrlin1e_5_450k_900k_982k gives all.  Where the table has no row
    for the number of sub-epochs, the name tells the row otherwise, and with it the length of the training: by the peak
    (with batches of 15k frames, lrlin1e_5_295k means 500 sub-epochs), else by the devices, who share the sub-epochs
    (mgpu4 and lrlin1e_5_100k: 500 instead of 2000).  Plain `lrlin` rises from 0 to 1e-3 in 20k.

    Why: a long way up lets the rate be high without diverging, the way down and the tail collect the gain.
    Reported: lrlin1e_5_450k 5.9 vs 7.07 (24gb-v4), 5.44 vs 6.30 (24gb-v6); there with the peak at 20k 5.87, 50k
    5.82, 100k 5.55, 600k 5.41, 800k 5.60.  Plain lrlin 6.48 (24gb-v4).
    """
    if descent is None or end is None:
        epochs, (default_peak, descent, end) = _row(e, peak)
        peak = peak or (default_peak if start else 20_000)
        e = e if epochs == e.train.epochs else e.with_("train.epochs", epochs)
    assert peak is not None
    scale = start or 1e-5
    values = tuple(float(f"{scale * factor:.12g}") for factor in (0.0 if start is None else 1.0, 100.0, 1.0, 0.1))
    return e.with_("train.learning_rate", PiecewiseLinear(nodes=(peak, descent, end), values=values))


def _row(e: Experiment, peak: int | None) -> tuple[int, tuple[int, int, int]]:
    """Sub-epochs and steps: of the training's own length; else of the length that has its peak there; else each device
    makes its share."""
    size, epochs = e.batch.max_samples, e.train.epochs
    frames = size / e.features.hop if isinstance(size, (int, float)) else 0.0
    rows = {n: nodes for (k, n), nodes in NODES.items() if 1000 * k == frames and e.order.partition == 20}
    with_peak = [row for row, nodes in rows.items() if nodes[0] == peak]
    for row in (epochs, *with_peak, epochs // e.train.devices):
        if row in rows:
            return row, rows[row]
    known = ", ".join([f"bs{k}k-ep{n}" for k, n in NODES if 1000 * k == frames] or [f"bs{k}k-ep{n}" for k, n in NODES])
    raise UnfitError(
        f"no steps are known for batches of {frames:g} frames, {epochs} sub-epochs and {e.order.partition} of them"
        f" a pass, only for {known} with part20; give all steps (lrlin1e_5_450k_900k_982k) or shares of training"
        " (lrlinfrac1e_5)"
    )


@tag(
    "lrlinfrac{start:number}",
    "lrlinfrac{start:number}_{peak:fraction}",
    after=["lr", "warmup", "lrdecnorm"],
    start=RATES,
    peak=Range(0.001, 0.899),
)
def linear_by_fraction(e: Experiment, start: float, peak: float = 0.45) -> Experiment:
    """The curve of lrlin in shares of the training: up until 45 %, down until 90 %, tail until the end.

    Why: needs no table of steps and fits any corpus, batch size and length.  lrlinfrac1e_5_02 has its peak at 20 %.
    """
    values = tuple(float(f"{start * factor:.12g}") for factor in (1.0, 100.0, 1.0, 0.1))
    return e.with_("train.learning_rate", PiecewiseLinear(unit="fraction", nodes=(peak, 0.9, 1.0), values=values))


@tag("lrpre10", after=["lr", "warmup", "lrdecnorm"])
def restarts_of_growth(e: Experiment) -> Experiment:
    """By sub-epoch: 1e-7 to 1e-3 in 10, three times over, then once more in 30; 1e-3 ever after.

    Why: the rates of an encoder that grows every 10 sub-epochs.  The original, on Switchboard, then followed the dev
    score down.
    """
    return e.with_("train.learning_rate", PRE10)


@tag("lrpre9", after=["lr", "warmup", "lrdecnorm"])
def higher_restarts_of_growth(e: Experiment) -> Experiment:
    """By sub-epoch: 1e-4 to 1e-3 in 10, three times over, then 1e-4 to 5e-4 in 10 and to 1e-3 in 20; 1e-3 later.

    Why: climbs that start high waste fewer updates.
    """
    return e.with_("train.learning_rate", PRE9)


@tag("oclr", after=["lr", "warmup", "lrdecnorm"])
def one_cycle(e: Experiment) -> Experiment:
    """The one cycle of the TensorFlow original: 9e-5 to 9e-4 and back in 915 sub-epochs each, 1e-6 at 2035.

    A sub-epoch counts as 1350 micro-steps.

    Why: parity with the original's training.  Source: Smith & Topin 2019.
    """
    nodes = tuple(1350 * epoch for epoch in (915, 2 * 915, 2035))
    return e.with_("train.learning_rate", PiecewiseLinear(nodes=nodes, values=(9e-5, 9e-4, 9e-5, 1e-6)))
