"""Tags for weight decay: how much, and on which parameters."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.recipes.notation import Range
from aedo.recipes.registry import tag


@tag("wd{value:number}", value=Range(0, 1))
def weight_decay(e: Experiment, value: float) -> Experiment:
    """Decoupled weight decay (wd1e_3 = 0.001; the bases have 1e-6).

    Reported: 7.01 with 1e-3 (24gb-v3); with a Transformer decoder 5.84 at 1e-4, 5.73 at 1e-3, 5.65 at 1e-2, 6.36 at
    1e-1.
    """
    return e.with_("train.optimizer.weight_decay.value", value)


@tag("wdblacklist")
def spare_norms_from_decay(e: Experiment) -> Experiment:
    """No weight decay on norms, embeddings and position tables.  Reported: 7.07; part of 24gb-v4."""
    kinds = ("batch_norm", "layer_norm", "embedding", "relative_position")
    return e.with_("train.optimizer.weight_decay.exclude", kinds)


@tag("wdblacklist2")
def spare_tables_from_decay(e: Experiment) -> Experiment:
    """No weight decay on embeddings and position tables.  Reported: 6.85 vs 7.07; part of 24gb-v5 and v6."""
    return e.with_("train.optimizer.weight_decay.exclude", ("embedding", "relative_position"))
