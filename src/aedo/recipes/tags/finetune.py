"""Tags for fine-tuning: shorter trainings that begin from the weights of another run, `aedo train NAME --from RUN`."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.recipes.notation import Range
from aedo.recipes.registry import UnfitError, tag
from aedo.train.finetune import FineTuneConfig

EPOCHS = Range(1, 100_000)
RATES = Range(1e-12, 10)


@tag(
    "finetune{epochs:count}",
    "finetune{first:count}_{second:count}",
    last=True,
    after=["pre10"],
    epochs=EPOCHS,
    first=EPOCHS,
    second=EPOCHS,
)
def finetune(
    e: Experiment, epochs: int | None = None, first: int | None = None, second: int | None = None
) -> Experiment:
    """So many sub-epochs more from the weights of another run, with a learning rate that falls to 1e-7 by sub-epoch.

    finetune200 falls geometrically from the largest learning rate of the experiment; finetune150_50 in two straight
    lines, in 150 sub-epochs to 1e-5 and in 50 to 1e-7.  No warm-up, SpecAugment at full strength from the start, the
    encoder at its full depth; optimizer and steps start anew.  It may stand behind the name of the training before,
    whose length, phases of SpecAugment and growth of the encoder then do not count.

    Why: more training at low rates, of what is there.
    Reported on 24gb-v3-lr1e_3 (7.03): 100 6.93, 200 6.84, 150_50 6.89, from half the training (7.34): 50 7.22, 100
    7.08, 200 7.03.  On 24gb-v4: 200 with ftfinal1e_6 6.84.  lrlin from scratch is better than all: 5.9.
    """
    if epochs is not None:
        part = FineTuneConfig()
    else:
        assert first is not None
        assert second is not None
        epochs, part = first + second, FineTuneConfig(turn_epochs=first, spacing="linear")
    e = e.with_("train.epochs", epochs).with_("train.finetune", part)
    if e.augment.specaugment is not None:
        e = e.with_("augment.specaugment.steps", (0, 0, 0))
    return e.with_("encoder.growth", ()) if e.encoder.growth else e


@tag("ftlin", last=True, after=["finetune"])
def linear(e: Experiment) -> Experiment:
    """Fine-tune along a straight line.

    Why: it spends more of the time at higher rates.  Reported: 200 sub-epochs 6.95, geometric 6.84; with ftfinal1e_6
    6.94 and 6.83.
    """
    return _set(e, "spacing", "linear")


@tag("ftgeo", last=True, after=["finetune"])
def geometric(e: Experiment) -> Experiment:
    """Fine-tune geometrically, as a single way down does anyway: for two ways (finetune150_50-ftgeo).

    Why: every sub-epoch lowers the rate by the same factor.
    """
    return _set(e, "spacing", "geometric")


@tag("ftfinal{rate:number}", last=True, after=["finetune"], rate=RATES)
def final_rate(e: Experiment, rate: float) -> Experiment:
    """Learning rate of the last sub-epoch of fine-tuning (ftfinal1e_6).

    Why: below some rate nothing changes any more.  Reported: 1e-6 6.83, 1e-7 6.84, the same.
    """
    return _set(e, "final", rate)


@tag("ftturn{rate:number}", last=True, after=["finetune"], rate=RATES)
def turning_rate(e: Experiment, rate: float) -> Experiment:
    """Learning rate between the two ways of fine-tuning (finetune150_50-ftturn1e_6).

    Why: how much of the time goes to the smallest rates.
    """
    if e.train.finetune is not None and not e.train.finetune.turn_epochs:
        raise UnfitError("there is one way down only; write finetune150_50 for two")
    return _set(e, "turn", rate)


@tag("ftfromlast", last=True, after=["finetune"])
def from_last_rate(e: Experiment) -> Experiment:
    """Begin fine-tuning at the last learning rate of the run that the weights come from, not at the experiment's peak.

    Why: that run has arrived there.  The rate is read in its log, that of the checkpoint's sub-epoch.
    """
    return _set(e, "start", "origin")


@tag("ftfrom{rate:number}", last=True, after=["finetune"], rate=RATES)
def from_rate(e: Experiment, rate: float) -> Experiment:
    """Begin fine-tuning at this learning rate (ftfrom1e_4).

    Why: the peak of a long training may undo what it learned at its end.
    """
    return _set(e, "start", rate)


@tag("fthold{epochs:count}", last=True, after=["finetune"], epochs=EPOCHS)
def hold(e: Experiment, epochs: int) -> Experiment:
    """Stay at the start of fine-tuning for the first so many sub-epochs.

    Why: time to settle on other data or settings.  finetune600-ftfrom1e_4-fthold20-ftlin-ftfinal1e_6 is a published
    retraining: 1e-4 for 20 sub-epochs, down to 1e-6 in 580.  Reported for it: 5.63 before, 5.39 after (average).
    """
    return _set(e, "hold", epochs)


@tag("ftstep", last=True, after=["finetune"])
def by_step(e: Experiment) -> Experiment:
    """Change the learning rate of fine-tuning with every micro-step instead of once a sub-epoch.

    Why: smooth also where sub-epochs are few and long.
    """
    return _set(e, "by", "step")


def _set(e: Experiment, field: str, value: object) -> Experiment:
    if e.train.finetune is None:
        raise UnfitError("nothing is fine-tuned; name finetune200 too")
    return e.with_(f"train.finetune.{field}", value)
