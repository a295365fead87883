"""From a name, data and a place to a training under way: set up the run folder, or find out whether it may go on."""

from __future__ import annotations

import hashlib
import io
import shutil
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from aedo.data.loader import Loader
from aedo.data.manifest import Manifest
from aedo.data.text import Tokenizer, train_tokenizer
from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.files import explained, new_folder, remove_leftovers
from aedo.model.aed import AED
from aedo.nn.precision import EMULATED
from aedo.run import RunFolder
from aedo.train.checkpoint import tidy, weights_size
from aedo.train.display import Display
from aedo.train.distributed import ALONE, Ranks
from aedo.train.evaluate import fixed_utterances
from aedo.train.feature_statistics import fit_features
from aedo.train.keep import fixed_epochs
from aedo.train.machine import start_record
from aedo.train.optimizers import MOMENTS
from aedo.train.origin import Origin, adopted
from aedo.train.precision import computed
from aedo.train.signals import StopRequest
from aedo.train.step import parameter_count
from aedo.train.trainer import Settings, Sources, Trainer


@dataclass(frozen=True)
class Data:
    """The prepared data of a training."""

    folder: Path
    train: Manifest
    dev: Manifest

    @classmethod
    def open(cls, folder: Path) -> Data:
        return cls(folder.resolve(), Manifest.open(folder, "train"), Manifest.open(folder, "dev"))

    def digest(self, tokenizer: Tokenizer) -> str:
        """Names the data by the lengths of its utterances and their labels: a moved folder keeps it."""
        digest = hashlib.sha256()
        for manifest in (self.train, self.dev):
            digest.update(manifest.num_samples.tobytes())
            digest.update(manifest.label_lengths(tokenizer).tobytes())
        return digest.hexdigest()[:16]


def train(
    name: str,
    experiment: Experiment,
    data: Path,
    out: Path,
    device: torch.device,
    settings: Settings,
    workers: int | None = None,
    origin: Origin | None = None,
    ranks: Ranks = ALONE,
) -> tuple[RunFolder, bool]:
    """Train the experiment, from scratch, from an `origin`'s weights, or from where its run folder stands.

    Returns the run folder, and whether the training is finished (else it was stopped on request, after saving).
    `workers` overrides the experiment's number of loader workers, which changes no result.  An origin brings its
    tokenizer along; optimizer and counts of steps start anew.  UserError where the training cannot go on.
    Of several `ranks` the first one sets up the folder, the others follow.
    """
    check_size(experiment, ranks)
    opened = Data.open(data) if ranks.main else None  # the others profit by the index it leaves
    experiment = adopted(name, experiment, origin)
    run = RunFolder(RunFolder.place(out, name, experiment))
    display = Display(None if ranks.main else Console(file=io.StringIO()))
    with StopRequest(patient=not ranks.alone) as stopped, run.lock() if ranks.main else nullcontext():
        try:
            if opened is not None:
                tokenizer, model, said = _set_up(run, name, experiment, opened, device, origin)
                _check_space(run, model, experiment, display)
                if origin is None and run.resumable() is None:
                    said += fit_features(experiment, model, opened.train, tokenizer)
                for line in (*said, f"{run.path}"):
                    display.say(line)
                ranks.wait()
            else:
                ranks.wait()
                opened, tokenizer = Data.open(data), run.tokenizer()
                model = experiment.build_model(tokenizer.size)
            ranks.take_from_main(model.state_dict().values())
            sources = _sources(experiment, opened, tokenizer, model, workers, ranks)
            trainer = Trainer(run, experiment, model, sources, device, settings, display, ranks)
            return run, trainer.train(stopped)
        finally:
            display.close()


def check_size(experiment: Experiment, ranks: Ranks) -> None:
    """UserError where there are not as many processes as the experiment wants."""
    wanted = experiment.train.devices
    if wanted != ranks.size:
        raise UserError(
            f"{ranks.size} processes were started, but the experiment trains on {wanted} (train.devices): start "
            f"{wanted}, or make it another experiment by --devices {ranks.size} (or mgpu{ranks.size} in its name)"
        )


def _set_up(
    run: RunFolder, name: str, experiment: Experiment, opened: Data, device: torch.device, origin: Origin | None
) -> tuple[Tokenizer, AED, list[str]]:
    """Make the run folder, or find that it may go on: tokenizer, model, and what there is to say."""
    with explained(run.path, "set up the run folder"):
        remove_leftovers(run.path)
        tokenizer = run.tokenizer() if run.complete else _new_tokenizer(run, experiment, opened, origin)
        vocabulary = tokenizer.size
        torch.manual_seed(experiment.train.seed)
        model = experiment.build_model(vocabulary)
        said = [] if origin is None else [*origin.load_into(model), *origin.departures(experiment)]
        precision = computed(device, experiment.train.precision)
        if precision != experiment.train.precision:
            said.append(EMULATED)
        record = {**start_record(device), "precision": precision}
        if run.complete:
            _check_same(run, experiment, opened, tokenizer, origin)
            info = run.info
            run.write_info({**info, "data": str(opened.folder), "starts": [*info["starts"], record]})
        else:
            begun = {} if origin is None else {"from": origin.record()}
            run.create(name, experiment, {**_info(opened, tokenizer, model, experiment, record), **begun})
        remove_leftovers(run.checkpoint_folder)
        tidy(run, experiment.train.epochs, experiment.train.keep)  # the last run may have been killed at it
    return tokenizer, model, said


def _new_tokenizer(run: RunFolder, experiment: Experiment, data: Data, origin: Origin | None) -> Tokenizer:
    if run.tokenizer_folder.exists():  # of a start that was cut off
        shutil.rmtree(run.tokenizer_folder)
    if origin is not None:
        origin.copy_tokenizer(run.tokenizer_folder)
        return run.tokenizer()
    with new_folder(run.tokenizer_folder) as folder:
        train_tokenizer(experiment.tokenizer, data.train.texts(), folder)
    return run.tokenizer()


def _info(
    data: Data, tokenizer: Tokenizer, model: AED, experiment: Experiment, record: dict[str, Any]
) -> dict[str, Any]:
    return {
        "vocabulary": tokenizer.size,
        "tokenizer_digest": tokenizer.digest,
        "data": str(data.folder),
        "data_digest": data.digest(tokenizer),
        "utterances": {"train": len(data.train), "dev": len(data.dev)},
        "seed": experiment.train.seed,
        "parameters": parameter_count(model),
        **record,
        "starts": [record],
    }


def _check_same(
    run: RunFolder, experiment: Experiment, data: Data, tokenizer: Tokenizer, origin: Origin | None
) -> None:
    """UserError where the folder holds the training of something else."""
    info, mend = run.info, "give another --out to start anew"
    begun, given = info.get("from"), None if origin is None else origin.record()
    if (begun or {}).get("sha256") != (given or {}).get("sha256"):
        what = "from scratch" if begun is None else f"from {begun['run']}@{begun['checkpoint']}"
        raise UserError(f"{run.path}: this training began {what}, not from what --from says now; {mend}")
    if run.experiment() != experiment:
        raise UserError(f"{run.path / 'experiment.json'}: another experiment was trained here; {mend}")
    if info["tokenizer_digest"] != tokenizer.digest:
        raise UserError(f"{run.tokenizer_folder}: not the tokenizer this training began with; restore it, or {mend}")
    if info["data_digest"] != data.digest(tokenizer):
        raise UserError(
            f"{data.folder}: not the data this training began with ({info['data']}): utterances, their order, lengths "
            f"or texts differ; give the same data, or {mend}"
        )


def _check_space(run: RunFolder, model: AED, experiment: Experiment, display: Display) -> None:
    """UserError where the disk has no room for the first checkpoints; a warning where it may fill up later."""
    weights = weights_size(model)
    mixup = experiment.augment.mixup
    copies = MOMENTS + (experiment.train.ema is not None)
    state = copies * weights + (0 if mixup is None else mixup.state_bytes(experiment.features.dim))
    free = shutil.disk_usage(run.path).free
    if free < 2 * (weights + state):
        raise UserError(
            f"{run.path}: {free / 1e9:.2f} GB free, but two checkpoints with the optimizer's state need "
            f"{2 * (weights + state) / 1e9:.2f} GB; free some space or choose another --out"
        )
    train, there = experiment.train, len(run.checkpoints())
    keys = 2 + len(experiment.ctc.layers)
    most = len(fixed_epochs(train.epochs)) + train.keep.last + keys * train.keep.best + 1
    need = max(0, min(most, train.epochs + 1) - there) * weights + 2 * state
    if free < need:
        display.say(
            f"warning: {run.path}: {free / 1e9:.1f} GB free, the whole training may need up to {need / 1e9:.1f} GB"
        )


def _sources(
    experiment: Experiment, data: Data, tokenizer: Tokenizer, model: AED, workers: int | None, ranks: Ranks
) -> Sources:
    if workers is not None:
        experiment = experiment.with_("loader.workers", workers)
    reading, seed, wanted = experiment.reading(), experiment.train.seed, experiment.train.eval_utterances

    def fixed(manifest: Manifest) -> Loader:
        indices = fixed_utterances(len(manifest), wanted)[ranks.rank :: ranks.size]
        return Loader(
            manifest, tokenizer, reading, seed=seed, frames=model.encoder_frames, training=False, indices=indices
        )

    train = Loader(
        data.train,
        tokenizer,
        reading,
        seed=seed,
        frames=model.encoder_frames,
        training=True,
        rank=ranks.rank,
        world=ranks.size,
    )
    return Sources(train=train, dev=fixed(data.dev), devtrain=fixed(data.train))
