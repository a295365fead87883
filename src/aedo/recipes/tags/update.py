"""Tags for the update: precision, accumulation, gradients, optimizer, averaging."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.recipes.notation import Range
from aedo.recipes.registry import UnfitError, tag
from aedo.schedule import PiecewiseLinear, PowerDecay

COUNT = Range(1, 1000)


@tag("f32")
def float32(e: Experiment) -> Experiment:
    """Train in float32.

    Why: the reference for all other precisions; needed where a device has no bfloat16.
    """
    return e.with_("train.precision", "float32")


@tag("amp_bf16", "bf16")
def bfloat16(e: Experiment) -> Experiment:
    """Forward pass in bfloat16 by autocast; parameters, features and losses stay float32.

    On a CPU that only emulates it in float32 instead, which is several times faster there; the run's record says so.
    Why: half of the memory and several times the speed on devices that have it.
    """
    return e.with_("train.precision", "bfloat16")


@tag("amp_f16")
def float16(e: Experiment) -> Experiment:
    """Forward pass in float16 by autocast, with a gradient scaler (see nogradscaler).

    Why: for devices without bfloat16.  Small gradients vanish in float16; the scaler keeps them by scaling the loss by
    a power of two, and leaves out the updates that overflow.  Source: Micikevicius et al. 2018.
    """
    return e.with_("train.precision", "float16")


@tag("gradscaler", after=["f32", "amp_bf16", "amp_f16"])
def gradient_scaler(e: Experiment) -> Experiment:
    """Scale the loss by an adaptive power of two, as float16 needs it, in other precisions too.

    Part of 24gb and 24gb-v2, whose bfloat16 does not need it.

    Why: parity with 24gb and 24gb-v2, whose original had one.
    """
    if e.train.precision == "float16":
        raise UnfitError("float16 has a gradient scaler unless nogradscaler takes it away; leave gradscaler out")
    return e.with_("train.grad_scaler", "on")


@tag("nogradscaler", after=["f32", "amp_bf16", "amp_f16"])
def no_gradient_scaler(e: Experiment) -> Experiment:
    """Leave the loss unscaled, also in float16.

    Why: bfloat16 has the range of float32 and needs none.  Reported: 7.24 vs 7.44 (24gb-v2-lr1e_3, bfloat16); none
    from 24gb-v3 on.  Multiplying by powers of two changes nothing but what over- or underflows, so this may well be
    noise.
    """
    return e.with_("train.grad_scaler", "off" if e.train.precision == "float16" else "auto")


@tag("accdiv")
def divided_by_accumulation(e: Experiment) -> Experiment:
    """Divide the gradients of an update by the number of its micro-steps; the reference leaves their sum.

    Why: then clipping and Adam's epsilon do not depend on the accumulation; else Adam does not care.
    """
    return e.with_("train.gradients.divide", True)


@tag("gn{std:fraction}", std=Range(0, 100))
def gradient_noise(e: Experiment, std: float) -> Experiment:
    """Add noise to every gradient before clipping: normal, of this standard deviation, none beyond two of them.

    Why: noise may lead out of poor minima.  Source: Neelakantan et al. 2015, who let it decay: gndecay.  Reported:
    gn01 does not converge; on Switchboard 22.4 vs 23.2 on one set, worse on the others.
    """
    return e.with_("train.gradients.noise", std)


@tag("gndecay{std:fraction}", std=Range(1e-6, 100))
def decaying_gradient_noise(e: Experiment, std: float) -> Experiment:
    """Gradient noise whose variance falls with the updates t like (1 + t) ^ -0.55.

    gndecay01 begins at a standard deviation of 0.1.

    Why: noise early, when it may help, and little late, when it keeps from converging.  Source: Neelakantan et al.
    2015, who begin at 0.1 to 1.
    """
    return e.with_("train.gradients.noise", PowerDecay(start=std, power=0.55 / 2))


@tag("vn{std:fraction}", std=Range(0, 10))
def variational_noise(e: Experiment, std: float) -> Experiment:
    """Gaussian noise on all weight matrices of linear layers and LSTMs, in training (vn0025 = 0.025).

    Drawn for every micro-step; gradients are those at the noisy weights.  Why: flat minima.  Source: Graves 2011.
    Reported: 0.0025 (vn00025) on Switchboard 20.9 vs 23.2; 0.01 (vn001) 5.26 vs 4.43, bad.
    """
    return e.with_("train.weight_noise.std", std)


@tag("vndec{std:fraction}", std=Range(0, 10), after=["ctconly"])
def variational_noise_in_decoder(e: Experiment, std: float) -> Experiment:
    """Gaussian noise on the weight matrices of the decoder only, in training (vndec0025 = 0.025).

    Why: the decoder overfits first.  Reported: 0.0025 (vndec00025) 4.18, 0.01 4.23 vs 4.43 without.
    """
    if e.decoder is None:
        raise UnfitError("there is no decoder; use vn for the whole model")
    return e.with_("train.weight_noise.std", std).with_("train.weight_noise.names", ("decoder.*",))


@tag("wdrop{rate:fraction}", rate=Range(0, 0.9))
def weight_dropout(e: Experiment, rate: float) -> Experiment:
    """Dropout of single weights in all weight matrices of linear layers and LSTMs, in training (wdrop005 = 0.05).

    Why: keeps units from relying on single connections.  Source: Wan et al. 2013 (DropConnect).  Reported on
    Switchboard: 21.0 and 16.2 (Hub5'00, Hub5'01), mixed.
    """
    return e.with_("train.weight_dropout.rate", rate)


@tag("ema{decay:fraction}", decay=Range(0, 0.999999999))
def moving_average(e: Experiment, decay: float) -> Experiment:
    """Keep a moving average of the weights, a step per update (ema0999 = decay 0.999), and save it as `ema` at the end.

    Why: the gain of averaged checkpoints without choosing any.  Source: Polyak & Juditsky 1992.
    """
    return e.with_("train.ema", decay)


@tag("accgrad{steps:count}", steps=Range(1, 10_000))
def accumulation(e: Experiment, steps: int) -> Experiment:
    """Micro-steps per update; their gradients are summed.

    Why: larger updates than the memory allows.  Reported: bs30k-accgrad3 7.19 vs 7.07.
    """
    return e.with_("train.accumulate", float(steps))


@tag("dynaccgrad_v2")
def accumulation_schedule_2(e: Experiment) -> Experiment:
    """Micro-steps per update from 1 up to 100 (at 50k), back to 1 (at 100k to 1.1M), up to 10 at the end (1.242M).

    Why: quick first steps, a calm middle, a smooth end.  Reported (E-Branchformer): 5.17; constant 4: 5.23,
    constant 10: 5.58.
    """
    nodes, values = (50_000, 100_000, 1_100_000, 1_242_000), (1, 100, 1, 1, 10)
    return e.with_("train.accumulate", PiecewiseLinear(nodes=nodes, values=values))


@tag("dynaccgrad_v3")
def accumulation_schedule_3(e: Experiment) -> Experiment:
    """Micro-steps per update: 4 up to micro-step 20k, then down to 2 (at 100k) and 1 (at 200k).

    Why: larger updates while the gradient is still erratic.  Reported (17 layers): 5.91, constant 4: 5.82.
    """
    nodes, values = (20_000, 100_000, 200_000), (4, 4, 2, 1)
    return e.with_("train.accumulate", PiecewiseLinear(nodes=nodes, values=values))


@tag("dynaccgrad_v3a")
def accumulation_schedule_3a(e: Experiment) -> Experiment:
    """Micro-steps per update: 4 up to micro-step 443k, then down to 2 (at 887k) and 1 (at 986k).

    Why: larger updates while the rate rises.  Reported: 5.86.
    """
    nodes, values = (443_000, 887_000, 986_000), (4, 4, 2, 1)
    return e.with_("train.accumulate", PiecewiseLinear(nodes=nodes, values=values))


@tag("dynaccgrad_v4")
def accumulation_schedule_4(e: Experiment) -> Experiment:
    """Micro-steps per update: from 4 down to 1 (at 443k), up to 4 (at 887k) and 12 (at 986k).

    Why: many small updates on the way up, large and smooth ones at the end.  Reported (17 layers): 5.69, constant
    4: 5.82.
    """
    nodes, values = (443_000, 887_000, 986_000), (4, 1, 4, 12)
    return e.with_("train.accumulate", PiecewiseLinear(nodes=nodes, values=values))


@tag("gradclip{norm:number}", norm=Range(1e-6, 1e6))
def gradient_clipping(e: Experiment, norm: float) -> Experiment:
    """Clip gradients at this global norm (gradclip5 = 5.0, as from 24gb-v3 on).

    Why: single bad batches must not throw a model off.
    """
    return e.with_("train.gradients.clip_norm", norm)


@tag("nogradclip")
def no_gradient_clipping(e: Experiment) -> Experiment:
    """Leave gradients as they are; their norm is logged all the same.

    Why: the first bases had none; to see what clipping is worth.
    """
    return e.with_("train.gradients.clip_norm", None)


@tag("adamw")
def adam_with_decoupled_decay(e: Experiment) -> Experiment:
    """Adam with weight decay apart from the gradient (all bases have it).

    Why: the decay does not depend on the size of the gradient.  Source: Loshchilov and Hutter 2019.  Reported: 7.01
    (24gb-v3) where `adam` has 7.56.
    """
    return e.with_("train.optimizer.kind", "adamw")


@tag("adam")
def adam_with_coupled_decay(e: Experiment) -> Experiment:
    """Adam whose weight decay is added to the gradient (L2 in the loss), so that large gradients drown it.

    Why: to see what apart or together is worth.  Source: Kingma and Ba 2015.  Reported: 7.56 vs 7.01 with decay
    1e-6, not retuned; on Switchboard 21.7 vs 23.2 with nadamtf (Hub5'00).
    """
    return e.with_("train.optimizer.kind", "adam")


@tag("nadam")
def nadam(e: Experiment) -> Experiment:
    """Adam with Nesterov momentum and a schedule for it, as in torch; weight decay is added to the gradient.

    Why: a look ahead along the momentum.  Source: Dozat 2016; torch.optim.NAdam.  Learning rates tuned for
    `nadamtf` do not carry over.
    """
    return e.with_("train.optimizer.kind", "nadam")


@tag("nadamtf")
def nadam_of_tensorflow(e: Experiment) -> Experiment:
    """Adam with Nesterov momentum and no schedule for it, as in RETURNN on TensorFlow.

    Weight decay is added to the gradient: RETURNN's L2 of x is a weight decay of 2 x.

    Why: parity with older trainings.  Source: TensorFlow, ApplyAdam with use_nesterov.  Reported on Switchboard:
    23.2, adam 21.7 (Hub5'00).
    """
    return e.with_("train.optimizer.kind", "nadam_tf")


@tag("scaledadam")
def scaled_adam(e: Experiment) -> Experiment:
    """Updates in proportion to the size of each tensor, which is learned too; no weight decay.

    Learning rates are relative changes and have to be 20 to 50 times those of Adam, so give one along:
    scaledadam-lr3e_2.  The authors take betas09_098 and bound gradients by their median (medianclip2).

    Why: one rate for layers of all sizes.  Source: Yao et al. 2023 (Zipformer).
    """
    return e.with_("train.optimizer.weight_decay.value", 0.0).with_("train.optimizer.kind", "scaled_adam")


@tag("medianclip{factor:number}", factor=Range(0.1, 1000), after=["scaledadam"])
def median_clipping(e: Experiment, factor: float) -> Experiment:
    """Bound the gradient's norm by so many times the median of the last 100 updates (medianclip2; scaledadam only).

    In the norm each tensor's gradient counts times the tensor's size.

    Why: a bound that finds its own scale.  Source: icefall.
    """
    return e.with_("train.optimizer.median_clip", factor)


@tag("eps{value:number}", value=Range(1e-30, 1))
def adam_epsilon(e: Experiment, value: float) -> Experiment:
    """Adam's epsilon (eps1e_16, as from 24gb-v2 on; the default of torch is 1e-8).

    Why: a small one lets parameters with tiny gradients move as fast as others.
    """
    return e.with_("train.optimizer.eps", value)


@tag("betas{first:fraction}_{second:fraction}", first=Range(0, 0.999999), second=Range(0, 0.999999))
def adam_betas(e: Experiment, first: float, second: float) -> Experiment:
    """Adam's averaging constants (betas09_098 = 0.9 and 0.98; the reference: 0.9 and 0.999).

    Why: a shorter memory of squares follows a changing gradient sooner.
    """
    return e.with_("train.optimizer.betas", (first, second))


@tag(
    "avglast{percent:count}pct",
    "avglast{count:count}",
    last=True,
    after=["finetune"],
    percent=Range(1, 100),
    count=COUNT,
)
def average_of_last(e: Experiment, percent: int | None = None, count: int | None = None) -> Experiment:
    """Average the checkpoints of this last part of the training at its end (the reference: avglast10pct).

    avglast5 averages the last five checkpoints, besides.

    Why: the mean of late checkpoints lies lower than each.  Reported: nearly no gain (5.54 vs 5.58).
    """
    if percent is not None:
        return e.with_("train.average_fraction", percent / 100)
    assert count is not None
    if count > e.train.keep.last:
        e = e.with_("train.keep.last", count)
    return e.with_("train.average_last", count)


@tag("avgbest{count:count}", last=True, after=["finetune"], count=COUNT)
def average_of_best(e: Experiment, count: int) -> Experiment:
    """Average the so many best checkpoints by dev cross-entropy at the end (avgbest4), besides the last part.

    Why: the published results of the reference average four.  Reported: nearly no gain.
    """
    if count > e.train.keep.best:
        e = e.with_("train.keep.best", count)
    return e.with_("train.average_best", count)
