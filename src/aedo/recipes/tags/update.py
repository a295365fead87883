"""Tags for the update: precision, accumulation, gradients, optimizer, averaging."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.recipes.notation import Range
from aedo.recipes.registry import tag
from aedo.schedule import PiecewiseLinear


@tag("f32")
def float32(e: Experiment) -> Experiment:
    """Train in float32."""
    return e.with_("train.precision", "float32")


@tag("amp_bf16", "bf16")
def bfloat16(e: Experiment) -> Experiment:
    """Forward pass in bfloat16 by autocast; parameters, features and losses stay float32."""
    return e.with_("train.precision", "bfloat16")


@tag("accgrad{steps:count}", steps=Range(1, 10_000))
def accumulation(e: Experiment, steps: int) -> Experiment:
    """Micro-steps per update; their gradients are summed.  Reported: bs30k-accgrad3 7.19 vs 7.07."""
    return e.with_("train.accumulate", float(steps))


@tag("dynaccgrad_v2")
def accumulation_schedule_2(e: Experiment) -> Experiment:
    """Micro-steps per update from 1 up to 100 (at 50k), back to 1 (at 100k to 1.1M), up to 10 at the end (1.242M).

    Reported (E-Branchformer): 5.17; constant 4: 5.23, constant 10: 5.58.
    """
    nodes, values = (50_000, 100_000, 1_100_000, 1_242_000), (1, 100, 1, 1, 10)
    return e.with_("train.accumulate", PiecewiseLinear(nodes=nodes, values=values))


@tag("dynaccgrad_v3")
def accumulation_schedule_3(e: Experiment) -> Experiment:
    """Micro-steps per update: 4 up to micro-step 20k, then down to 2 (at 100k) and 1 (at 200k).

    Reported (17 layers): 5.91, constant 4: 5.82.
    """
    nodes, values = (20_000, 100_000, 200_000), (4, 4, 2, 1)
    return e.with_("train.accumulate", PiecewiseLinear(nodes=nodes, values=values))


@tag("dynaccgrad_v3a")
def accumulation_schedule_3a(e: Experiment) -> Experiment:
    """Micro-steps per update: 4 up to micro-step 443k, then down to 2 (at 887k) and 1 (at 986k).  Reported: 5.86."""
    nodes, values = (443_000, 887_000, 986_000), (4, 4, 2, 1)
    return e.with_("train.accumulate", PiecewiseLinear(nodes=nodes, values=values))


@tag("dynaccgrad_v4")
def accumulation_schedule_4(e: Experiment) -> Experiment:
    """Micro-steps per update: from 4 down to 1 (at 443k), up to 4 (at 887k) and 12 (at 986k).

    Reported (17 layers): 5.69, constant 4: 5.82.
    """
    nodes, values = (443_000, 887_000, 986_000), (4, 1, 4, 12)
    return e.with_("train.accumulate", PiecewiseLinear(nodes=nodes, values=values))


@tag("gradclip{norm:number}", norm=Range(1e-6, 1e6))
def gradient_clipping(e: Experiment, norm: float) -> Experiment:
    """Clip gradients at this global norm (gradclip5 = 5.0, as from 24gb-v3 on)."""
    return e.with_("train.gradients.clip_norm", norm)


@tag("nogradclip")
def no_gradient_clipping(e: Experiment) -> Experiment:
    """Leave gradients as they are; their norm is logged all the same."""
    return e.with_("train.gradients.clip_norm", None)


@tag("eps{value:number}", value=Range(1e-30, 1))
def adam_epsilon(e: Experiment, value: float) -> Experiment:
    """Adam's epsilon (eps1e_16, as from 24gb-v2 on; the default of torch is 1e-8)."""
    return e.with_("train.optimizer.eps", value)


@tag("betas{first:fraction}_{second:fraction}", first=Range(0, 0.999999), second=Range(0, 0.999999))
def adam_betas(e: Experiment, first: float, second: float) -> Experiment:
    """Adam's averaging constants (betas09_098 = 0.9 and 0.98; the reference: 0.9 and 0.999)."""
    return e.with_("train.optimizer.betas", (first, second))


@tag("avglast{percent:count}pct", percent=Range(1, 100))
def average_of_last(e: Experiment, percent: int) -> Experiment:
    """Average the checkpoints of this last part of the training at its end (the reference: 10 %).

    Reported: nearly no gain (5.54 vs 5.58).
    """
    return e.with_("train.average_fraction", percent / 100)
