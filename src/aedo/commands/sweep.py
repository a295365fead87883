"""`aedo sweep`: several experiments trained, recognised and compared."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from aedo.sweep.jobs import Work
    from aedo.sweep.runner import Task
    from aedo.train.origin import Origin

PAGE_SECONDS = 60.0
"""Time between two writings of the page while jobs are running."""

Names = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer evaluates it on Python 3.10 too
    typer.Argument(
        metavar="NAME...",
        help="Experiments; the first is the baseline. With --base: tags, each added alone to the base; tags joined by "
        "commas count as alternatives of one another.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    app.command("sweep")(sweep)


def sweep(
    names: Names = None,
    data: Path = typer.Option(help="Prepared data (the folder `aedo prepare` wrote)."),
    out: Path = typer.Option(help="Where run folders go, as for `aedo train`; the comparison goes to OUT/sweep."),
    base: Annotated[str, typer.Option(help="The baseline, to which tags are added.", show_default=False)] = "",
    tags: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Tags to add to --base, besides those given as arguments; repeatable.", show_default=False),
    ] = None,
    product: Annotated[
        bool, typer.Option("--product", help="Every combination of the tags instead of each alone.")
    ] = False,
    names_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--names", help="A file with more names, one a line; # begins a comment.", show_default=False),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Each name with each of these seeds, such as 1,2. Default: its own.")] = "",
    sets: Annotated[str, typer.Option(help="Splits to recognise, joined by commas.")] = "dev",
    search: Annotated[
        str,
        typer.Option(
            help="beam (the experiment's own), beamN (with another beam), attention, joint, joint-time, ctc-prefix or "
            "ctc (greedy), joint+beamN and the like, or several of them joined by commas."
        ),
    ] = "beam",
    checkpoint: Annotated[
        str, typer.Option(help="A label, best or last. Default: the average at the training's end, else the best.")
    ] = "",
    jobs: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Jobs side by side. Default: one, or one a GPU.", show_default=False),
    ] = None,
    threads: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="CPU threads of a job. Default: the cores, shared out.", show_default=False),
    ] = None,
    workers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=0, help="Loader processes of a job; changes no result.", show_default=False),
    ] = None,
    start_from: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--from", help="RUN or RUN@LABEL: every training begins with its weights.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(help="auto (one job a GPU, where there are any), cpu, or cuda:1 ...")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
) -> None:
    """Train and recognise several experiments, with several seeds each, and compare them on one page.

    Every job is an `aedo train` and an `aedo recog`; its log is in OUT/sweep/logs. What is done already is skipped,
    what was cut off goes on, and a job that fails does not stop the others. Ctrl-C and SIGTERM let the running jobs
    save, and end with exit status 75: the same command goes on. Exit status 1: a job failed.
    """
    from aedo.errors import UserError
    from aedo.report.needs import check_extras
    from aedo.sweep.jobs import check
    from aedo.sweep.plan import alternatives, parse_seeds, plan, read_names
    from aedo.sweep.runner import Task, default_threads, look_ahead, places
    from aedo.train.origin import Origin

    check_extras()
    words = [*(tags or []), *(names or [])]
    if (tags or product) and not base:
        raise UserError("--tags and --product go with --base")
    chosen = alternatives(base, words, combined=product) if base else words
    chosen += [] if names_file is None else read_names(names_file)
    if not chosen:
        raise UserError("nothing to do: give names of experiments, or --base and tags, or --names FILE")
    origin = None if start_from is None else Origin.parse(start_from)
    planned = plan(chosen, parse_seeds(seeds), origin)
    room = places(jobs, device)
    threads = threads or default_threads(room)
    work = _work(data, out, sets, search, checkpoint, origin, device, threads, workers)
    check(planned, work, one_gpu_each=any(room))
    tasks = [Task(job, out / "sweep" / "logs" / f"{job.path(out).name}.log") for job in planned]
    look_ahead(tasks, work)
    if dry_run:
        _tell(tasks, work)
        return
    raise typer.Exit(_run(tasks, work, room))


def _work(
    data: Path,
    out: Path,
    sets: str,
    search: str,
    checkpoint: str,
    origin: Origin | None,
    device: str,
    threads: int | None,
    workers: int | None,
) -> Work:
    from aedo.data.manifest import Manifest
    from aedo.score.decode import SetOfCuts
    from aedo.sweep.jobs import Search, Work
    from aedo.train.start import Data

    Data.open(data)
    wanted = list(dict.fromkeys(name.strip() for name in sets.split(",") if name.strip()))
    options = [] if threads is None else ["--threads", str(threads)]
    options += [] if workers is None else ["--workers", str(workers)]
    return Work(
        data,
        out,
        tuple(SetOfCuts.read(Manifest.open(data, name), name, data) for name in wanted),
        tuple(Search.parse(one) for one in search.split(",")),
        checkpoint,
        origin,
        tuple(options),
        device,
        threads,
    )


def _tell(tasks: list[Task], work: Work) -> None:
    from aedo.sweep.jobs import next_command

    for task in tasks:
        step = next_command(task.job, work)
        typer.echo(f"{task.job.path(work.out)}: {'done' if step is None else 'needs ' + step[0]}")


def _run(tasks: list[Task], work: Work, room: list[dict[str, str]]) -> int:
    """The exit status.  The page is kept up to date, now and then."""
    from aedo.errors import UserError
    from aedo.sweep.compare import write_comparison
    from aedo.sweep.display import SweepDisplay
    from aedo.sweep.runner import Runner
    from aedo.train.signals import EXIT_REQUEUE, StopRequest

    written = time.monotonic()

    def write() -> Path:
        return write_comparison(tasks, work, work.out / "sweep", ["aedo", *sys.argv[1:]])

    def changed(task: Task) -> None:
        nonlocal written
        display.changed(task)
        if task.state in ("done", "failed") and time.monotonic() - written >= PAGE_SECONDS:
            try:
                write()
            except UserError as error:
                display.say(f"warning: {error}")
            written = time.monotonic()

    with StopRequest() as stopped, SweepDisplay(tasks, work) as display:
        Runner(tasks, work, room, changed, display.tick).run(stopped)
    if stopped():
        typer.echo("stopped on request; the running jobs have saved; run the same command again to go on")
        return EXIT_REQUEUE
    failed = [task for task in tasks if task.state != "done"]
    for task in failed:
        typer.echo(f"\n{task.job.title}: {task.state}; its log: {task.log}", err=True)
        for line in task.errors:
            typer.echo(f"  {line}", err=True)
    typer.echo(write())
    return 1 if failed else 0
