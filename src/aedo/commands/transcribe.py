"""aedo transcribe: any audio file to text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aedo.commands.options import Beam, Checkpoint, CtcGreedy, Device, Precision, RunOption, Search, search_name
from aedo.commands.searching import HotwordBias, Hotwords, Lm, LmScale, Settings, search_settings

if TYPE_CHECKING:
    from aedo.search.transcribe import Transcriber, Transcript


def register(app: typer.Typer) -> None:
    @app.command()
    def transcribe(
        files: Annotated[
            list[Path],
            typer.Argument(help="Audio: wav, flac, ogg, opus, mp3; any rate, channels and length.", show_default=False),
        ],
        run: RunOption,
        format: Annotated[
            str,
            typer.Option(
                help="txt, json (one line a file: words with times and confidence), srt or vtt (subtitles).",
            ),
        ] = "",
        json: Annotated[bool, typer.Option("--json", help="Short for --format json.")] = False,
        out: Annotated[
            Path | None,
            typer.Option("--out", "-o", help="Folder to write a file for each recording into.", show_default=False),
        ] = None,
        checkpoint: Checkpoint = "",
        beam: Beam = None,
        search: Search = "",
        ctc_greedy: CtcGreedy = False,
        lm: Lm = None,
        lm_scale: LmScale = None,
        hotwords: Hotwords = "",
        hotword_bias: HotwordBias = None,
        setting: Settings = None,
        max_seconds: Annotated[
            float, typer.Option(min=1.0, help="Longer speech is cut at quiet moments into pieces of at most this.")
        ] = 30.0,
        pause: Annotated[float, typer.Option(min=0.1, help="Seconds of silence that end a piece.")] = 0.6,
        stream: Annotated[
            bool,
            typer.Option(
                "--stream", help="Words as they become final. One file, or - for 16-bit PCM on standard input."
            ),
        ] = False,
        endpoint: Annotated[
            float | None,
            typer.Option(help="With --stream: seconds of silence that end an utterance.", show_default=False),
        ] = None,
        partial: Annotated[bool, typer.Option(help="With --stream: show words that may still change.")] = True,
        precision: Precision = "float32",
        device: Device = "auto",
    ) -> None:
        """Print the words spoken in audio files of any length.

        Recordings are read as a stream and cut where nobody speaks. With several files every line of text starts with
        the file's name. A file that cannot be used is reported on standard error, the others are still transcribed,
        and the exit status is 2. With --stream, a model that hears chunks recognises the audio while it comes in.
        """
        from aedo.search.load import load_transcriber
        from aedo.search.segments import Cutting

        _check_stream(stream, endpoint, partial, (max_seconds, pause) != (30.0, 0.6))
        kind = _format(format, json, several=len(files) > 1, to_files=out is not None)
        places = _places(files, kind, out)
        transcriber = load_transcriber(
            run,
            checkpoint=checkpoint,
            device=device,
            beam=beam,
            search=search_name(search, ctc_greedy),
            precision=precision,
            cutting=Cutting(longest=max_seconds, pause=pause),
            settings=search_settings(lm, lm_scale, hotwords, hotword_bias, setting),
        )
        if stream:
            from aedo.stream.run import stream_audio

            stream_audio(
                transcriber.streams(),
                [str(file) for file in files],
                format=kind,
                endpoint=endpoint,
                partial=partial,
                out=out,
            )
            return
        if not _all_transcribed(transcriber, files, kind, places):
            raise typer.Exit(2)


def _check_stream(stream: bool, endpoint: float | None, partial: bool, cutting: bool) -> None:
    """UserError where an option belongs to the other way of listening."""
    from aedo.errors import UserError

    if not stream and (endpoint is not None or not partial):
        raise UserError("--endpoint and --no-partial say how a stream is shown: give --stream, too")
    if stream and cutting:
        raise UserError("--max-seconds and --pause cut whole recordings; a stream ends utterances by --endpoint")


def _format(name: str, json: bool, *, several: bool, to_files: bool) -> str:
    """The format asked for.  UserError where there is no such format, or nowhere for it to go."""
    from aedo.errors import UserError
    from aedo.search.formats import TRANSCRIPTS

    if json and name not in ("", "json"):
        raise UserError(f"--json and --format {name} contradict each other: give one of them")
    kind = name or ("json" if json else "txt")
    if kind not in TRANSCRIPTS:
        raise UserError(f"--format {kind}: unknown; use {', '.join(TRANSCRIPTS)}")
    if kind in ("srt", "vtt") and several and not to_files:
        raise UserError(f"--format {kind}: subtitles of several files go to files of their own; give --out FOLDER")
    return kind


def _all_transcribed(transcriber: Transcriber, files: list[Path], kind: str, places: list[Path | None]) -> bool:
    """Print or write every file's transcript; False where one could not be made, which is said on standard error."""
    from aedo.errors import UserError
    from aedo.search.formats import TRANSCRIPTS

    good = True
    for path, place in zip(files, places, strict=True):
        try:
            transcript = _with_progress(path, transcriber)
        except UserError as error:
            good = False
            typer.echo(f"error: {error}", err=True)
            continue
        for segment in transcript.doubts:
            typer.echo(_warning(path, segment, fallback=bool(transcriber.recognizer.model.ctc_layers)), err=True)
        text = TRANSCRIPTS[kind](str(path), transcript)
        if place is not None:
            _write(place, text)
        else:
            typer.echo(f"{path}: {text}" if kind == "txt" and len(files) > 1 else text, nl=False)
    return good


def _with_progress(path: Path, transcriber: Transcriber) -> Transcript:
    """Transcribe with a bar on standard error where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(path.name, total=_seconds(path))
        return transcriber.transcribe(path, progress=lambda seconds: progress.update(task, completed=seconds))


def _seconds(path: Path) -> float | None:
    import soundfile

    try:
        info = soundfile.info(str(path))
    except (soundfile.SoundFileError, OSError, ValueError):
        return None  # reading it says why
    return float(info.duration) if info.frames < 1 << 62 else None


def _warning(path: Path, segment: Any, *, fallback: bool) -> str:
    what = "the best CTC path is taken instead" if fallback else "the model has no CTC head to ask instead"
    return f"warning: {path}: {segment.start:.1f} to {segment.end:.1f} s: the search gave {segment.doubt}; {what}"


def _places(files: list[Path], kind: str, out: Path | None) -> list[Path | None]:
    from aedo.errors import UserError

    if out is None:
        return [None] * len(files)
    places: list[Path | None] = [out / f"{path.stem}.{kind}" for path in files]
    for i, place in enumerate(places):
        if place in places[:i]:
            raise UserError(f"{files[i]}: a file of that name comes twice, and both would be {place}; rename one")
    return places


def _write(place: Path, text: str) -> None:
    from aedo.files import explained, write_text

    with explained(place, "write the transcript"):
        place.parent.mkdir(parents=True, exist_ok=True)
        write_text(place, text)
