"""aedo bench: where the time goes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def bench(
        name: Annotated[
            str, typer.Argument(help="Experiment whose training step is taken apart, on synthetic data.")
        ] = "",
        data: Annotated[
            list[Path] | None,
            typer.Option(help="Prepared or packed folder: how fast it is read, with 0, 1, 2 workers. Again for more."),
        ] = None,
        split: Annotated[
            str, typer.Option("--set", help="Split to read, with --data. Default: train; of streams: dev.")
        ] = "",
        stream: Annotated[
            Path | None,
            typer.Option(help="Run that hears chunks: latency, speed, delays and memory of streams of --data."),
        ] = None,
        seconds: Annotated[
            float | None, typer.Option(min=1.0, help="Audio of the long stream, with --stream. Default: 60.")
        ] = None,
        device: Annotated[str, typer.Option(help="auto, cpu or cuda; cuda:1 and the like.")] = "auto",
        precision: Annotated[str, typer.Option(help="float32, bfloat16, float16. Default: the experiment's.")] = "",
        batch_seconds: Annotated[
            float | None, typer.Option(min=0.1, help="Audio of a batch. Default: the experiment's largest.")
        ] = None,
        utterances: Annotated[
            int | None, typer.Option(min=1, help="That make up the batch, all as long. Default: of 12 s each.")
        ] = None,
        labels: Annotated[
            int | None, typer.Option(min=1, help="Of an utterance. Default: four for a second of audio.")
        ] = None,
        steps: Annotated[int, typer.Option(min=1, help="Steps to measure; with --data, batches.")] = 5,
        threads: Annotated[int | None, typer.Option(min=1, help="Of torch on the CPU.")] = None,
        json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    ) -> None:
        """Take a training step apart (NAME), or measure how fast data are read (--data), or a model that streams."""
        from json import dumps

        import torch

        from aedo.errors import UserError
        from aedo.search.device import device_of

        if threads is not None:
            torch.set_num_threads(threads)
        if stream is not None:
            from aedo.search.load import load_transcriber
            from aedo.stream.bench import measure

            if name or len(data or []) != 1:
                raise UserError("--stream RUN goes with one --data DIR, whose utterances are streamed, and no name")
            given = {"--batch-seconds": batch_seconds, "--utterances": utterances, "--labels": labels}
            _refuse(given, "--stream")
            transcriber = load_transcriber(stream, device=device, precision=precision or "float32")
            figures = measure(transcriber, (data or [])[0], split or "dev", seconds=seconds or 60.0)
            typer.echo(dumps(figures.as_json(), indent=1) if json else figures.as_text())
            return
        _refuse({"--seconds": seconds}, "anything but --stream")
        if bool(name) == bool(data):
            raise UserError("give the name of an experiment, such as base-24gb-v6, --data DIR, or --stream RUN")
        if data:
            from aedo.bench.reading import BATCH_SECONDS, reading

            _refuse({"--precision": precision, "--utterances": utterances, "--labels": labels}, "--data")
            found = reading(data, split=split or "train", batches=steps, batch_seconds=batch_seconds or BATCH_SECONDS)
            typer.echo(dumps(found.as_json(), indent=1) if json else found.as_text())
            return
        _refuse({"--set": split}, "the name of an experiment")
        from aedo.bench.step import Wanted, breakdown
        from aedo.recipes.names import resolve

        wanted = Wanted(precision or None, batch_seconds, utterances, labels, steps)
        taken = breakdown(name, resolve(name), torch.device(device_of(device)), wanted)
        typer.echo(dumps(taken.as_json(), indent=1) if json else taken.as_text())


def _refuse(given: Mapping[str, object], why: str) -> None:
    """UserError where an option was given that would do nothing."""
    from aedo.errors import UserError

    for option, value in given.items():
        if value:
            raise UserError(f"{option} has no meaning with {why}")
