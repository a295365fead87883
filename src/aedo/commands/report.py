"""`aedo report`: one self-contained HTML page about one run or several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command("report")(report)


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders; the first is the baseline.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The page to write [default: report.html in RUN; of several runs, here]."),
    ] = None,
    worst: Annotated[int, typer.Option(min=0, help="Misrecognised utterances shown for each set.")] = 5,
    pictures: Annotated[
        int, typer.Option(min=0, help="Utterances drawn with attention and CTC alignment, by run.")
    ] = 3,
    audio_mb: Annotated[float, typer.Option("--audio-mb", min=0, help="Most megabytes of audio in the page.")] = 10.0,
) -> None:
    """Write an HTML page about runs: learning curves, error rates, typical errors with audio, significance."""
    from aedo.report.needs import check_extras

    check_extras()
    from aedo.report.page import Options, write_report

    page = out or (runs[0] / "report.html" if len(runs) == 1 else Path("report.html"))
    for notice in write_report(runs, page, Options(worst, pictures, audio_mb)):
        typer.echo(f"note: {notice}", err=True)
    typer.echo(f"{page} ({page.stat().st_size / 1e6:.1f} MB)")
