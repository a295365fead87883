"""Tags for training on several devices."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.recipes.notation import Range
from aedo.recipes.registry import tag


@tag("mgpu{devices:count}", "mgpu", devices=Range(2, 4096))
def several_devices(e: Experiment, devices: int = 2) -> Experiment:
    """Train on so many devices at once (mgpu4; mgpu alone: 2), a process each, the same updates on all of them.

    Every process goes through all the data in an order of its own, so a sub-epoch of N devices sees N times as much;
    batch size and accumulation are those of each device.  Gradients are averaged at every update, unless pavg says
    otherwise.  The published name without a number was trained on two.
    Why: wall-clock time; larger batches.  Source: synchronous data-parallel SGD.
    Reported: 4 devices, 500 sub-epochs, accgrad4 lrlin 5.44, with wd1e_4 5.60, accgrad1 5.54; 2 devices, 2000
    sub-epochs, accgrad4: 6.11.
    """
    return e.with_("train.devices", devices)


@tag("pavg{steps:count}", steps=Range(1, 1_000_000))
def parameter_averaging(e: Experiment, steps: int) -> Experiment:
    """Let each device make its own updates and average their parameters after every so many micro-steps.

    Counted within the sub-epoch; optimizer states and running statistics of norms are not averaged, and checkpoints
    hold those of the first device.
    Why: less communication than averaged gradients, and hardly worse.  Source: local SGD, Stich 2019.
    Reported (4 devices): pavg4 5.48, pavg10 5.63, pavg100 5.53, 5.67, 5.59, pavg500 5.70, pavg1000 5.66; with accgrad4
    pavg100 5.83.
    """
    return e.with_("train.sync_parameters", steps)
