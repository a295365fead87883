"""aedo prepare: a corpus becomes a folder that aedo trains from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from aedo.data.corpora.listing import Listing

Out = Annotated[Path, typer.Option("-o", "--out", help="Folder to write (splits, card.md, refused.jsonl).")]
Resample = Annotated[
    bool, typer.Option("--resample", help="Convert any rate and channel count to 16 kHz mono FLAC in OUT/audio.")
]
Normalize = Annotated[
    str,
    typer.Option(
        help="Text normalisation, steps in order: none; unicode (NFKC, plain quotes and dashes); nopunct (no "
        "punctuation but apostrophes in words); upper; lower. Example: unicode,nopunct,upper."
    ),
]
DevSpeakers = Annotated[
    Optional[str],  # noqa: UP045 - typer evaluates it on Python 3.10 too
    typer.Option(
        help="Hold out training speakers as split dev: a number (the last N in sorted order), or names separated by "
        "commas (one name that is a number: '19,')."
    ),
]
DevFraction = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(min=0.0, max=1.0, help="Hold out this share of the training utterances as split dev."),
]
MaxRefused = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Give up when a larger share of the utterances is refused.")
]
Jobs = Annotated[int, typer.Option(min=0, help="Worker processes; 0: one a core.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Turn a corpus into a folder to train from.", no_args_is_help=True, rich_markup_mode=None)
    for command in (librispeech, table, folder, synthetic):
        group.command(command.__name__)(command)
    app.add_typer(group, name="prepare")


def librispeech(
    folder: Annotated[Path, typer.Argument(help="Folder with train-clean-100 and so on, or any part of that layout.")],
    out: Out,
    parts: Annotated[
        str, typer.Option(help="Parts to use, separated by commas, such as train-clean-100,dev-clean. Default: all.")
    ] = "",
    download: Annotated[bool, typer.Option("--download", help="Fetch the parts from openslr.org first.")] = False,
    resample: Resample = False,
    normalize: Normalize = "none",
    dev_speakers: DevSpeakers = None,
    dev_fraction: DevFraction = None,
    max_refused: MaxRefused = 0.5,
    jobs: Jobs = 0,
) -> None:
    """LibriSpeech, or any corpus in its layout: PART/SPEAKER/CHAPTER/*.trans.txt with audio files beside."""
    from aedo.data.corpora.librispeech import download_librispeech, list_librispeech

    names = [part.strip() for part in parts.split(",") if part.strip()]
    if download:
        download_librispeech(folder, names or None)
    listing = list_librispeech(folder, names or None)
    _prepare(listing, out, resample, normalize, dev_speakers, dev_fraction, max_refused, jobs)


def table(
    file: Annotated[Path, typer.Argument(help="CSV, TSV or JSONL file; audio paths are relative to it.")],
    out: Out,
    audio_column: Annotated[
        str, typer.Option(help="Column of the audio path. Default: the one named audio, path, file or wav.")
    ] = "",
    text_column: Annotated[
        str, typer.Option(help="Column of the text. Default: the one named text, transcript or sentence.")
    ] = "",
    resample: Resample = False,
    normalize: Normalize = "none",
    dev_speakers: DevSpeakers = None,
    dev_fraction: DevFraction = None,
    max_refused: MaxRefused = 0.5,
    jobs: Jobs = 0,
) -> None:
    """A table: a line an utterance, columns audio path and text, optional speaker, split and id."""
    from aedo.data.corpora.table import list_table

    listing = list_table(file, audio_column or None, text_column or None)
    _prepare(listing, out, resample, normalize, dev_speakers, dev_fraction, max_refused, jobs)


def folder(
    folder: Annotated[Path, typer.Argument(help="Folder with audio files, each beside a .txt of the same name.")],
    out: Out,
    resample: Resample = False,
    normalize: Normalize = "none",
    dev_speakers: DevSpeakers = None,
    dev_fraction: DevFraction = None,
    max_refused: MaxRefused = 0.5,
    jobs: Jobs = 0,
) -> None:
    """A folder of audio files with their texts beside them: talk.wav and talk.txt.

    Folders named train, dev, test at the top are splits; a folder around the files names the speaker.
    """
    from aedo.data.corpora.folder import list_folder

    _prepare(list_folder(folder), out, resample, normalize, dev_speakers, dev_fraction, max_refused, jobs)


def synthetic(
    out: Out,
    train: Annotated[str, typer.Option(help="Training data: hours (1.5h) or utterances (1500).")] = "1h",
    dev: Annotated[str, typer.Option(help="Development data: hours or utterances.")] = "60",
    test: Annotated[str, typer.Option(help="Test data: hours or utterances.")] = "100",
    speakers: Annotated[
        int, typer.Option(min=1, help="Training speakers; dev and test have others, a fifth as many each.")
    ] = 40,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 1,
    jobs: Jobs = 0,
) -> None:
    """Sentences of a small grammar, spoken by espeak-ng in many voices (OUT/corpus, LibriSpeech's layout)."""
    from aedo.data.corpora.librispeech import list_librispeech
    from aedo.data.corpora.synthetic import SPLITS, Size, SyntheticOptions, write_synthetic

    sizes = Size.parse(train), Size.parse(dev), Size.parse(test)
    options = SyntheticOptions(*sizes, speakers=speakers, seed=seed, jobs=jobs)
    with progress_bar("speaking") as update:
        write_synthetic(out / "corpus", options, update)
    _prepare(list_librispeech(out / "corpus", SPLITS), out, False, "none", None, None, 0.0, jobs)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr; yields the function that moves it to (done, total)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task(title, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)


def _prepare(
    listing: Listing,
    out: Path,
    resample: bool,
    normalize: str,
    dev_speakers: str | None,
    dev_fraction: float | None,
    max_refused: float,
    jobs: int,
) -> None:
    """The part all corpora share: check with a progress bar, then say what is there."""
    from aedo.data.prepare import PrepareOptions, prepare

    options = PrepareOptions(
        resample=resample,
        normalize=normalize,
        dev_speakers=dev_speakers,
        dev_fraction=dev_fraction,
        max_refused=max_refused,
        jobs=jobs,
    )
    with progress_bar("checking audio") as update:
        card = prepare(listing, out, options, update)
    for note in card.notes:
        typer.echo(f"note: {note}")
    for name, split in card.splits.items():
        speakers = "unknown" if split.speakers is None else split.speakers
        typer.echo(f"{name}: {split.utterances} utterances, {split.hours:.2f} h, {speakers} speakers")
    for group in card.refused:
        typer.echo(f"refused: {group.count} x {group.reason}")
    typer.echo(f"{out / 'card.md'} tells more")
