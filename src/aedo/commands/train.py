"""`aedo train`: train an experiment by its name, or go on with it."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from aedo.errors import UserError


def register(app: typer.Typer) -> None:
    @app.command()
    def train(
        name: str = typer.Argument(
            help="The experiment, for example base-24gb-v6-lrlin1e_5_450k (see `aedo recipes`), or an experiment.json."
        ),
        data: Path = typer.Option(help="Prepared data (the folder `aedo prepare` wrote)."),
        out: Path = typer.Option(help="Where run folders go; this one is OUT/NAME-HASH."),
        start_from: str | None = typer.Option(
            None,
            "--from",
            help="RUN or RUN@LABEL: begin with the weights (of the last or that checkpoint) and the tokenizer of "
            "another run, trained or imported. Optimizer and steps start anew.",
        ),
        seed: int | None = typer.Option(None, help="Instead of the experiment's own seed; a run of its own."),
        devices: int | None = typer.Option(
            None,
            min=1,
            help="Train on so many devices at once instead of the experiment's own number; a run of its own. Starts a "
            "process for each, unless torchrun or Slurm has.",
        ),
        workers: int | None = typer.Option(None, min=0, help="Loader processes (of each device); changes no result."),
        threads: int | None = typer.Option(
            None, min=1, help="CPU threads of torch (default: its own choice, shared by the processes)."
        ),
        device: str = typer.Option("auto", help="cpu, cuda, cuda:1, ...; auto: cuda where there is one."),
        log_every: int = typer.Option(10, min=1, help="Updates between two lines of steps.jsonl."),
        save_minutes: float = typer.Option(
            10.0, min=0, help="Minutes between two checkpoints inside a sub-epoch; 0: only at its end."
        ),
    ) -> None:
        """Train an experiment by its name; the same command again goes on where it was stopped or killed.

        Ctrl-C and SIGTERM save first and end with exit status 75.
        """
        from pydantic import ValidationError

        from aedo.recipes.names import readable, resolve
        from aedo.run import read_experiment
        from aedo.train.distributed import joined
        from aedo.train.launch import answered, launch
        from aedo.train.origin import Origin
        from aedo.train.place import find_place, local_device, share_threads
        from aedo.train.signals import EXIT_REQUEUE
        from aedo.train.start import train as start
        from aedo.train.trainer import Settings

        if name.endswith(".json"):
            name, experiment = read_experiment(Path(name))
        else:
            experiment = resolve(name)
        origin = None if start_from is None else Origin.parse(start_from)
        if seed is not None:
            experiment = experiment.with_("train.seed", seed)
        if devices is not None:
            try:
                experiment = experiment.with_("train.devices", devices)
            except ValidationError as error:
                raise UserError(f"--devices {devices}: {readable(error)}") from None
        chosen, place = choose_device(device), find_place()
        if place is None and experiment.train.devices > 1:
            local_device(chosen, 0, experiment.train.devices)  # refuses what cannot be before anything starts
            status, failure = launch(experiment.train.devices, sys.argv[1:])
            if failure:
                typer.echo(f"error: {failure}", err=True)
            raise typer.Exit(status)
        if place is not None:
            chosen = local_device(chosen, place.local_rank, place.local_size)
        share_threads(threads, 1 if place is None else place.local_size)
        with answered(place), joined(place, chosen) as ranks:
            settings = Settings(log_every, save_minutes)
            run, finished = start(name, experiment, data, out, chosen, settings, workers, origin, ranks)
        if ranks.main and finished:
            typer.echo(f"finished: {run.path}\nnext: aedo recog {run.path}")
        if ranks.main and not finished:
            typer.echo(f"stopped on request and saved; run the same command again to go on ({run.path})")
        if not finished:
            raise typer.Exit(EXIT_REQUEUE)


def choose_device(name: str) -> torch.device:  # type: ignore[name-defined]  # noqa: F821 (torch is imported late)
    """The device of that name; `auto` takes a GPU where there is one.  UserError where there is no such device."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: no such kind of device; use cpu, cuda or auto") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name}: only cpu and cuda are supported")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"--device {name}: torch sees no GPU here; use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {name}: there are {torch.cuda.device_count()} GPUs here, counted from 0")
    return device
