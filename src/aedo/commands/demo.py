"""`aedo demo`: from nothing to a measured recogniser, by the very commands one would type."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the data, the run and the page.")] = Path("demo"),
    name: Annotated[str, typer.Option(help="Experiment to train.")] = "tiny",
    train: Annotated[str, typer.Option(help="Speech to train on: hours (1h) or utterances (1200).")] = "1h",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads; so small a model gains nothing from two.")] = 1,
) -> None:
    """Speak a corpus, train on it, tune the search, recognise speakers and sentences never heard, and write a report.

    Needs the extras synth and report, no GPU and no download; about ten minutes on two CPU cores.  Interrupted, it goes
    on where it was.
    """
    from aedo.recipes.names import resolve
    from aedo.run import RunFolder

    began = time.monotonic()
    data, runs = out / "data", out / "runs"
    experiment = resolve(name)
    run = RunFolder.place(runs, name, experiment)
    if not (data / "card.json").exists():
        _do("prepare", "synthetic", "-o", data, "--train", train)
    _do("train", name, "--data", data, "--out", runs, "--threads", threads)
    if experiment.decoder is not None and experiment.ctc.layers:
        _do("tune", run)  # so short a training leaves CTC too weak for its usual share
    _do("recog", run, "--sets", "dev,test", "--checkpoint", "average")
    _do("report", run)
    minutes = (time.monotonic() - began) / 60
    aedo = _program()
    typer.echo(f"\nThat took {minutes:.1f} minutes.  Open {run / 'report.html'} in a browser; then try:")
    for command, what in (
        (f"{aedo} transcribe {_some_audio(data)} --run {run}", "recognise any audio file"),
        (f"{aedo} prepare folder RECORDINGS -o data --resample --dev-fraction 0.1", "your own recordings"),
        (f"{aedo} train an4 --data data --out runs", "a recogniser for them"),
        (f"{aedo} train {name}-nospecaug --data {data} --out {runs}", "does an option help?  then `report` both runs"),
        (f"{aedo} recipes", "all options; `diff A B` compares two names"),
    ):
        typer.echo(f"  {command}\n      {what}")


def _do(*words: object) -> None:
    """Run one verb as if it had been typed, and show it."""
    from aedo.cli import build

    arguments = [str(word) for word in words]
    typer.echo(f"\n$ aedo {shlex.join(arguments)}")
    status = build()(arguments, standalone_mode=False)
    if status:
        raise typer.Exit(status)


def _program() -> str:
    """As the user calls it: in a virtual environment that is not active, with its path."""
    program = Path(sys.argv[0])
    return str(program) if program.name == "aedo" and shutil.which("aedo") is None else "aedo"


def _some_audio(data: Path) -> str:
    """An utterance of the test set."""
    import json

    with open(data / "test.jsonl", encoding="utf-8") as lines:
        return str(json.loads(lines.readline())["recording"]["sources"][0]["source"])
